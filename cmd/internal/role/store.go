package role

import (
	"context"
	"errors"
	"fmt"

	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/store"
)

// Storer is the store role: every record of the events topic becomes a row in
// ClickHouse or a dead letter, exactly once.
type Storer struct {
	Loop
	Consumer Consumer
	Producer Producer // of dead letters
	Writer   *store.Writer
	Decoder  *ingest.Decoder
	Keys     Keys
	Dead     string // topic

	// Generation is the consumer group's, for the ledger.
	Generation func() int32

	scanner *detect.Scanner
	event   detect.Event
	block   *store.Block
	classes map[string]int // of the dead letters in block
	// What of the batch in hand is done, so that an outage neither repeats the inserts
	// before it nor writes dead letters to their topic at every attempt.
	buried, stored map[store.BatchID]bool
}

// Run stores until the context ends.
func (s *Storer) Run(ctx context.Context) error {
	s.scanner = detect.NewScanner()
	s.block = s.Writer.NewBlock()
	s.classes, s.buried, s.stored = map[string]int{}, map[store.BatchID]bool{}, map[store.BatchID]bool{}
	return s.run(ctx, s.Consumer, s.work, nil)
}

// work stores each range under its own name, so that a partition that moves to
// another owner in the middle takes its part of the batch with it.
func (s *Storer) work(ctx context.Context, b kafka.Batch) error {
	for i := range b.Ranges {
		if err := s.store(ctx, &b.Ranges[i]); err != nil {
			return err
		}
	}
	clear(s.buried)
	clear(s.stored)
	return nil
}

func (s *Storer) store(ctx context.Context, r *kafka.Range) error {
	id := store.BatchID{Topic: r.Topic, Partition: r.Partition, Begin: r.Begin, End: r.End, Generation: s.Generation()}
	if s.stored[id] {
		return nil
	}
	s.block.Reset()
	clear(s.classes)
	var dead []kafka.Record
	for i := range r.Records {
		rec := &r.Records[i]
		in := recordOf(rec)
		if err := s.Decoder.Decode(&s.event, in); err != nil {
			var why *ingest.Reject
			if !errors.As(err, &why) {
				return fmt.Errorf("decode %s:%d:%d: %w", r.Topic, r.Partition, rec.Offset, err)
			}
			dead = append(dead, s.bury(in, why))
			continue
		}
		s.scanner.Scan(&s.event)
		s.event.Redact(s.Keys, s.Decoder.KeepLabel)
		s.block.Append(&s.event)
	}
	for _, u := range r.Unreadable {
		dead = append(dead, s.unreadable(r, u)...)
	}
	// The raw bytes first: a row that points to a dead letter must find it. A redone batch
	// may write them twice; their coordinates tell.
	if len(dead) > 0 && !s.buried[id] {
		if err := s.Producer.Produce(ctx, dead); err != nil {
			return fmt.Errorf("write %d dead letters to %s: %w", len(dead), s.Dead, err)
		}
		s.buried[id] = true
	}
	insert := s.Writer.Insert
	if r.Redo {
		insert = s.Writer.Redo
	}
	if err := insert(ctx, id, s.block); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.stored[id] = true
	events, _ := s.block.Rows()
	s.Metrics.Stored.Add(float64(events))
	for class, n := range s.classes {
		s.Metrics.Dead.WithLabelValues(class).Add(float64(n))
	}
	return nil
}

// bury makes the dead letter of one record: its bytes for the topic, a row without them.
func (s *Storer) bury(rec ingest.Record, why *ingest.Reject) kafka.Record {
	s.classes[string(why.Class)]++
	s.block.AppendDead(&store.DeadLetter{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Append: rec.Append,
		Stage: string(why.Stage), Class: string(why.Class), Error: why.Error(), Bytes: len(rec.Value),
		Digest: s.digest(rec.Value),
	})
	d := ingest.NewDeadLetter(rec, why)
	out := kafka.Record{Topic: s.Dead, Partition: 0, Key: d.Key(), Value: d.Value}
	for _, h := range d.Headers() {
		out.Headers = append(out.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	return out
}

// unreadable makes the dead letters of a stored batch that could not be unpacked: its
// bytes are not at hand, so each offset gets a row and the topic keeps the original.
func (s *Storer) unreadable(r *kafka.Range, u kafka.Unreadable) []kafka.Record {
	var out []kafka.Record
	for off := max(u.Begin, r.Begin); off < min(u.End, r.End); off++ {
		rec := ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: off, Append: u.Append}
		out = append(out, s.bury(rec, &ingest.Reject{Stage: ingest.StageDecode, Class: ingest.ClassUnreadable, Msg: u.Reason}))
	}
	return out
}

func (s *Storer) digest(value []byte) string {
	h := s.Keys.GroupHash("", "dead", string(value))
	return fmt.Sprintf("%x", h[:8])
}
