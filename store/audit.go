package store

import (
	"context"
	"fmt"
	"time"
)

// Stored is what the tables hold of a range of offsets. Nothing is lost or duplicated when
// Events == DistinctEvents, Dead == DistinctDead,
// Both is 0, and the sum is what Kafka had.
type Stored struct {
	Events, DistinctEvents uint64
	Dead, DistinctDead     uint64
	Both                   uint64 // offsets that are an event and a dead letter
	First, Last            int64  // offsets; -1 when nothing is stored
	Ranges                 uint64 // ledger rows that lie in the range
	InLedger               uint64 // records that the ledger says are stored
}

// Distinct is how many offsets have a row.
func (s Stored) Distinct() uint64 { return s.DistinctEvents + s.DistinctDead - s.Both }

// Twice is how many rows are too many.
func (s Stored) Twice() uint64 { return s.Events + s.Dead - s.Distinct() }

// Audit counts what is stored of [from, to) of a partition, reading the offsets back.
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
	if s.Dead > 0 && s.Events > 0 {
		err := db.row(ctx, []any{&s.Both}, "SELECT uniqExact(kafka_offset) FROM "+db.table("dead_letters")+where+
			" AND kafka_offset IN (SELECT kafka_offset FROM "+db.table("events")+where+")", append(args, args...)...)
		if err != nil {
			return s, fmt.Errorf("%s: %w", what, err)
		}
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

// Span is the offsets [Begin, End) of a partition.
type Span struct {
	Begin int64 `json:"begin"`
	End   int64 `json:"end"`
}

// Missing lists the spans of [from, to) that no row has, in order, at most limit of them.
func (db *DB) Missing(ctx context.Context, topic string, partition int32, from, to int64, limit int) ([]Span, error) {
	const where = " WHERE kafka_topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?"
	args := []any{topic, partition, from, to}
	return db.spans(ctx, `SELECT before + 1, o FROM
		(SELECT o, lagInFrame(o, 1, toInt64(?) - 1) OVER (ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before FROM
			(SELECT DISTINCT toInt64(kafka_offset) AS o FROM `+db.table("events")+where+`
			UNION DISTINCT SELECT toInt64(kafka_offset) FROM `+db.table("dead_letters")+where+`
			UNION DISTINCT SELECT toInt64(?)))
		WHERE o > before + 1 ORDER BY o LIMIT ?`, append(append(append([]any{from}, args...), args...), to, limit)...)
}

func (db *DB) spans(ctx context.Context, sql string, args ...any) ([]Span, error) {
	rs, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, db.t.explain(err)
	}
	defer rs.Close()
	var out []Span
	for rs.Next() {
		var s Span
		if err := rs.Scan(&s.Begin, &s.End); err != nil {
			return nil, db.t.explain(err)
		}
		out = append(out, s)
	}
	return out, db.t.explain(rs.Err())
}

// LedgerSum is what the ledger says of the part of a partition that ends before an offset.
type LedgerSum struct {
	Ranges uint64
	First  int64 // offset where its oldest row begins; the ledger is kept for 90 days
	// Bare counts the offsets of its ranges that got no row: they had expired when their turn
	// came, or were no data (transaction markers).
	Bare uint64
	// Holes lie between its ranges: offsets that nobody stored.
	Holes []Span
}

// LedgerSum sums the ledger up to an offset, which is what is left to ask when Kafka no longer
// has the records.
func (db *DB) LedgerSum(ctx context.Context, topic string, partition int32, before int64) (LedgerSum, error) {
	var s LedgerSum
	const where = " FINAL WHERE kafka_topic = ? AND kafka_partition = ? AND end_offset <= ?"
	args := []any{topic, partition, before}
	what := fmt.Sprintf("sum up the ledger of %s:%d", topic, partition)
	err := db.row(ctx, []any{&s.Ranges, &s.First, &s.Bare}, "SELECT count(), toInt64(min(first_offset)), toUInt64(sum(greatest(0, toInt64(end_offset - first_offset) - events - dead))) FROM "+
		db.table("ingest_ledger")+where, args...)
	if err != nil {
		return s, fmt.Errorf("%s: %w", what, err)
	}
	s.Holes, err = db.spans(ctx, `SELECT reached, first FROM
		(SELECT toInt64(first_offset) AS first, max(toInt64(end_offset)) OVER (ORDER BY first_offset, end_offset ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached,
			row_number() OVER (ORDER BY first_offset, end_offset) AS n FROM `+db.table("ingest_ledger")+where+`)
		WHERE n > 1 AND first > reached ORDER BY first LIMIT 100`, args...)
	if err != nil {
		return s, fmt.Errorf("%s: %w", what, err)
	}
	return s, nil
}

// LedgerRow says when a range was stored and by whom.
type LedgerRow struct {
	Topic      string    `json:"topic"`
	Partition  uint16    `json:"partition"`
	Begin      uint64    `json:"begin"`
	End        uint64    `json:"end"`
	Events     uint32    `json:"events"`
	Dead       uint32    `json:"dead"`
	Instance   string    `json:"instance"`
	Generation int32     `json:"generation"`
	StoredAt   time.Time `json:"stored_at"`
}

// Ledger reads the newest rows about a topic, the newest first.
func (db *DB) Ledger(ctx context.Context, topic string, limit int) ([]LedgerRow, error) {
	rs, err := db.conn.Query(ctx, "SELECT kafka_topic, kafka_partition, first_offset, end_offset, events, dead, instance, generation, stored_at FROM "+
		db.table("ingest_ledger")+" FINAL WHERE kafka_topic = ? ORDER BY stored_at DESC, kafka_partition, first_offset DESC LIMIT ?", topic, limit)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", db.t.explain(err))
	}
	defer rs.Close()
	var out []LedgerRow
	for rs.Next() {
		var r LedgerRow
		if err := rs.Scan(&r.Topic, &r.Partition, &r.Begin, &r.End, &r.Events, &r.Dead, &r.Instance, &r.Generation, &r.StoredAt); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", db.t.explain(err))
		}
		out = append(out, r)
	}
	return out, db.t.explain(rs.Err())
}

// DeadLetters lists the rows about records of a topic that could not become an event, the
// oldest first.
func (db *DB) DeadLetters(ctx context.Context, topic string) ([]DeadLetter, error) {
	rs, err := db.conn.Query(ctx, "SELECT kafka_topic, kafka_partition, kafka_offset, observed, stage, class, error, payload_bytes, payload_digest FROM "+
		db.table("dead_letters")+" WHERE kafka_topic = ? ORDER BY observed, kafka_partition, kafka_offset", topic)
	if err != nil {
		return nil, fmt.Errorf("read the dead letters: %w", db.t.explain(err))
	}
	defer rs.Close()
	var out []DeadLetter
	for rs.Next() {
		var (
			d         DeadLetter
			partition uint16
			offset    uint64
			bytes     uint32
		)
		if err := rs.Scan(&d.Topic, &partition, &offset, &d.Append, &d.Stage, &d.Class, &d.Error, &bytes, &d.Digest); err != nil {
			return nil, fmt.Errorf("read the dead letters: %w", db.t.explain(err))
		}
		d.Partition, d.Offset, d.Bytes = int32(partition), int64(offset), int(bytes)
		out = append(out, d)
	}
	return out, db.t.explain(rs.Err())
}
