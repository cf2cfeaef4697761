//go:build unix

package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	topic      = "mcp.events"
	deadTopic  = "picket.dead"
	group      = "picket.store"
	partitions = 4
)

// traffic is a server that ships its events whatever happens: in bursts, so that there are
// moments without any.
type traffic struct {
	src    source
	rate   int // records a second
	client *kgo.Client
	made   atomic.Uint64 // records given to the producer
	failed atomic.Uint64 // records that the producer gave up: the log tells whether they arrived

	mu      sync.Mutex
	acked   []uint64 // bits, by number
	nacked  int
	paused  bool
	quiet   chan struct{} // closed when a pause was asked for and has begun
	resumed chan struct{}

	cancel context.CancelFunc
	done   chan struct{}
}

// newTraffic makes the producer. With a broker that remembers producers across a kill, each
// record is in the log once; without one nothing is sent again, so that it is there once at most.
func newTraffic(src source, rate int, brokers string, idempotent bool) (*traffic, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(brokers), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(5 * time.Millisecond), kgo.MaxBufferedRecords(20_000), kgo.DialTimeout(2 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 200 * time.Millisecond }), kgo.RecordRetries(1 << 30), kgo.RequestRetries(1 << 30),
	}
	if !idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make the producer: %w", err)
	}
	return &traffic{src: src, rate: rate, client: c, done: make(chan struct{})}, nil
}

func (t *traffic) start() {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel = cancel
	go func() {
		defer close(t.done)
		t.run(ctx)
	}()
}

// A burst is four ticks of sixteen.
const (
	tick  = 50 * time.Millisecond
	ticks = 16
	busy  = 4
)

func (t *traffic) run(ctx context.Context) {
	beat := time.NewTicker(tick)
	defer beat.Stop()
	each := t.rate * ticks / busy * int(tick) / int(time.Second)
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		switch {
		case i%ticks == busy:
			t.rest(ctx)
		case i%ticks < busy:
			for range each {
				t.produce(ctx)
			}
		}
	}
}

// rest is where a pause begins: after a burst, so that a process which was armed before has
// something to finish.
func (t *traffic) rest(ctx context.Context) {
	t.mu.Lock()
	if !t.paused {
		t.mu.Unlock()
		return
	}
	select {
	case <-t.quiet:
	default:
		close(t.quiet)
	}
	resumed := t.resumed
	t.mu.Unlock()
	select {
	case <-resumed:
	case <-ctx.Done():
	}
}

func (t *traffic) produce(ctx context.Context) {
	n := t.made.Load()
	r := &kgo.Record{Topic: topic, Partition: int32(n % partitions), Key: strconv.AppendUint(nil, n, 10), Value: t.src.value(n)}
	t.made.Add(1)
	t.client.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
		if err != nil {
			t.failed.Add(1)
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for uint64(len(t.acked)) <= n/64 {
			t.acked = append(t.acked, 0)
		}
		t.acked[n/64] |= 1 << (n % 64)
		t.nacked++
	})
}

// pause ends the traffic after the next whole burst; resume goes on.
func (t *traffic) pause() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.paused {
		t.paused, t.quiet, t.resumed = true, make(chan struct{}), make(chan struct{})
	}
}

func (t *traffic) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paused {
		t.paused = false
		close(t.resumed)
	}
}

func (t *traffic) wasAcked(n uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return n/64 < uint64(len(t.acked)) && t.acked[n/64]&(1<<(n%64)) != 0
}

func (t *traffic) acknowledged() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nacked
}

// stop ends the traffic and waits until each record is acknowledged or given up.
func (t *traffic) stop(ctx context.Context) error {
	t.resume()
	t.cancel()
	<-t.done
	defer t.client.Close()
	if err := t.client.Flush(ctx); err != nil {
		return fmt.Errorf("flush the producer: %w", err)
	}
	return nil
}
