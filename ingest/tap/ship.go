package tap

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Sink takes records, in order, one event each. It may block, fail and be slow;
// it is called by one goroutine, and again with the same records after an
// error. It must return soon after ctx ends, and must not keep the slices.
type Sink interface {
	Send(ctx context.Context, records [][]byte) error
}

// ErrRefused is what a Sink wraps when the same records would fail for ever
// (too large, not authorised for this topic's format): they are counted as dropped.
var ErrRefused = errors.New("records refused")

const (
	batchEvents = 500
	batchBytes  = 768 << 10 // below the usual limit of a Kafka request
	backoffMin  = 100 * time.Millisecond
	backoffMax  = 5 * time.Second
	sendTimeout = 15 * time.Second
)

// shipper moves records from the outbox to the sink. One goroutine owns it.
type shipper struct {
	sink   Sink
	outbox *queue[[]byte]
	room   chan<- struct{}
	count  *counters
	log    *slog.Logger
	down   bool
}

// run ends when the outbox is closed and empty, or with ctx.
func (s *shipper) run(ctx context.Context) {
	var held []byte // taken, but too large for the batch before it
	for {
		batch, size, more := s.collect(ctx, &held)
		if len(batch) > 0 {
			s.deliver(ctx, batch)
			s.outbox.done(size)
			select {
			case s.room <- struct{}{}:
			default:
			}
		}
		if !more && held == nil {
			return
		}
	}
}

// collect takes what is there, and waits only for the first record.
func (s *shipper) collect(ctx context.Context, held *[]byte) (batch [][]byte, size int64, more bool) {
	add := func(r []byte) {
		batch = append(batch, r)
		size += int64(len(r))
	}
	if *held != nil {
		add(*held)
		*held = nil
	} else {
		select {
		case r, ok := <-s.outbox.ch:
			if !ok {
				return nil, 0, false
			}
			add(r)
		case <-ctx.Done():
			return s.abandon()
		}
	}
	for len(batch) < batchEvents {
		select {
		case r, ok := <-s.outbox.ch:
			if !ok {
				return batch, size, false
			}
			if size+int64(len(r)) > batchBytes {
				*held = r
				return batch, size, true
			}
			add(r)
		default:
			return batch, size, true
		}
	}
	return batch, size, true
}

// abandon counts what is left when there is no time any more.
func (s *shipper) abandon() ([][]byte, int64, bool) {
	for {
		select {
		case r, ok := <-s.outbox.ch:
			if !ok {
				return nil, 0, false
			}
			s.count.dropped.Add(1)
			s.outbox.done(int64(len(r)))
		default:
			return nil, 0, false
		}
	}
}

// deliver tries until it succeeds, is refused, or time is up.
func (s *shipper) deliver(ctx context.Context, batch [][]byte) {
	for wait := backoffMin; ; wait = min(2*wait, backoffMax) {
		attempt, cancel := context.WithTimeout(ctx, sendTimeout)
		err := s.sink.Send(attempt, batch)
		cancel()
		switch {
		case err == nil:
			if s.down {
				s.down = false
				s.log.Info("tap: events are delivered again")
			}
			s.count.shipped.Add(uint64(len(batch)))
			return
		case errors.Is(err, ErrRefused):
			s.log.Error("tap: events refused and dropped", "events", len(batch), "err", err)
			s.count.dropped.Add(uint64(len(batch)))
			return
		case ctx.Err() != nil:
			s.count.dropped.Add(uint64(len(batch)))
			return
		}
		s.count.retries.Add(1)
		if !s.down {
			s.down = true
			s.log.Warn("tap: events not delivered, trying again; the server is not affected", "events", len(batch), "err", err)
		}
		t := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}
