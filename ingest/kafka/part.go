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
func (b *builder) rangeOf(p *part, topic string, replay bool) *Range {
	for i := range b.ranges {
		if b.ranges[i].Partition == p.id {
			return &b.ranges[i]
		}
	}
	b.ranges = append(b.ranges, Range{Topic: topic, Partition: p.id, Begin: p.next, End: p.next, Replay: replay})
	return &b.ranges[len(b.ranges)-1]
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
				p.move(b.rangeOf(p, c.opts.Topic, true), b, p.replayTo)
			case p.redoTo >= 0:
				c.fillRedo(p, b)
			default:
				p.move(b.rangeOf(p, c.opts.Topic, false), b, math.MaxInt64)
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
func (p *part) move(r *Range, b *builder, limit int64) {
	records, end := p.cur.records, min(p.cur.next, limit)
	n := 0
	for n < len(records) && records[n].Offset < limit {
		if b != nil && (b.rows >= b.maxRows || b.bytes >= b.maxBytes) {
			end = records[n].Offset // what lies between is no data
			break
		}
		if b != nil {
			b.rows++
			b.bytes += len(records[n].Key) + len(records[n].Value) + 64
		}
		n++
	}
	if r.Records == nil {
		r.Records = records[:n:n] // shares the chunk's memory, which is not used again
	} else {
		if cap(r.Records)-len(r.Records) < n && b != nil { // room for what is on its way, instead of doubling
			share := int64(b.maxRows / max(1, len(b.only), len(b.ranges)))
			r.Records = slices.Grow(r.Records, n+int(min(p.behind(), share)))
		}
		r.Records = append(r.Records, records[:n]...)
	}
	p.cur.records = records[n:]
	for len(p.cur.bad) > 0 && p.cur.bad[0].Begin < end {
		u := p.cur.bad[0]
		if u.End > end {
			p.cur.bad[0].Begin, u.End = end, end
		} else {
			p.cur.bad = p.cur.bad[1:]
		}
		r.Unreadable = append(r.Unreadable, u)
	}
	if p.cur.lost {
		r.Lost += end - p.next
		p.gap = true
	}
	r.Gap, p.gap = r.Gap || p.gap, false
	r.HighWatermark = p.cur.highWater
	r.End, p.next = end, end
	p.have = p.next < p.cur.next
}

// fillRedo rebuilds a batch that was found declared, whole and with the same borders,
// whatever its size: its first declaration had the limits.
func (c *Consumer) fillRedo(p *part, b *builder) {
	if p.redo == nil {
		p.redo = &Range{Topic: c.opts.Topic, Partition: p.id, Begin: p.next, End: p.next, Redo: true}
	}
	p.move(p.redo, nil, p.redoTo)
	if p.next == p.redoTo {
		b.add(p)
	}
}

// add puts a finished redo into the batch.
func (b *builder) add(p *part) {
	b.ranges = append(b.ranges, *p.redo)
	b.rows += len(p.redo.Records)
	for _, r := range p.redo.Records {
		b.bytes += len(r.Key) + len(r.Value) + 64
	}
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
	if p.redo == nil || len(p.redo.Records) == 0 {
		p.redo, p.redoTo, p.gap = nil, -1, true
		return
	}
	p.redo.Gap, p.redo.Lost = true, p.redo.Lost+lost
	b.add(p)
}
