// Package store keeps events, dead letters and alerts in ClickHouse: the schema, a writer
// that stores every event exactly once, and the questions to start with.
//
// # Exactly once
//
// The role loop declares a batch [C, E) of a partition before it inserts it, so whoever
// repeats it has the same records. Writer.Insert stores them in a few inserts: dead letters
// and events by day of arrival, what the events add to the roll-ups by month, and the ledger.
// Each brings rows of one partition of one table, which ClickHouse stores whole or not at
// all, under a token made of topic:partition:C-E; a token that was seen is dropped. So Insert
// may be repeated after any error, also one that came after the rows were stored, and a
// ledger row means that all of its range is. Writer.Redo, for a batch that may be stored in
// part, asks each table first for what it has: the window of tokens (10,000 inserts a table)
// may have passed. And a token may have been noted without its rows, by a server that died in
// between: keep looks for them wherever a token may have been used before. Nothing here retries, splits or skips: the loop parks the partition, and
// Classify says how loud to be. Audit, Missing and LedgerSum say afterwards whether it is so.
//
// # Columns
//
// Every storable field of detect has the column of its name with _ for the dot (see
// fields.go). Only public forms are reachable from here. Numbers are Nullable: a missing
// duration must not pull an average down. Pseudonyms that repeat are LowCardinality with
// ZSTD. Of 1 M rows, a column of 5,000 skewed pseudonyms takes 1.7 MB (String 8.8,
// FixedString(26) 8.4) and is grouped in 11 ms (48, 28); one of sessions takes 1.8 MB
// (2.0, 1.7). Values that nearly every row has its own of (id, digests, trace ids) are String.
//
// # Retention and roll-ups
//
// The writer chooses retention_days by severity, and rows go by it. events_1m and entity_1h
// are made by the writer (rollup.go) and outlive the events; docs/decisions 0011 to 0013 say
// why, and docs/store.md what it all costs.
//
// # Speed
//
// A Block collects events column by column and reuses its memory. It is sent in the order of
// the table, and without the columns that hold nothing, which the INSERT names all the same:
// one that it left out would cost the server ten times what an empty one does. Over
// HTTP the block goes out as the Native body that we encode. The native protocol takes the same columns through the
// driver's batch (tested over HTTP; there was no native server to run it against).
//
// # Schema
//
// migrations/*.sql, numbered, are templates of the database's name and the engine family.
// Each statement may run twice and the record is written last, so that two Migrate at
// once, or one after a crash, end at the same schema. A changed checksum or a database
// newer than the binary is refused.
package store
