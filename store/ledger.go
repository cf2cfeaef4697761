package store

import (
	"context"
	"fmt"
	"time"
)

// Arrival names a record of a topic that may have been made anew.
type Arrival struct {
	Offset int64
	Append time.Time
}

// Unstored returns the parts of a batch that the ledger does not have, in order: all of it,
// but after somebody moved the group's offsets back. Events that are stored already must not
// be stored again, under whatever borders they come now. records gives examples of what came
// in a range: where they are not among the rows, the topic was made anew and its offsets
// began again, whatever the ledger says of them. A batch that follows the one stored before
// it needs no look. Of a batch that is done again a row of the ledger with its borders says nothing: who
// wrote it may have been a zombie, whose inserts were dropped. Redo looks for each piece.
func (w *Writer) Unstored(ctx context.Context, id BatchID, redo bool, records func(begin, end int64) []Arrival) ([]BatchID, error) {
	part := id.partition()
	w.mu.Lock()
	next, known := w.next[part]
	w.mu.Unlock()
	if known && next == id.Begin {
		return []BatchID{id}, nil
	}
	stored, err := w.db.ledger(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("look for batch %s in the ledger: %w", id, err)
	}
	var out []BatchID
	at := id.Begin
	add := func(end int64) {
		if end > at {
			p := id
			p.Begin, p.End = at, end
			out = append(out, p)
		}
	}
	for _, s := range stored {
		begin, end := max(at, s.Begin), min(id.End, s.End)
		if end <= begin || redo && s.Begin == id.Begin && s.End == id.End {
			continue
		}
		there, err := w.db.have(ctx, id, records(begin, end))
		if err != nil {
			return nil, fmt.Errorf("look for batch %s: %w", s, err)
		}
		if !there {
			continue
		}
		add(begin)
		at = end
	}
	add(id.End)
	return out, nil
}

// ledger returns the stored batches that overlap id, in order.
func (db *DB) ledger(ctx context.Context, id BatchID) ([]BatchID, error) {
	rows, err := db.conn.Query(ctx, "SELECT first_offset, end_offset FROM "+db.table("ingest_ledger")+
		" WHERE kafka_topic = ? AND kafka_partition = ? AND first_offset < ? AND end_offset > ? ORDER BY first_offset, end_offset",
		id.Topic, id.Partition, id.End, id.Begin)
	if err != nil {
		return nil, db.t.explain(err)
	}
	defer rows.Close()
	var out []BatchID
	for rows.Next() {
		var begin, end uint64
		if err := rows.Scan(&begin, &end); err != nil {
			return nil, err
		}
		out = append(out, BatchID{Topic: id.Topic, Partition: id.Partition, Begin: int64(begin), End: int64(end)})
	}
	return out, db.t.explain(rows.Err())
}

// have reports whether each of the records is an event or a dead letter in the store.
func (db *DB) have(ctx context.Context, id BatchID, records []Arrival) (bool, error) {
	for _, r := range records {
		const is = " WHERE kafka_topic = ? AND kafka_partition = ? AND kafka_offset = ? AND observed = fromUnixTimestamp64Milli(?, 'UTC')"
		var events, dead uint64
		args := []any{id.Topic, id.Partition, r.Offset, millis(r.Append)}
		if err := db.row(ctx, []any{&events, &dead}, "SELECT (SELECT count() FROM "+db.table("events")+is+"), (SELECT count() FROM "+db.table("dead_letters")+is+")",
			append(args, args...)...); err != nil {
			return false, err
		}
		if events+dead == 0 {
			return false, nil
		}
	}
	return true, nil
}

// ledgerRows is a block of the table ingest_ledger.
type ledgerRows struct {
	rows
	topic, instance                              *low
	partition, first, end, events, dead, gen, at *fixed
}

func newLedgerRows() *ledgerRows {
	r := &ledgerRows{rows: rows{table: "ingest_ledger"}}
	b := &r.rows
	r.topic = add(b, "kafka_topic", newLow())
	r.partition = add(b, "kafka_partition", newFixed("UInt16", 2))
	r.first, r.end = add(b, "first_offset", newFixed("UInt64", 8)), add(b, "end_offset", newFixed("UInt64", 8))
	r.events, r.dead = add(b, "events", newFixed("UInt32", 4)), add(b, "dead", newFixed("UInt32", 4))
	r.instance = add(b, "instance", newLow())
	r.gen = add(b, "generation", newFixed("Int32", 4))
	r.at = add(b, "stored_at", newTime())
	return r
}

func (r *ledgerRows) append(id BatchID, events, dead int, instance string, at time.Time) {
	r.topic.put(id.Topic)
	r.partition.put(uint64(id.Partition))
	r.first.put(uint64(id.Begin))
	r.end.put(uint64(id.End))
	r.events.put(uint64(events))
	r.dead.put(uint64(dead))
	r.instance.put(instance)
	r.gen.put(uint64(id.Generation))
	r.at.putTime(at)
	r.n++
}
