package role

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"picket/ingest"
	"picket/ingest/kafka"
	"picket/store"
)

// Storer is the store role: every record of the events topic becomes a row in
// ClickHouse or a dead letter, exactly once.
type Storer struct {
	Loop
	Reader
	Consumer Consumer
	Producer Producer // of dead letters
	Writer   *store.Writer
	Dead     string // topic

	// Generation is the consumer group's, for the ledger.
	Generation func() int32

	// Unhurried is below how many events a batch of few ranges is stored by one goroutine. Such a
	// store keeps up, and leaves the other processors, of this host and of ClickHouse, to what is on
	// the way to an alert.
	Unhurried int

	lanes []*storeLane
	// What of the batch in hand is done, so that an outage neither repeats the inserts
	// before it nor writes dead letters to their topic at every attempt.
	done map[store.BatchID]*rangeDone
}

// rangeDone is what is done of a range. Its parts are what the store had not got before.
type rangeDone struct {
	looked bool
	parts  []store.BatchID // left to do
	buried bool            // the dead letters of the first of them
}

// storeLane is what one goroutine owns while it stores a range.
type storeLane struct {
	reader
	block   *store.Block
	classes map[string]int // of the dead letters in block
	dead    []kafka.Record // what goes to the topic of dead letters
	laps    laps
}

// Run stores until the context ends.
func (s *Storer) Run(ctx context.Context) error {
	for range laneCount() {
		s.lanes = append(s.lanes, &storeLane{
			reader: s.open(), block: s.Writer.NewBlock(), classes: map[string]int{}, laps: newLaps("decode", "scan", "redact", "row"),
		})
	}
	return s.run(ctx, s.Consumer, s.work, nil)
}

// work stores each range under its own name, so that a partition that moves to
// another owner in the middle takes its part of the batch with it. Ranges are of
// different partitions, so they may be stored side by side and in any order.
func (s *Storer) work(ctx context.Context, b kafka.Batch) error {
	generation := s.Generation()
	ids := make([]store.BatchID, len(b.Ranges))
	done := map[store.BatchID]*rangeDone{} // only what is of this batch
	for i := range b.Ranges {
		r := &b.Ranges[i]
		ids[i] = store.BatchID{Topic: r.Topic, Partition: r.Partition, Begin: r.Begin, End: r.End, Generation: generation}
		if done[ids[i]] = s.done[ids[i]]; done[ids[i]] == nil {
			done[ids[i]] = &rangeDone{}
		}
	}
	s.done = done
	if err := side(s.hands(b), len(ids), func(lane, i int) error {
		return s.store(ctx, s.lanes[lane], ids[i], &b.Ranges[i], done[ids[i]])
	}); err != nil {
		return err
	}
	s.done = nil
	return nil
}

// unhurriedRanges bounds what one goroutine stores, as each range is an insert that takes its time.
const unhurriedRanges = 8

// hands is how many goroutines store a batch.
func (s *Storer) hands(b kafka.Batch) int {
	if len(b.Ranges) <= unhurriedRanges && b.Len() < s.Unhurried {
		return 1
	}
	return len(s.lanes)
}

func (s *Storer) store(ctx context.Context, l *storeLane, id store.BatchID, r *kafka.Range, done *rangeDone) error {
	if !done.looked {
		parts, err := s.Writer.Unstored(ctx, id, r.Redo, func(begin, end int64) []store.Arrival { return examples(r, begin, end) })
		if err != nil {
			return fmt.Errorf("store: %w", err)
		}
		done.parts, done.looked = parts, true
	}
	for len(done.parts) > 0 {
		id := done.parts[0]
		part := r.Part(id.Begin, id.End)
		if err := s.part(ctx, l, id, &part, done); err != nil {
			return err
		}
		done.parts, done.buried = done.parts[1:], false
	}
	return nil
}

// part stores a part of a range, which is mostly all of it.
func (s *Storer) part(ctx context.Context, l *storeLane, id store.BatchID, r *kafka.Range, done *rangeDone) error {
	if err := s.prepare(l, r); err != nil {
		return err
	}
	// The raw bytes first: a row that points to a dead letter must find it. A redone batch
	// may write them twice; their coordinates tell.
	if len(l.dead) > 0 && !done.buried {
		if err := s.Producer.Produce(ctx, l.dead); err != nil {
			return fmt.Errorf("write %d dead letters to %s: %w", len(l.dead), s.Dead, err)
		}
		done.buried = true
	}
	insert := s.Writer.Insert
	if r.Redo {
		insert = s.Writer.Redo
	}
	if err := s.timed("insert", func() error { return insert(ctx, id, l.block) }); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.Health.Tick(s.Name) // a slow ClickHouse may take long for all of a batch
	events, _ := l.block.Rows()
	s.Metrics.Stored.Add(float64(events))
	for class, n := range l.classes {
		s.Metrics.Dead.WithLabelValues(class).Add(float64(n))
	}
	return nil
}

// examples are the first and the last record of a part of a range.
func examples(r *kafka.Range, begin, end int64) []store.Arrival {
	part := r.Part(begin, end)
	var out []store.Arrival
	for rec := range part.All() {
		if len(out) == 2 {
			out = out[:1]
		}
		out = append(out, store.Arrival{Offset: rec.Offset, Append: rec.Append})
	}
	return out
}

// prepare turns a range into rows and dead letters.
func (s *Storer) prepare(l *storeLane, r *kafka.Range) error {
	l.block.Reset()
	clear(l.classes)
	l.dead = l.dead[:0]
	l.laps.start()
	defer l.laps.stop(&s.Loop)
	for rec := range r.All() {
		in := recordOf(rec)
		l.laps.event()
		if err := l.dec.Decode(&l.event, in); err != nil {
			var why *ingest.Reject
			if !errors.As(err, &why) {
				return fmt.Errorf("decode %s:%d:%d: %w", r.Topic, r.Partition, rec.Offset, err)
			}
			in.Key, in.Value = slices.Clone(in.Key), slices.Clone(in.Value) // it outlives the record
			s.bury(l, in, why, redriven(rec))
			continue
		}
		l.laps.lap(0)
		l.scanner.Scan(&l.event)
		l.laps.lap(1)
		l.event.Redact(l.keys, l.dec.KeepLabel)
		l.laps.lap(2)
		l.block.Append(&l.event)
		l.laps.lap(3)
	}
	for _, u := range r.Unreadable {
		s.unreadable(l, r, u)
	}
	return nil
}

// redriven is the name of the dead letter that a record was; nil if it was none.
func redriven(r *kafka.Record) []byte {
	const longest = 300 // of topic:partition:offset: what is longer is no name, and anybody may set a header
	for _, h := range r.Headers {
		if h.Key == ingest.HeaderRedrive && len(h.Value) <= longest {
			return slices.Clone(h.Value)
		}
	}
	return nil
}

// bury makes the dead letter of one record: its bytes for the topic, a row without them.
func (s *Storer) bury(l *storeLane, rec ingest.Record, why *ingest.Reject, redrive []byte) {
	l.classes[string(why.Class)]++
	hash := l.keys.GroupHash("", "dead", string(rec.Value))
	l.block.AppendDead(&store.DeadLetter{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Append: rec.Append,
		Stage: string(why.Stage), Class: string(why.Class), Error: why.Reason(), Bytes: len(rec.Value),
		Digest: fmt.Sprintf("%x", hash[:8]),
	})
	d := ingest.NewDeadLetter(rec, why)
	d.Redrive = redrive
	out := kafka.Record{Topic: s.Dead, Partition: 0, Key: d.Key(), Value: d.Value}
	for _, h := range d.Headers() {
		out.Headers = append(out.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	l.dead = append(l.dead, out)
}

// unreadable makes the dead letters of a stored batch that could not be unpacked: its
// bytes are not at hand, so each offset gets a row and the topic keeps the original.
func (s *Storer) unreadable(l *storeLane, r *kafka.Range, u kafka.Unreadable) {
	for off := max(u.Begin, r.Begin); off < min(u.End, r.End); off++ {
		rec := ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: off, Append: u.Append}
		s.bury(l, rec, &ingest.Reject{Stage: ingest.StageDecode, Class: ingest.ClassUnreadable, Msg: u.Reason}, nil)
	}
}
