// Package ingest turns records of a topic into events, and people into pseudonyms.
//
// A Decoder scans a record once into a tape of values (scan.go) and hands the tape
// to the first adapter that knows the format: picket.event/1 (native.go) or a
// Python SecurityLogger line (securitylogger.go). A later format is one more file
// and one more row in the table of adapters.
//
// The scanner is our own because the usual ones are too kind. Go's encoding/json
// takes the last of two equal keys and folds their case, replaces lone surrogates
// and invalid UTF-8, and has no limits; each of these lets an attacker show one
// value to the rules and another to the server. Here size (256 KiB), depth (32),
// keys (512), duplicate and case-variant keys, at every level and inside tool
// arguments too, are refusals.
//
// What a format does not know is kept as a label when it is a scalar, and refused when it
// is not. A hash that a producer sends is taken as a raw value with a mark: it is hashed
// again under our key, because nobody knows how well it was made, and so that no producer
// can pose as ours. Tool arguments and results are matched string by string and dropped;
// their digest is the value's SHA-256, which leaves as a pseudonym only.
//
// A refusal is a *Reject: a low-cardinality class, and a message that names a
// field and a byte offset but never a value, so that it may be logged, counted and
// stored. DeadLetter is the record for the topic of dead letters: the original
// bytes, with the reason in headers. Nothing is dropped silently.
//
// Nearly every native record takes a shorter way (lane.go): one pass, without a tape. It
// says no, without a reason, to whatever is wrong or rare; then the tape decides. So there is one
// place that says what a format means, and the lane may only agree with it.
//
// Memory: a Decoder copies a record's value once, into one string; every text of
// the event is a part of that string. So an event outlives the buffer it was read
// into, and costs one allocation rather than thirty. Texts of records above 4 KiB
// are copied one by one, so that a value which lives long (a group in a window)
// cannot pin a quarter of a mebibyte. Of a record that is Kept nothing is copied: its texts
// are parts of the record, and the event is for the time until that is taken back. Digests of arguments and
// an address's network are made when somebody asks whether the event has one.
//
// Keys (keys.go): pseudonyms are HMACs under keys that rotate; groups are hashed
// under one key that does not, so that a rotation neither splits a window nor
// changes an alert's id. The key of a pseudonym is chosen by the event's time:
// a replay gives the same pseudonym. Destroying a key is erasure.
package ingest
