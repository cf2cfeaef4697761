package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// Poll returns the next declared batch. It waits at most MaxWait when nothing arrives, and
// returns an empty batch then (joining the group may take longer). Until a batch is
// committed, Poll returns the same one again. A stale generation is not an error: what it
// held is dropped, and Poll goes on with the new assignment. Every error but those that
// Permanent reports is worth another try.
func (c *Consumer) Poll(ctx context.Context) (Batch, error) {
	b, err := c.poll(ctx)
	freshen(c.client, err)
	return b, err
}

func (c *Consumer) poll(ctx context.Context) (Batch, error) {
	for {
		if c.closed {
			return Batch{}, ErrClosed
		}
		if c.gen != nil && c.gen.ended() {
			if err := c.endGeneration(ctx); err != nil {
				return Batch{}, err
			}
		}
		if c.gen == nil {
			if err := c.newGeneration(ctx); err != nil {
				return Batch{}, err
			}
		}
		if c.held.Empty() {
			ranges, err := c.gather(ctx)
			switch {
			case err != nil:
				return Batch{}, err
			case c.gen.ended():
				continue // what was gathered was never declared: nobody knows of it
			case len(ranges) == 0:
				if again, err := c.acknowledge(ctx); again || err != nil {
					if err != nil {
						return Batch{}, err
					}
					continue
				}
				if err := c.gen.unheard.Load(); err != nil { // an idle topic looks the same where nobody answers
					return Batch{}, fmt.Errorf("stay in consumer group %s: %w", c.opts.Group, explain(*err, "Read", c.opts.Topic, c.opts.Group))
				}
				return Batch{generation: c.gen.id}, nil
			case ranges[0].Replay:
				return Batch{Ranges: ranges, generation: c.gen.id}, nil
			}
			c.serial++
			c.handed = time.Now()
			c.held, c.declared = Batch{Ranges: ranges, generation: c.gen.id, serial: c.serial}, false
		}
		if !c.declared {
			// A crash before this commit leaves no trace; after it, the next owner finds the
			// borders and does the batch again.
			again, err := c.commit(ctx, c.held.Ranges)
			if err != nil {
				return Batch{}, fmt.Errorf("declare a batch of %s in group %s: %w", c.opts.Topic, c.opts.Group, err)
			}
			if again {
				continue
			}
			c.declared = true
		}
		return c.held, nil
	}
}

// acknowledge sends the acknowledgement alone, if there is one to send.
func (c *Consumer) acknowledge(ctx context.Context) (again bool, err error) {
	for _, p := range *c.parts.Load() {
		if p.dirty {
			again, err := c.commit(ctx, nil)
			if err != nil {
				return false, fmt.Errorf("acknowledge a batch of %s in group %s: %w", c.opts.Topic, c.opts.Group, err)
			}
			return again, nil
		}
	}
	return false, nil
}

// commit declares the ranges and acknowledges everything done, in one request. again reports
// that the generation is over instead.
func (c *Consumer) commit(ctx context.Context, declare []Range) (again bool, err error) {
	at := map[int32]position{}
	for _, p := range *c.parts.Load() {
		if p.dirty {
			at[p.id] = position{offset: p.durable.Load(), end: -1, meta: c.opts.Meta(p.id)}
		}
	}
	for i := range declare {
		r := &declare[i]
		at[r.Partition] = position{offset: r.Begin, end: r.End, meta: c.opts.Meta(r.Partition)}
	}
	began := time.Now()
	defer func() { c.stats.committing.Add(int64(time.Since(began))) }()
	for range backoff(ctx, 6) {
		err = c.member.commitOffsets(ctx, c.gen, at)
		switch {
		case err == nil:
			c.stats.Commits.Add(1)
			for _, p := range *c.parts.Load() {
				p.dirty = false
			}
			return false, nil
		case fenced(err):
			c.stats.Fenced.Add(1)
			c.log.Info("kafka: the group moved on before a commit; the batch goes to its new owner", "group", c.opts.Group, "generation", c.gen.id, "reason", err)
			_ = c.member.refused(err)
			c.gen.end(!errors.Is(err, kgo.RebalanceInProgress))
			return true, nil
		case errors.Is(err, errNoAnswer):
			return true, c.startAnew(ctx, err)
		case !transient(err):
			return false, explain(err, "Read", c.opts.Topic, c.opts.Group)
		}
	}
	return false, err
}

// startAnew leaves the group after a commit without an answer, to come back as another
// member. The request may still be on its way: were it tried again here, the first copy
// could arrive after later commits and set the record back to borders that are gone. As
// another member's it is refused.
func (c *Consumer) startAnew(ctx context.Context, why error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.stats.Unanswered.Add(1)
	c.log.Warn("kafka: a commit was not answered; joining the group anew", "group", c.opts.Group, "generation", c.gen.id, "error", why)
	freshen(c.client, why)
	ctx, cancel := context.WithTimeout(ctx, leaveTakes)
	defer cancel()
	_ = c.member.leave(ctx) // without it the others wait for the session to time out
	c.gen.end(true)
	return nil
}

const leaveTakes = 2 * time.Second

// catchUp is how long a batch waits for records that the log is known to have.
const catchUp = 100 * time.Millisecond

// gather collects what the fetchers have, up to the limits of a batch. Behind the log's end it
// waits for more as long as more keeps coming; at the end only as long as it is to linger, or
// as its pace says.
func (c *Consumer) gather(ctx context.Context) ([]Range, error) {
	idle := time.NewTimer(c.opts.MaxWait)
	defer idle.Stop()
	patience := time.NewTimer(catchUp)
	defer patience.Stop()
	var lingered bool
	var linger <-chan time.Time
	b := builder{maxRows: c.opts.MaxRows, maxBytes: c.opts.MaxBytes, only: c.furthest()}
	for {
		rows := b.rows
		if err := c.fill(&b); err != nil {
			return nil, err
		}
		if len(b.ranges) > 0 && !lingered && linger == nil {
			wait := max(c.opts.Linger, time.Until(c.handed.Add(c.opts.Pace)))
			if lingered = wait <= 0; !lingered {
				t := time.NewTimer(wait)
				defer t.Stop()
				linger = t.C
			}
		}
		if b.full() || len(b.ranges) > 0 && (b.ranges[0].Replay || lingered && !c.more(&b)) {
			return b.ranges, nil
		}
		if b.rows > rows {
			patience.Reset(catchUp)
		}
		select {
		case <-ctx.Done():
			if len(b.ranges) == 0 {
				return nil, ctx.Err()
			}
			// What is in b has left the fetchers, so it must be handed on: Poll keeps it.
			return b.ranges, nil
		case <-c.gen.over:
			return nil, nil
		case <-linger:
			lingered = true
		case <-patience.C:
			if len(b.ranges) > 0 && lingered {
				return b.ranges, nil
			}
			patience.Reset(catchUp)
		case <-idle.C:
			if len(b.ranges) == 0 {
				return nil, nil
			}
		case <-c.wake:
		}
	}
}

// newGeneration joins, reads the commits, asks the owner where to begin, and starts reading.
func (c *Consumer) newGeneration(ctx context.Context) error {
	var g *generation
	var err error
	for range backoff(ctx, 8) { // a new broker needs some seconds to have a coordinator
		g, err = c.member.join(ctx)
		var code kgo.Error
		if err == nil || !errors.As(err, &code) || !transient(err) && !fenced(err) || errors.Is(err, ErrInstanceTaken) {
			break
		}
	}
	if err != nil {
		return orDone(ctx, err)
	}
	parts, err := c.locate(ctx, g)
	if err != nil {
		g.stop()
		g.beaten.Wait()
		return err
	}
	c.stats.Generations.Add(1)
	c.log.Info("kafka: joined", "group", c.opts.Group, "topic", c.opts.Topic, "generation", g.id, "partitions", g.parts)
	c.gen, c.held = g, Batch{}
	c.rebalancing.Store(&g.over)
	c.startReading(parts)
	return nil
}

// locate finds where each partition goes on.
func (c *Consumer) locate(ctx context.Context, g *generation) ([]*part, error) {
	ids := g.parts
	if len(ids) == 0 {
		_, err := c.opts.OnAssign(nil)
		return nil, err
	}
	at, err := fetchOffsets(ctx, c.client, c.opts.Group, c.opts.Topic, ids)
	if err != nil {
		return nil, err
	}
	logs, err := listBounds(ctx, c.client, c.opts.Topic, ids)
	if err != nil {
		return nil, err
	}
	var since map[int32]int64
	if !c.opts.FromTime.IsZero() && slices.ContainsFunc(ids, func(id int32) bool { return at[id].none }) {
		if since, err = c.OffsetsAt(ctx, c.opts.Topic, c.opts.FromTime); err != nil {
			return nil, err
		}
	}
	parts := make([]*part, 0, len(ids))
	given := make([]Assignment, 0, len(ids))
	for _, id := range ids {
		pos := at[id]
		p := &part{id: id, redoTo: pos.end}
		switch done, ok := c.done[id]; {
		case pos.none:
			pos.offset, p.redoTo = max(since[id], logs[id].first), -1
			p.dirty = !c.opts.FromTime.IsZero() // to be noted, or a later start would begin at a later time
		case ok && done.offset == pos.offset && done.end == pos.end && c.doneIn+1 == g.id:
			// We finished this very batch, and only its acknowledgement was lost. Had another member
			// had it in a generation between, what we did of it as a zombie might have had no effect.
			pos.offset, p.redoTo, p.dirty = pos.end, -1, true
		}
		p.next, p.replayTo = pos.offset, pos.offset
		p.durable.Store(pos.offset)
		parts = append(parts, p)
		given = append(given, Assignment{Partition: id, Committed: pos.offset, DeclaredEnd: p.redoTo, Meta: pos.meta, New: pos.none, Moved: pos.moved})
	}
	rewind, err := c.opts.OnAssign(given)
	if err != nil {
		return nil, fmt.Errorf("take over partitions %v of %s: %w", ids, c.opts.Topic, err)
	}
	for _, p := range parts {
		if from, ok := rewind[p.id]; ok && from < p.next {
			p.next = max(from, logs[p.id].first)
			p.next = min(p.next, p.replayTo)
		}
	}
	return parts, nil
}

// endGeneration stops reading and, if the member is still in, acknowledges what is done.
func (c *Consumer) endGeneration(ctx context.Context) error {
	g := c.gen
	if g == nil {
		return nil
	}
	c.stopRead()
	c.reading.Wait()
	parts := *c.parts.Load()
	var err error
	if !(g.ended() && g.lost) {
		_, err = c.acknowledge(ctx)
	}
	g.stop()
	g.beaten.Wait()
	if g.lost {
		c.member.forget()
	}
	c.done, c.doneIn = map[int32]position{}, g.id
	ids := make([]int32, 0, len(parts))
	for _, p := range parts {
		ids = append(ids, p.id)
		if p.dirty {
			c.done[p.id] = p.finished
		}
	}
	c.gen, c.held = nil, Batch{}
	c.parts.Store(&[]*part{})
	c.opts.OnRevoke(ids)
	if err != nil {
		// The batch is done; only the note of it is missing. Its next owner repeats it.
		c.log.Warn("kafka: the last batch could not be acknowledged before leaving the generation", "group", c.opts.Group, "error", err)
	}
	return nil
}

// orDone prefers the context's error: a request that ran into ctx's deadline reports an I/O
// timeout of its own.
func orDone(ctx context.Context, err error) error {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		return context.DeadlineExceeded
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
