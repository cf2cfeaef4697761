package kafka

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// truncatedAfter is how long a declared batch may wait for records that the log should have.
const truncatedAfter = 30 * time.Second

// part is one assigned partition. Poll's goroutine owns all but the atomic and the fetcher.
type part struct {
	id       int32
	fetcher  *fetcher
	next     int64        // first offset not handed out
	durable  atomic.Int64 // everything before it is done
	dirty    bool         // durable is ahead of the commit
	finished position     // the last range done

	replayTo int64 // below it, records are replay
	redoTo   int64 // end of the batch found declared, or -1
	redo     *Range
	stuck    time.Time // since when redo has waited at the log's end

	cur  chunk // what is left of the chunk in hand: [next, cur.next)
	have bool
	gap  bool // the next range begins after a jump
}

// builder collects the ranges of one batch.
type builder struct {
	ranges            []Range
	rows, bytes       int
	maxRows, maxBytes int
	closed            map[int32]bool // partitions whose range must not grow
	only              []int32        // if any: partitions that it takes from
}

// skips reports whether b takes nothing from p, or nothing more.
func (b *builder) skips(p *part) bool {
	return b.closed[p.id] || b.only != nil && !slices.Contains(b.only, p.id)
}

func (b *builder) full() bool { return b.rows >= b.maxRows || b.bytes >= b.maxBytes }

// rangeOf is the range of p that is being built.
func (c *Consumer) rangeOf(b *builder, p *part, replay bool) *Range {
	for i := range b.ranges {
		if b.ranges[i].Partition == p.id {
			return &b.ranges[i]
		}
	}
	b.ranges = append(b.ranges, c.newRange(p))
	r := &b.ranges[len(b.ranges)-1]
	r.Replay = replay
	return r
}

func (c *Consumer) newRange(p *part) Range {
	return Range{Topic: c.opts.Topic, Partition: p.id, Begin: p.next, End: p.next, from: &c.readers, held: &held{}}
}

// behind is how many offsets of p the log has that were not handed out, as far as is known.
func (p *part) behind() int64 { return max(0, p.fetcher.highWater.Load()-p.next) }

// furthest lists the partitions that the next batch takes from, or nil for all: see MaxRanges.
// While one replays or has a batch to redo, all take part.
func (c *Consumer) furthest() (ids []int32) {
	parts := slices.Clone(*c.parts.Load())
	behind := int64(0)
	for _, p := range parts {
		if p.next < p.replayTo || p.redoTo >= 0 {
			return nil
		}
		behind += p.behind()
	}
	if c.opts.MaxRanges <= 0 || len(parts) <= c.opts.MaxRanges || behind < int64(c.opts.MaxRows) {
		return nil
	}
	slices.SortStableFunc(parts, func(a, b *part) int { return cmp.Compare(b.behind(), a.behind()) })
	for _, p := range parts[:c.opts.MaxRanges] {
		ids = append(ids, p.id)
	}
	return ids
}

// more reports whether b is worth waiting for: the log has records for it that are on their way.
func (c *Consumer) more(b *builder) bool {
	for _, p := range *c.parts.Load() {
		if !b.skips(p) && p.behind() > 0 {
			return true
		}
	}
	return false
}

// fill moves what the fetchers have into b. As long as any partition replays, only replay
// is handed out: the owner rebuilds its state before anything live.
func (c *Consumer) fill(b *builder) error {
	parts := *c.parts.Load()
	replaying := false
	for _, p := range parts {
		replaying = replaying || p.next < p.replayTo
	}
	for i := range parts {
		p := parts[(c.turn+i)%len(parts)]
		for !b.full() && !b.skips(p) {
			if replaying && p.next >= p.replayTo {
				break
			}
			if ok, err := p.load(); err != nil {
				return err
			} else if !ok {
				if !replaying {
					c.giveUpRedo(p, b)
				}
				break
			}
			switch {
			case p.next < p.replayTo:
				c.move(p, c.rangeOf(b, p, true), b, p.replayTo)
			case p.redoTo >= 0:
				c.fillRedo(p, b)
			default:
				c.move(p, c.rangeOf(b, p, false), b, math.MaxInt64)
			}
		}
	}
	if len(parts) > 0 {
		c.turn = (c.turn + 1) % len(parts)
	}
	return nil
}

// load takes the next chunk in hand, if there is one.
func (p *part) load() (bool, error) {
	if p.have {
		return true, nil
	}
	select {
	case p.cur = <-p.fetcher.out:
	default:
		return false, nil
	}
	c := &p.cur
	switch {
	case c.err != nil:
		return false, c.err
	case c.reset: // the log is another one now: nothing that was declared in it can be redone
		p.next, p.replayTo, p.redoTo, p.redo, p.gap = c.next, c.next, -1, nil, true
		return false, nil
	}
	p.have = c.next > p.next
	return p.have, nil
}

// move hands out what is in hand, up to offset limit and the batch's size.
func (c *Consumer) move(p *part, r *Range, b *builder, limit int64) {
	end := min(p.cur.next, limit)
	for at := p.next; len(p.cur.batches) > 0; p.cur.batches = p.cur.batches[1:] {
		s := &p.cur.batches[0]
		if s.first >= limit {
			break
		}
		from, to := max(at, s.first), min(s.end, limit)
		switch {
		case to <= from: // handed out before
			continue
		case s.control():
			c.stats.Control.Add(1)
			continue
		case b != nil && b.full():
			to = from
		case b != nil:
			to = min(to, from+b.room(s))
		}
		if at = to; to > from {
			bytes := int(int64(s.weight) * (to - from) / (s.end - s.first))
			r.stored, r.bytes = append(r.stored, *s), r.bytes+bytes
			r.stored[len(r.stored)-1].from = from
			if b != nil {
				b.rows, b.bytes = b.rows+int(to-from), b.bytes+bytes
			}
		}
		if to < s.end {
			end = to
			break
		}
	}
	if p.cur.lost {
		r.Lost += end - p.next
		p.gap = true
	}
	r.Gap, p.gap = r.Gap || p.gap, false
	r.HighWatermark = p.cur.highWater
	r.End, p.next = end, end
	if p.have = p.next < p.cur.next; !p.have { // what shares it was committed before, or is this range
		r.held.bodies = append(r.held.bodies, p.cur.body)
		p.cur = chunk{}
	}
}

// room is how many offsets of a stored batch there is room for.
func (b *builder) room(s *storedBatch) int64 {
	each := max(1, int64(s.weight)/(s.end-s.first))
	return min(int64(b.maxRows-b.rows), int64(b.maxBytes-b.bytes)/each+1)
}

// fillRedo rebuilds a batch that was found declared, whole and with the same borders,
// whatever its size: its first declaration had the limits.
func (c *Consumer) fillRedo(p *part, b *builder) {
	if p.redo == nil {
		r := c.newRange(p)
		r.Redo, p.redo = true, &r
	}
	c.move(p, p.redo, nil, p.redoTo)
	if p.next == p.redoTo {
		b.add(p)
	}
}

// add puts a finished redo into the batch.
func (b *builder) add(p *part) {
	b.ranges = append(b.ranges, *p.redo)
	b.rows, b.bytes = b.rows+p.redo.Len(), b.bytes+p.redo.bytes
	if b.closed == nil {
		b.closed = map[int32]bool{}
	}
	b.closed[p.id] = true
	p.redo, p.redoTo = nil, -1
}

// giveUpRedo ends the wait for records that were declared and are not in the log: an
// unclean leader election lost them. A follower that became leader may lag for a moment, so
// this takes a while.
func (c *Consumer) giveUpRedo(p *part, b *builder) {
	if p.redoTo < 0 {
		return
	}
	if e := p.fetcher.end.Load(); e == nil || e.Offset != p.next {
		p.stuck = time.Time{}
		return
	}
	if p.stuck.IsZero() {
		p.stuck = time.Now()
	}
	if time.Since(p.stuck) < truncatedAfter {
		return
	}
	lost := p.redoTo - p.next
	c.stats.Lost.Add(lost)
	c.log.Error("kafka: a declared batch reaches beyond the log's end; the log was truncated", "topic", c.opts.Topic,
		"partition", p.id, "end", p.next, "declared", p.redoTo, "lost", lost)
	if p.redo == nil || p.redo.Len() == 0 {
		p.redo, p.redoTo, p.gap = nil, -1, true
		return
	}
	p.redo.Gap, p.redo.Lost = true, p.redo.Lost+lost
	b.add(p)
}
