package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// fetchWait is how long a broker holds a fetch that finds nothing.
const fetchWait = 500 * time.Millisecond

// chunk is a piece of one partition up to next, on its way from a fetcher to Poll.
type chunk struct {
	next      int64
	batches   []storedBatch
	body      []byte // what the batches are parts of
	highWater int64

	lost  bool // nobody can read what is before next any more
	reset bool // the log ends before where we were; reading goes on at next
	err   error
}

// fetcher reads one partition ahead of Poll: one goroutine, at most one chunk in flight.
type fetcher struct {
	client    *kgo.Client
	clientID  string
	topic     string
	partition int32
	maxBytes  int32 // what one fetch asks for
	pace      time.Duration
	pool      *pool
	readers   *readers
	stats     *Stats
	log       *slog.Logger

	out  chan chunk
	wake chan<- struct{} // tells Poll that some fetcher has something

	topicIs topicID // which has the name
	unsure  bool    // it may have been made anew since: there was an error, or nobody asked for a while

	end       atomic.Pointer[End] // the last time that the partition's end was seen
	highWater atomic.Int64
}

// run reads from offset on until ctx ends.
func (f *fetcher) run(ctx context.Context, offset int64) {
	failing := time.Time{}
	pause := 50 * time.Millisecond
	maxBytes := f.maxBytes
	for ctx.Err() == nil {
		sent := time.Now()
		got, err := fetch(ctx, f.client, fetchRequest{
			topic: f.topic, partition: f.partition, offset: offset, wait: fetchWait, maxBytes: maxBytes, clientID: f.clientID, room: f.pool.get,
		})
		anew := false
		if err == nil && f.unsure {
			if anew, err = f.madeAnew(ctx); anew || err != nil {
				f.pool.put(got.body)
			}
		}
		if anew || errors.Is(err, kgo.OffsetOutOfRange) {
			var c chunk
			if c, err = f.relocate(ctx, offset, anew); err == nil {
				if !f.send(ctx, c) {
					return
				}
				offset = c.next
				continue
			}
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if Permanent(err) && !f.send(ctx, chunk{err: fmt.Errorf("read %s/%d: %w", f.topic, f.partition, explain(err, "Read", f.topic, ""))}) {
				return
			}
			if time.Since(failing) > 30*time.Second {
				failing = time.Now()
				f.log.Warn("kafka: fetch failed; trying again", "topic", f.topic, "partition", f.partition, "offset", offset, "error", err)
			}
			f.stats.FetchErrors.Add(1)
			f.unsure = true
			freshen(f.client, err)
			if !pauseFor(ctx, pause) {
				return
			}
			pause = min(2*pause, 2*time.Second)
			continue
		}
		came := time.Now()
		pause, failing = 50*time.Millisecond, time.Time{}
		f.highWater.Store(got.highWatermark)
		if len(got.batches) == 0 && offset == got.highWatermark {
			f.end.Store(&End{Offset: offset, At: sent})
			f.pool.put(got.body)
			continue
		}
		f.stats.fetching.Add(int64(time.Since(sent)))
		next, ok := f.deliver(ctx, offset, got)
		if !ok {
			return
		}
		if next == offset { // a batch larger than what was asked for, cut off; or nothing new yet
			maxBytes = min(2*maxBytes, maxResponse/2)
			if !pauseFor(ctx, 20*time.Millisecond) {
				return
			}
			continue
		}
		offset, maxBytes = next, f.maxBytes
		if next >= got.highWatermark && !pauseFor(ctx, time.Until(came.Add(f.pace))) {
			return
		}
	}
}

// deliver cuts a response into stored batches and sends it on.
func (f *fetcher) deliver(ctx context.Context, offset int64, got fetched) (next int64, ok bool) {
	c := chunk{next: offset, highWater: got.highWatermark, body: got.body}
	began := time.Now()
	for rest := got.batches; ; {
		var s storedBatch
		var whole bool
		if s, rest, whole = cutBatch(rest); !whole {
			break
		}
		if s.end > offset {
			f.readers.weigh(&s)
			c.batches, c.next = append(c.batches, s), max(c.next, s.end)
			f.stats.Bytes.Add(int64(s.size))
		}
	}
	f.stats.unpacking.Add(int64(time.Since(began)))
	if c.next == offset {
		f.pool.put(got.body)
		return offset, true
	}
	return c.next, f.send(ctx, c)
}

func (f *fetcher) send(ctx context.Context, c chunk) bool {
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	began := time.Now()
	defer func() { f.unsure = f.unsure || time.Since(began) > fetchWait }()
	for sent := false; !sent; {
		select {
		case f.out <- c:
			sent = true
		case <-look.C:
			f.lookAtEnd(ctx)
		case <-ctx.Done():
			return false
		}
	}
	select {
	case f.wake <- struct{}{}:
	default: // Poll has a wake-up coming already
	}
	return true
}

// lookAgain is how often a fetcher that may not read on asks how long the log has become:
// what waits behind an owner that is stuck must show.
const lookAgain = 2 * time.Second

func (f *fetcher) lookAtEnd(ctx context.Context) {
	// An error shows when reading goes on; until then the old mark stands.
	if all, err := listBounds(ctx, f.client, f.topic, []int32{f.partition}); err == nil {
		f.highWater.Store(all[f.partition].last)
	}
}

// madeAnew reports whether what was just fetched is of another topic than what was before, in whose
// log our offset means nothing.
func (f *fetcher) madeAnew(ctx context.Context) (bool, error) {
	id, err := f.topicID(ctx)
	if err != nil {
		return false, err
	}
	if f.topicIs != (topicID{}) && id != (topicID{}) && id != f.topicIs {
		return true, nil // until its start is found
	}
	f.topicIs, f.unsure = id, false
	return false, nil
}

// relocate finds where to go on when the log does not have offset (kafka-go's Reader skips
// silently here), or is another one.
func (f *fetcher) relocate(ctx context.Context, offset int64, anew bool) (chunk, error) {
	all, err := listBounds(ctx, f.client, f.topic, []int32{f.partition})
	if err != nil {
		return chunk{}, err
	}
	b := all[f.partition]
	c := chunk{next: b.first, highWater: b.last}
	switch {
	case offset > b.last || anew:
		f.unsure, f.topicIs = true, topicID{}
		c.reset = true
		f.stats.Resets.Add(1)
		f.log.Error("kafka: the log is not the one of the committed offset (it was truncated, or the topic made anew); reading it from its start",
			"topic", f.topic, "partition", f.partition, "offset", offset, "earliest", b.first, "end", b.last)
	case offset < b.first:
		c.lost = true
		f.stats.Lost.Add(b.first - offset)
		f.log.Error("kafka: records expired before they were read; going on at the earliest one", "topic", f.topic,
			"partition", f.partition, "offset", offset, "earliest", b.first, "lost", b.first-offset)
	default: // the log has it by now
		return chunk{}, kgo.OffsetOutOfRange
	}
	return c, nil
}
