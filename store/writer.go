package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"picket/detect"
)

// BatchID names a declared batch: the records [Begin, End) of one partition. A repeated
// batch has the same borders, so its name is the token that makes it count once.
type BatchID struct {
	Topic      string
	Partition  int32
	Begin, End int64
	Generation int32 // of the consumer group, for the ledger
}

func (id BatchID) token() string {
	return fmt.Sprintf("%s:%d:%d-%d", id.Topic, id.Partition, id.Begin, id.End)
}

func (id BatchID) String() string { return id.token() }

func (id BatchID) partition() string { return fmt.Sprintf("%s:%d", id.Topic, id.Partition) }

// DeadLetter says that one record could not become an event. It holds nothing of the
// record itself: Error and Class are our words, Digest is keyed and short.
type DeadLetter struct {
	Topic     string
	Partition int32
	Offset    int64
	Append    time.Time
	Stage     string // decode or validate
	Class     string
	Error     string
	Bytes     int
	Digest    string
}

// WriterOptions are what a Writer needs to know besides the database.
type WriterOptions struct {
	Instance  string // who stored it, for the ledger
	Retention Retention
}

// Retention is how many days events are kept, by severity. Zero values mean the defaults
// named. A row keeps what was right when it was stored: a change is for new ones.
type Retention struct {
	Quiet  uint16 // debug and info; 30
	Normal uint16 // low, medium and what has no severity; 90
	Grave  uint16 // high and critical; 400
}

func (r *Retention) setDefaults() {
	r.Quiet, r.Normal, r.Grave = cmp.Or(r.Quiet, 30), cmp.Or(r.Normal, 90), cmp.Or(r.Grave, 400)
}

// days is for a code of severityCode.
func (r *Retention) days(severity uint64) uint64 {
	switch severity {
	case 1, 2:
		return uint64(r.Quiet)
	case 5, 6:
		return uint64(r.Grave)
	}
	return uint64(r.Normal)
}

// least is how many days some row may be kept, dead letters included.
func (r *Retention) least() int { return int(min(r.Quiet, r.Normal, r.Grave, 90)) }

// Writer stores batches of events exactly once. It may be used from several goroutines;
// a Block belongs to one.
type Writer struct {
	db *DB
	o  WriterOptions

	mu     sync.Mutex
	unsure map[string]string // by partition, the batch whose last attempt ended with an error
	next   map[string]int64  // by partition, where the batch after the last one stored here begins
}

// NewWriter makes a writer on a database that Verify accepted.
func NewWriter(db *DB, o WriterOptions) *Writer {
	o.Retention.setDefaults()
	return &Writer{db: db, o: o, unsure: map[string]string{}, next: map[string]int64{}}
}

// Block collects the rows of one batch, column by column. Reset keeps its memory.
type Block struct {
	events  pieces[*eventRows] // by day of arrival, as the table
	dead    pieces[*deadRows]
	rollups *rollups
	bad     error // a row that does not belong to any batch
	lo, hi  int64 // offsets seen
	topic   string
	part    int32
}

// NewBlock makes an empty block.
func (w *Writer) NewBlock() *Block {
	b := &Block{
		events:  pieces[*eventRows]{make: func() *eventRows { return newEventRows(w.o.Retention) }},
		dead:    pieces[*deadRows]{make: newDeadRows},
		rollups: newRollups(),
	}
	b.Reset()
	return b
}

const dayMillis = 24 * 60 * 60 * 1000

// arrival is the partition of a time of arrival, in days since 1970.
func arrival(t time.Time) int64 {
	ms := millis(t)
	if ms < 0 {
		ms -= dayMillis - 1
	}
	return ms / dayMillis
}

// date is how the server writes that partition, like 20261122.
func date(day int64) string { return time.UnixMilli(day * dayMillis).UTC().Format("20060102") }

// Append adds an event, which must be redacted. Nothing of ev is kept.
func (b *Block) Append(ev *detect.Event) {
	b.see(ev.Topic, ev.Partition, ev.Offset)
	b.events.at(arrival(ev.Append)).append(ev)
}

// AppendDead adds a dead letter.
func (b *Block) AppendDead(d *DeadLetter) {
	b.see(d.Topic, d.Partition, d.Offset)
	b.dead.at(arrival(d.Append)).append(d)
}

func (b *Block) see(topic string, partition int32, offset int64) {
	if b.topic == "" {
		b.topic, b.part = topic, partition
	}
	if b.topic != topic || b.part != partition {
		b.bad = fmt.Errorf("a block holds %s:%d and %s:%d", b.topic, b.part, topic, partition)
	}
	if offset < 0 || partition < 0 || partition > math.MaxUint16 {
		b.bad = fmt.Errorf("%s:%d: offset %d is not one of Kafka's", topic, partition, offset)
	}
	b.lo, b.hi = min(b.lo, offset), max(b.hi, offset)
}

// Rows is how many events and dead letters the block holds.
func (b *Block) Rows() (events, dead int) {
	for _, r := range b.events.each() {
		events += r.n
	}
	for _, r := range b.dead.each() {
		dead += r.n
	}
	return events, dead
}

// Reset empties the block and keeps its memory.
func (b *Block) Reset() {
	b.events.reset()
	b.dead.reset()
	*b = Block{events: b.events, dead: b.dead, rollups: b.rollups, lo: math.MaxInt64, hi: -1}
}

// Insert stores the batch. After an error, or no answer, it may be repeated with the same batch
// and rows until it succeeds, here by Insert, in another process by Redo: then every row is
// there once.
//
// The order matters in a crash: dead letters, events, roll-ups, and the ledger last, so that a
// ledger row means that all of the range is stored. Each insert brings rows of one partition of
// one table, which the server stores whole or not at all, and has a token of its own: what a
// crash left out is added by the repetition, and what it did not is dropped.
func (w *Writer) Insert(ctx context.Context, id BatchID, b *Block) error {
	return w.attempt(ctx, id, b, seen)
}

// Redo is Insert for a batch that another process declared, so that it or a part of it may be
// stored. It looks for the rows of each insert first, which holds also when the window of the
// tokens has passed.
func (w *Writer) Redo(ctx context.Context, id BatchID, b *Block) error {
	return w.attempt(ctx, id, b, redone)
}

// attempt stores a batch, and remembers one that may be stored in part: an outage can be
// longer than the window, so that the next attempt has to look too.
func (w *Writer) attempt(ctx context.Context, id BatchID, b *Block, d doubt) error {
	if err := b.check(id); err != nil {
		return err
	}
	part := id.partition()
	w.mu.Lock()
	if next, ok := w.next[part]; d == seen && ok && next == id.Begin {
		d = fresh
	}
	if w.unsure[part] == id.token() {
		d = redone
	}
	w.unsure[part] = id.token()
	w.mu.Unlock()
	if err := w.store(ctx, id, b, d); err != nil {
		return err
	}
	w.mu.Lock()
	delete(w.unsure, part)
	w.next[part] = id.End
	w.mu.Unlock()
	return nil
}

// putFunc stores the rows of one partition; where says which rows tell that they are there.
type putFunc func(r *rows, token, where string, args ...any) error

func (w *Writer) store(ctx context.Context, id BatchID, b *Block, d doubt) error {
	// put stores one piece, unless a redo finds a row of it.
	now, piece := time.Now(), d
	var put putFunc = func(r *rows, token, where string, args ...any) error {
		if err := w.db.keep(ctx, r, token, piece, where, args...); err != nil {
			return fmt.Errorf("batch %s: %w", id, err)
		}
		return nil
	}
	// The times of arrival tell a topic that was made anew, where the offsets come again.
	arrived := func(r *rows, day int64, observed *fixed) (token string, err error) {
		from, to := observed.span()
		if piece = d; d != fresh && to < millis(now.AddDate(0, 0, -w.o.Retention.least())) {
			piece = aged
		}
		token = fmt.Sprintf("%s/%s/%d", id, date(day), from)
		return token, put(r, token, "kafka_topic = ? AND kafka_partition = ? AND kafka_offset >= ? AND kafka_offset < ?"+
			" AND observed BETWEEN fromUnixTimestamp64Milli(?, 'UTC') AND fromUnixTimestamp64Milli(?, 'UTC')",
			id.Topic, id.Partition, id.Begin, id.End, from, to)
	}
	for day, r := range b.dead.each() {
		if _, err := arrived(&r.rows, day, r.observed); err != nil {
			return err
		}
	}
	for day, r := range b.events.each() {
		r.sort()
		token, err := arrived(&r.rows, day, r.observed)
		if err != nil {
			return err
		}
		if err := b.rollups.store(r, token, put); err != nil {
			return err
		}
	}
	events, dead := b.Rows()
	l := newLedgerRows()
	l.append(id, events, dead, w.o.Instance, now)
	piece = d
	return put(&l.rows, id.token(), "kafka_topic = ? AND kafka_partition = ? AND first_offset = ? AND end_offset = ?", id.Topic, id.Partition, id.Begin, id.End)
}

func (b *Block) check(id BatchID) error {
	switch {
	case b.bad != nil:
		return fmt.Errorf("batch %s: %w", id, b.bad)
	case id.Begin < 0 || id.End < id.Begin:
		return fmt.Errorf("batch %s: not a range of offsets", id)
	case b.hi < 0:
		return nil // no rows
	case b.topic != id.Topic || b.part != id.Partition:
		return fmt.Errorf("batch %s: the block is of %s:%d", id, b.topic, b.part)
	case b.lo < id.Begin || b.hi >= id.End:
		return fmt.Errorf("batch %s: the block holds offsets %d to %d", id, b.lo, b.hi)
	}
	return nil
}

// deadRows is a block of the table dead_letters.
type deadRows struct {
	rows
	observed, bytes, partition, offset *fixed
	stage, class, topic                *low
	err, digest                        *text
}

func newDeadRows() *deadRows {
	r := &deadRows{rows: rows{table: "dead_letters"}}
	b := &r.rows
	r.observed = add(b, "observed", newTime())
	r.stage, r.class = add(b, "stage", newLow()), add(b, "class", newLow())
	r.err = add(b, "error", &text{})
	r.bytes = add(b, "payload_bytes", newFixed("UInt32", 4))
	r.digest = add(b, "payload_digest", &text{})
	r.topic = add(b, "kafka_topic", newLow())
	r.partition = add(b, "kafka_partition", newFixed("UInt16", 2))
	r.offset = add(b, "kafka_offset", newFixed("UInt64", 8))
	return r
}

func (r *deadRows) append(d *DeadLetter) {
	r.observed.putTime(d.Append)
	r.stage.put(d.Stage)
	r.class.put(d.Class)
	r.err.put(d.Error)
	r.bytes.put(uint64(min(max(d.Bytes, 0), math.MaxUint32)))
	r.digest.put(d.Digest)
	r.topic.put(d.Topic)
	r.partition.put(uint64(d.Partition))
	r.offset.put(uint64(d.Offset))
	r.n++
}
