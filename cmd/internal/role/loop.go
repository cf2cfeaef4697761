package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"picket/ingest/kafka"
)

// Consumer is what a loop reads from: *kafka.Consumer, or a twin in tests. One
// goroutine owns it. Poll declares a batch before it returns it, and returns an
// empty one when nothing came for a while; Commit says that everything in the
// batch is durable, and returns kafka.ErrFenced when the batch has a new owner.
type Consumer interface {
	Poll(ctx context.Context) (kafka.Batch, error)
	Commit(ctx context.Context, b kafka.Batch) error
	Rebalancing() <-chan struct{} // closed once the batch in hand may be given up; nil never
	Close(ctx context.Context) error
}

// Producer writes records: *kafka.Producer, or a twin in tests. Produce returns
// when all are durable; after an error some may be, so names must be repeatable.
// It keeps nothing of what they hold: their memory may be used again.
type Producer interface {
	Produce(ctx context.Context, records []kafka.Record) error
}

// Loop is what the roles share.
type Loop struct {
	Name    string // names the loop in logs, health and metrics: "store", "notify slack"
	Log     *slog.Logger
	Health  *Health
	Metrics *Metrics
	Backoff Backoff
	Lag     func() map[int32]int64 // may be nil
	Notices *Notices               // tells of gaps; may be nil
	Spent   func() kafka.Spent     // may be nil

	// Probe asks whether what the work needs is back, before a batch that failed is sent
	// again. May be nil.
	Probe func(context.Context) error

	lagging map[int32]bool // partitions whose lag is shown
	spent   kafka.Spent    // as it was shown last
}

// Backoff doubles from First to Most, with a fifth of jitter.
type Backoff struct{ First, Most time.Duration }

func (b Backoff) delay(attempt int) time.Duration {
	first, most := b.First, b.Most
	if first == 0 {
		first = 200 * time.Millisecond
	}
	if most == 0 {
		most = 5 * time.Second
	}
	d := most
	if attempt < 30 {
		d = min(most, first<<attempt)
	}
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

// run polls, works and commits until the context ends. Work gets a context that
// outlives a stop by grace, so that what is in hand is finished and recorded.
func (l *Loop) run(ctx context.Context, c Consumer, work func(context.Context, kafka.Batch) error, idle func(context.Context) error) error {
	inHand, stop := graceful(ctx, grace)
	defer stop()
	leaving, left := graceful(ctx, leave)
	defer left()
	defer l.close(leaving, c)
	var polls int
	for {
		l.Health.Tick(l.Name)
		b, err := c.Poll(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafka.ErrInstanceTaken):
			return fmt.Errorf("%s: %w", l.Name, err)
		case err != nil:
			if l.park(ctx, nil, polls, fmt.Errorf("read: %w", err)) != nil {
				return nil
			}
			polls++
			continue
		}
		l.recovered(polls)
		polls = 0
		if !b.Empty() {
			l.lag() // a batch may take long
			if done := l.batch(ctx, inHand, c, b, work); !done {
				return nil
			}
		}
		if idle != nil {
			if err := l.retry(ctx, c.Rebalancing(), 0, func() error { return idle(inHand) }); err != nil && !errors.Is(err, errMoved) {
				return nil
			}
		}
		l.lag()
		l.reading()
	}
}

// After a stop was asked for, work in hand may go on for grace, which covers the 3 s
// that a Notifier gives a send and the record of it; the group must be left by leave.
// Together with what follows this is less than the 5 s that a stop may take.
const (
	grace = 3500 * time.Millisecond
	leave = 4300 * time.Millisecond
)

// graceful is a context that ends some time after its parent.
func graceful(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(after, cancel) })
	return out, func() { stop(); cancel() }
}

// batch does one declared batch, for as long as it takes.
func (l *Loop) batch(ctx, inHand context.Context, c Consumer, b kafka.Batch, work func(context.Context, kafka.Batch) error) (done bool) {
	start := time.Now()
	result := "done"
	for i := range b.Ranges {
		r := &b.Ranges[i]
		switch {
		case r.Replay:
			result = "replayed"
		case r.Redo:
			result = "redone"
		}
		if r.Lost > 0 {
			l.Metrics.Lost.WithLabelValues(l.Name).Add(float64(r.Lost))
			l.Log.Error("records are gone from the topic unread: retention is shorter than the outage was",
				"role", l.Name, "topic", r.Topic, "partition", r.Partition, "lost", r.Lost, "next", r.Begin)
		}
	}
	failed, told := false, false
	switch err := l.retry(ctx, c.Rebalancing(), 0, func() error {
		if failed && l.Probe != nil {
			if err := l.Probe(inHand); err != nil {
				return err
			}
		}
		if !told { // before the commit that would forget it
			if err := l.Notices.gaps(inHand, l.Name, b); err != nil {
				return err
			}
			told = true
		}
		err := work(inHand, b)
		failed = err != nil
		return err
	}); {
	case errors.Is(err, errMoved):
		// Its declaration stands, so whoever has the partition next does the same batch.
		l.Metrics.Batches.WithLabelValues(l.Name, "fenced").Inc()
		return true
	case err != nil:
		return false
	}
	switch err := c.Commit(inHand, b); {
	case errors.Is(err, kafka.ErrFenced):
		result = "fenced"
		l.Log.Info("batch has a new owner", "role", l.Name)
	case err != nil:
		// The declaration stands: this owner or the next one does the batch again, to no effect.
		l.Log.Warn("commit failed", "role", l.Name, "err", err)
	}
	l.Metrics.Batches.WithLabelValues(l.Name, result).Inc()
	if result == "done" || result == "redone" {
		l.Metrics.Records.WithLabelValues(l.Name).Add(float64(b.Len()))
	}
	l.Metrics.Seconds.WithLabelValues(l.Name).Observe(time.Since(start).Seconds())
	return true
}

// errMoved says that the group rebalances while a batch cannot be finished.
var errMoved = errors.New("the consumer group rebalances")

// retry works until it succeeds, the context ends (its error), or the group
// rebalances while the work is failing (errMoved). So many attempts have failed before.
func (l *Loop) retry(ctx context.Context, moved <-chan struct{}, failed int, work func() error) error {
	for attempt := failed; ; attempt++ {
		err := work()
		if err == nil {
			l.recovered(attempt)
			return nil
		}
		l.Metrics.Batches.WithLabelValues(l.Name, "failed").Inc()
		if err := l.park(ctx, moved, attempt, err); err != nil {
			return err
		}
	}
}

// Wait parks the loop for what must be there before it can run, as first found
// missing, until it is or the context ends.
func (l *Loop) Wait(ctx context.Context, first error, try func() error) {
	if l.park(ctx, nil, 0, first) != nil {
		return
	}
	_ = l.retry(ctx, nil, 1, try) // its only error is that the context ended
}

// park shows the trouble and waits.
func (l *Loop) park(ctx context.Context, moved <-chan struct{}, attempt int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	wait := l.Backoff.delay(attempt)
	l.Metrics.Parked.WithLabelValues(l.Name).Set(1)
	l.Health.NotReady(l.Name, err.Error())
	l.Log.Warn("parked: will try again, nothing is skipped", "role", l.Name, "attempt", attempt+1, "wait", wait.Round(time.Millisecond), "err", err)
	l.lag()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-moved:
		return errMoved
	case <-t.C:
		return nil
	}
}

func (l *Loop) recovered(attempts int) {
	l.Metrics.Parked.WithLabelValues(l.Name).Set(0)
	l.Health.Ready(l.Name)
	if attempts > 0 {
		l.Log.Info("goes on", "role", l.Name, "after_attempts", attempts)
	}
}

func (l *Loop) lag() {
	if l.Lag == nil {
		return
	}
	now := l.Lag()
	for p := range l.lagging {
		if _, ok := now[p]; !ok { // another process has it, and shows its lag
			l.Metrics.Lag.DeleteLabelValues(l.Name, strconv.Itoa(int(p)))
			delete(l.lagging, p)
		}
	}
	if l.lagging == nil {
		l.lagging = map[int32]bool{}
	}
	for p, n := range now {
		l.lagging[p] = true
		l.Metrics.Lag.WithLabelValues(l.Name, strconv.Itoa(int(p))).Set(float64(n))
	}
}

func (l *Loop) close(ctx context.Context, c Consumer) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		l.Log.Warn("leave the consumer group", "role", l.Name, "err", err)
	}
}
