package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// ConsumerOptions say what to read, as whom, and how much at once. Zero values get defaults.
type ConsumerOptions struct {
	Topic, Group string
	// InstanceID makes the membership static: a restart within SessionTimeout takes its
	// partitions back at once. It must differ between live instances.
	InstanceID string

	MaxRows  int           // of a batch; 10,000
	MaxBytes int           // that a batch unpacks to; 16 MiB; one stored batch more is possible
	MaxWait  time.Duration // how long Poll waits for a first record; 500 ms
	Linger   time.Duration // how long it then waits for more; 0: takes what is there
	// Pace is how far apart batches begin, and (up to 100 ms) the fetches of a partition, while
	// records keep coming and are fewer than fill a batch: each has its price. What comes after
	// a pause is taken at once. 0: no pace.
	Pace time.Duration
	// MaxRanges is from how many partitions a batch takes while there is more to read than
	// fits in one, those that are furthest behind: few large ranges cost their readers less
	// than many small ones. 0: from all.
	MaxRanges int

	// PrefetchBytes bounds what all partitions together read ahead, compressed as stored;
	// 8 MiB. MaxBatchBytes bounds what one stored batch may unpack to; 16 MiB.
	PrefetchBytes int
	MaxBatchBytes int

	FromTime       time.Time     // a partition without a commit starts at what was appended since; zero: at its earliest record
	SessionTimeout time.Duration // 10 s; a crash is noticed after it

	// Meta returns the user's part of a partition's commit metadata. Called by Poll.
	Meta func(partition int32) string
	// OnAssign is called by Poll after each rebalance, before any record. It may return
	// offsets below Assignment.Committed to replay from.
	OnAssign func([]Assignment) (rewind map[int32]int64, err error)
	// OnRevoke is called by Poll and Close when the partitions are given up; they may come
	// back with the next OnAssign.
	OnRevoke func([]int32)
	Logger   *slog.Logger
}

func (o ConsumerOptions) withDefaults() (ConsumerOptions, error) {
	if o.Topic == "" || o.Group == "" {
		return o, errors.New("kafka consumer: topic and group are needed")
	}
	o.MaxRows = cmp.Or(o.MaxRows, 10_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 16<<20)
	o.MaxWait = cmp.Or(o.MaxWait, 500*time.Millisecond)
	o.PrefetchBytes = cmp.Or(o.PrefetchBytes, 8<<20)
	o.MaxBatchBytes = cmp.Or(o.MaxBatchBytes, 16<<20)
	o.SessionTimeout = cmp.Or(o.SessionTimeout, 10*time.Second)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Meta == nil {
		o.Meta = func(int32) string { return "" }
	}
	if o.OnAssign == nil {
		o.OnAssign = func([]Assignment) (map[int32]int64, error) { return nil, nil }
	}
	if o.OnRevoke == nil {
		o.OnRevoke = func([]int32) {}
	}
	return o, nil
}

// Consumer reads one topic as a member of a group, in declared batches. One goroutine owns
// it; only Stats, Lag and Rebalancing may be called from others.
type Consumer struct {
	cfg    Config
	opts   ConsumerOptions
	client *kgo.Client
	member membership
	log    *slog.Logger
	stats  Stats

	gen      *generation // nil: to be joined
	stopRead context.CancelFunc
	reading  sync.WaitGroup
	wake     chan struct{}
	parts    atomic.Pointer[[]*part] // replaced whole at each generation
	turn     int                     // which partition Poll looks at first, for fairness

	pool    pool    // of what was fetched
	readers readers // of ranges

	held     Batch // handed out, or about to be, and not committed yet
	declared bool
	serial   uint64
	handed   time.Time          // when held was gathered
	done     map[int32]position // batches finished in the last generation, not acknowledged
	doneIn   int32              // that generation
	closed   bool

	rebalancing atomic.Pointer[chan struct{}]
}

// NewConsumer checks that the cluster can be reached; the group is joined by the first Poll.
func NewConsumer(cfg Config, opts ConsumerOptions) (*Consumer, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(len(cfg.Brokers)+1)*cfg.dialTimeout())
	defer cancel()
	client, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &Consumer{
		cfg: cfg, opts: opts, client: client, log: opts.Logger, wake: make(chan struct{}, 1),
		member: membership{
			client: client, clientID: cfg.clientID(), log: opts.Logger, topic: opts.Topic, group: opts.Group,
			instance: opts.InstanceID, session: opts.SessionTimeout, coordinator: -1,
		},
	}
	c.pool.most = opts.MaxBytes + opts.PrefetchBytes
	c.readers.limit, c.readers.stats, c.readers.log = opts.MaxBatchBytes, &c.stats, opts.Logger
	c.parts.Store(&[]*part{})
	return c, nil
}

// Stats are the consumer's counters.
func (c *Consumer) Stats() *Stats { return &c.stats }

// Generation is the group's current one, or -1 between two.
func (c *Consumer) Generation() int32 {
	if c.gen == nil {
		return -1
	}
	return c.gen.id
}

// Assigned lists this member's partitions.
func (c *Consumer) Assigned() []int32 {
	out := []int32{}
	for _, p := range *c.parts.Load() {
		out = append(out, p.id)
	}
	return out
}

// Lag is, for each assigned partition, how many offsets are not done yet.
func (c *Consumer) Lag() map[int32]int64 {
	out := map[int32]int64{}
	for _, p := range *c.parts.Load() {
		out[p.id] = max(0, p.fetcher.highWater.Load()-p.durable.Load())
	}
	return out
}

// Ends lists the partitions that are done to their end, and when that was seen.
func (c *Consumer) Ends() map[int32]End {
	out := map[int32]End{}
	for _, p := range *c.parts.Load() {
		if e := p.fetcher.end.Load(); e != nil && e.Offset == p.durable.Load() {
			out[p.id] = *e
		}
	}
	return out
}

// Rebalancing is closed once the group wants its members to join again. A caller that is
// stuck with a batch may give it up then: its next owner does it again. Ask anew after each
// Poll.
func (c *Consumer) Rebalancing() <-chan struct{} {
	if p := c.rebalancing.Load(); p != nil {
		return *p
	}
	return nil
}

// OffsetsAt finds, for each partition of topic, the first offset appended at or after t; the
// partition's end if there is none.
func (c *Consumer) OffsetsAt(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	n, err := partitionCount(ctx, c.client, topic)
	if err != nil {
		return nil, err
	}
	parts := make([]int32, n)
	req := make([]kgo.OffsetRequest, n)
	for i := range n {
		parts[i], req[i] = int32(i), kgo.TimeOffsetOf(i, t)
	}
	all, err := listBounds(ctx, c.client, topic, parts)
	if err != nil {
		return nil, err
	}
	res, err := listOffsets(ctx, c.client, topic, req)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]int64, n)
	for p, b := range all {
		out[p] = b.last
	}
	for _, p := range res {
		for at := range p.Offsets {
			if at >= 0 {
				out[int32(p.Partition)] = at
			}
		}
	}
	return out, nil
}

// Commit says that everything in b is durable. It only moves the position in memory: the
// acknowledgement rides on the next declaration, or goes alone when Poll finds nothing to
// read, and on Close. The memory of b's records is used again: nobody may read them any more.
func (c *Consumer) Commit(_ context.Context, b Batch) error {
	if c.closed {
		return ErrClosed
	}
	if b.Empty() {
		return nil
	}
	if b.Ranges[0].Replay {
		c.release(b.Ranges)
		return nil
	}
	if c.gen == nil || c.gen.id != b.generation || b.serial != c.held.serial || c.held.Empty() {
		return ErrFenced
	}
	for i := range b.Ranges {
		r := &b.Ranges[i]
		if p := c.part(r.Partition); p != nil {
			p.durable.Store(r.End)
			p.finished, p.dirty = position{offset: r.Begin, end: r.End}, true
		}
	}
	c.release(c.held.Ranges)
	c.held = Batch{}
	return nil
}

func (c *Consumer) part(id int32) *part {
	for _, p := range *c.parts.Load() {
		if p.id == id {
			return p
		}
	}
	return nil
}

// Close acknowledges what is done, leaves the group and hangs up. It does not wait for a
// fetch that is under way.
func (c *Consumer) Close(ctx context.Context) error {
	if c.closed {
		return nil
	}
	err := c.endGeneration(ctx)
	c.closed = true
	err = errors.Join(err, c.member.leave(ctx))
	c.readers.close()
	hangUp(c.client)
	if err != nil {
		return fmt.Errorf("close the consumer of %s in group %s: %w", c.opts.Topic, c.opts.Group, err)
	}
	return nil
}

// mostPace is how far apart fetches may be.
const mostPace = 100 * time.Millisecond

// startReading makes the fetchers of a new generation.
func (c *Consumer) startReading(parts []*part) {
	ctx, cancel := context.WithCancel(context.Background())
	c.stopRead = cancel
	// Two chunks of a partition exist at once: one fetched or on its way, one in Poll.
	each := int32(min(max(c.opts.PrefetchBytes/(2*max(len(parts), 1)), 64<<10), 2<<20))
	for _, p := range parts {
		p.fetcher = &fetcher{
			client: c.client, clientID: c.cfg.clientID(), topic: c.opts.Topic, partition: p.id, maxBytes: each, pace: min(c.opts.Pace, mostPace),
			pool: &c.pool, readers: &c.readers, stats: &c.stats, log: c.log, out: make(chan chunk), wake: c.wake, unsure: true,
		}
		p.fetcher.highWater.Store(p.next)
	}
	slices.SortFunc(parts, func(a, b *part) int { return cmp.Compare(a.id, b.id) })
	c.parts.Store(&parts)
	for _, p := range parts {
		start := p.next
		c.reading.Go(func() { p.fetcher.run(ctx, start) })
	}
}
