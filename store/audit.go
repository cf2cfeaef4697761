package store

import (
	"context"
	"fmt"
)

// Stored is what the tables hold of a range of offsets. Nothing is lost or duplicated when
// Events == DistinctEvents, Dead == DistinctDead, and their sum is what Kafka had.
type Stored struct {
	Events, DistinctEvents uint64
	Dead, DistinctDead     uint64
	First, Last            int64  // offsets; -1 when nothing is stored
	Ranges                 uint64 // ledger rows that lie in the range
	InLedger               uint64 // records that the ledger says are stored
}

// Complete reports whether n records are stored, each once.
func (s Stored) Complete(n uint64) bool {
	return s.Events == s.DistinctEvents && s.Dead == s.DistinctDead && s.Events+s.Dead == n
}

// Audit counts what is stored of [from, to) of a partition, reading the offsets back. A
// writer that takes over a declared batch asks it too: it is the second net below the
// deduplication tokens, whose window ends.
func (db *DB) Audit(ctx context.Context, topic string, partition int32, from, to int64) (Stored, error) {
	var (
		s                          Stored
		evLo, evHi, deadLo, deadHi uint64
		args                       = []any{topic, partition, from, to}
		where                      = " WHERE kafka_topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?"
		what                       = fmt.Sprintf("audit %s:%d:%d-%d", topic, partition, from, to)
		counts                     = "SELECT count(), uniqExact(kafka_offset), min(kafka_offset), max(kafka_offset) FROM "
	)
	if err := db.row(ctx, []any{&s.Events, &s.DistinctEvents, &evLo, &evHi}, counts+db.table("events")+where, args...); err != nil {
		return s, fmt.Errorf("%s: %w", what, err)
	}
	if err := db.row(ctx, []any{&s.Dead, &s.DistinctDead, &deadLo, &deadHi}, counts+db.table("dead_letters")+where, args...); err != nil {
		return s, fmt.Errorf("%s: %w", what, err)
	}
	err := db.row(ctx, []any{&s.Ranges, &s.InLedger}, "SELECT count(), sum(events + dead) FROM "+db.table("ingest_ledger")+
		" FINAL WHERE kafka_topic = ? AND kafka_partition = ? AND first_offset >= ? AND end_offset <= ?", args...)
	if err != nil {
		return s, fmt.Errorf("%s: %w", what, err)
	}
	s.First, s.Last = -1, -1
	if s.Events > 0 {
		s.First, s.Last = int64(evLo), int64(evHi)
	}
	if s.Dead > 0 {
		s.Last = max(s.Last, int64(deadHi))
		if s.First < 0 || int64(deadLo) < s.First {
			s.First = int64(deadLo)
		}
	}
	return s, nil
}
