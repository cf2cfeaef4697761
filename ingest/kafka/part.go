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

	left    []Record     // of the stored batch that was opened last, in order
	cutInto []Record     // memory of left
	bad     []Unreadable // that were opened and not handed out yet
	block   []byte       // what the last stored batches were unpacked to
	ratio   float64      // of unpacking the last one
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
	b.ranges = append(b.ranges, Range{Topic: c.opts.Topic, Partition: p.id, Begin: p.next, End: p.next, Replay: replay, memory: c.newMemory()})
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
		p.left, p.bad = nil, nil
		return false, nil
	}
	p.have = c.next > p.next
	return p.have, nil
}

// move hands out what is in hand, up to offset limit and the batch's size.
func (c *Consumer) move(p *part, r *Range, b *builder, limit int64) {
	m, end := r.memory, min(p.cur.next, limit)
	for {
		for len(p.left) == 0 && len(p.cur.batches) > 0 && p.cur.batches[0].first < limit {
			if b != nil && b.full() {
				end = max(p.next, p.cur.batches[0].first)
				break
			}
			c.open(p, r)
		}
		n := 0
		for n < len(p.left) && p.left[n].Offset < limit && (b == nil || !b.full()) {
			if b != nil {
				b.rows++
				b.bytes += p.left[n].held()
			}
			n++
		}
		if n == 0 {
			break
		}
		if cap(m.records)-len(m.records) < n && b != nil { // room for what is on its way, instead of doubling
			share := int64(b.maxRows / max(1, len(b.only), len(b.ranges)))
			m.records = slices.Grow(m.records, n+int(min(p.behind(), share)))
		}
		m.records, p.left = append(m.records, p.left[:n]...), p.left[n:]
	}
	if len(p.left) > 0 && p.left[0].Offset < limit {
		end = p.left[0].Offset // what lies between is no data
	}
	r.Records = m.records
	for len(p.bad) > 0 && p.bad[0].Begin < end {
		u := p.bad[0]
		if u.End > end {
			p.bad[0].Begin, u.End = end, end
		} else {
			p.bad = p.bad[1:]
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
	if p.have = p.next < p.cur.next; !p.have {
		c.pool.put(p.cur.body)
		p.cur = chunk{}
	}
}

// open unpacks the next stored batch of the chunk in hand. That happens here and not in the
// fetcher, so that what is read ahead is in memory as it is stored.
func (c *Consumer) open(p *part, r *Range) {
	s := p.cur.batches[0]
	p.cur.batches = p.cur.batches[1:]
	if s.end <= p.next {
		return
	}
	if s.control() {
		c.stats.Control.Add(1)
		return
	}
	began := time.Now()
	defer func() { c.stats.unpacking.Add(int64(time.Since(began))) }()
	m := r.memory
	clear(p.cutInto) // or records further on than the next batch reaches would hold their blocks
	block, blocks, ratio := p.block, len(m.blocks), p.ratio
	raw, err := c.unpack(p, &s, m)
	if err == nil {
		p.cutInto, err = s.cut(p.cutInto[:0], raw, c.opts.Topic, p.id, p.next)
		p.left = p.cutInto
	}
	if err != nil {
		p.left = nil
		c.stats.Unreadable.Add(1)
		p.bad = append(p.bad, Unreadable{Begin: max(s.first, p.next), End: s.end, Bytes: s.size, Append: s.time(0), Reason: err.Error()})
		c.log.Error("kafka: a stored batch cannot be read; skipping it", "topic", c.opts.Topic, "partition", p.id,
			"first", s.first, "end", s.end, "bytes", s.size, "error", err)
	}
	if len(p.left) == 0 { // nobody reads what it was unpacked to, and nothing counts it
		if len(m.blocks) > blocks {
			c.pool.put(p.block)
			m.blocks = m.blocks[:blocks]
		}
		p.block, p.ratio = block, ratio
	}
	c.stats.Records.Add(int64(len(p.left)))
}

// unpack puts a stored batch behind the one before it in the partition's block. A block goes
// with the range that finds it full: those that share it were committed before, or are this one.
// Full is what has no room for the batch as it is, not as it was guessed, so that no more room
// is lost than batches take.
func (c *Consumer) unpack(p *part, s *storedBatch, m *memory) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	usual := blockSize << min(len(m.blocks), 2)
	into, fresh := p.block, false
	if need := c.unpacker.size(s.codec(), s.records, p.ratio); cap(into)-len(into) < need {
		into, fresh = c.pool.get(max(need, usual)), true
	}
	from := len(into)
	out, err := c.unpacker.unpack(into, s.codec(), s.records)
	moved := cap(out) != cap(into)
	if fresh && moved { // by an error, too
		c.pool.put(into)
	}
	if err != nil {
		return nil, err
	}
	raw := out[from:]
	switch fits := len(raw) <= cap(p.block)-len(p.block); {
	case !fresh && !moved:
		p.block = out
	case fits:
		p.block = append(p.block, raw...)
		c.pool.put(out)
	default:
		m.blocks = append(m.blocks, p.block)
		if p.block = out; from > 0 { // earlier records still lie in the old block
			p.block = append(c.pool.get(max(len(raw), usual)), raw...)
			c.pool.put(out)
		}
	}
	p.ratio = float64(len(raw)) / float64(max(len(s.records), 1))
	return p.block[len(p.block)-len(raw):], nil
}

// fillRedo rebuilds a batch that was found declared, whole and with the same borders,
// whatever its size: its first declaration had the limits.
func (c *Consumer) fillRedo(p *part, b *builder) {
	if p.redo == nil {
		p.redo = &Range{Topic: c.opts.Topic, Partition: p.id, Begin: p.next, End: p.next, Redo: true, memory: c.newMemory()}
	}
	c.move(p, p.redo, nil, p.redoTo)
	if p.next == p.redoTo {
		b.add(p)
	}
}

// add puts a finished redo into the batch.
func (b *builder) add(p *part) {
	b.ranges = append(b.ranges, *p.redo)
	b.rows += len(p.redo.Records)
	for i := range p.redo.Records {
		b.bytes += p.redo.Records[i].held()
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
