package detect

import "math"

// manyPoints is from when on a group keeps a cursor, so that the next event costs the
// same however many lie in the window.
const manyPoints = 32

// cursor is a meter over the points from lo to before hi of a group. It has seen all points from base on.
type cursor struct {
	meter        meter
	base, lo, hi int
	before       int64 // time of the point before base
}

// moving is a cursor at work. Those of a rule take turns: what a group keeps is small.
type moving struct {
	*cursor
	head, tail reader // at hi and at lo
	point      point  // that a meter takes
}

// on says whose turn it is, and what the points are; it comes before everything else, and again
// when they changed.
func (c *moving) on(of *cursor, s *series) *moving {
	c.cursor, c.head = of, s.reader()
	c.tail = c.head
	return c
}

// seek makes the cursor stand on the window that ends before hi and begins behind low.
func (c *moving) seek(hi int, low int64) {
	c.back(hi)
	if c.hi == 0 || c.head.time(c.hi-1) <= low || c.base > 0 && c.before > low {
		c.start(c.head.first(low + 1))
		if c.base > 0 {
			c.before = c.head.time(c.base - 1)
		}
	}
	for ; c.hi < hi; c.hi++ {
		c.point = c.head.point(c.hi)
		c.meter.add(&c.point, newest)
	}
	for ; c.lo < c.hi && c.tail.time(c.lo) <= low; c.lo++ {
		c.leave(c.lo)
	}
	for ; c.lo > c.base && c.tail.time(c.lo-1) > low; c.lo-- {
		c.point = c.tail.point(c.lo - 1)
		c.meter.add(&c.point, oldest)
	}
}

// leave gives up the oldest point.
func (c *moving) leave(i int) {
	c.point = c.tail.point(i)
	c.meter.drop(&c.point, oldest)
}

func (c *cursor) start(at int) {
	c.meter.reset()
	c.base, c.lo, c.hi = at, at, at
}

// back gives up what lies behind hi, before the points there change.
func (c *moving) back(hi int) {
	for c.hi > hi {
		c.hi--
		c.point = c.head.point(c.hi)
		if c.lo > c.hi || !c.meter.drop(&c.point, newest) {
			c.start(0) // seek begins where the window does
		}
	}
}

// shift follows the loss of the n oldest points, before they go.
func (c *moving) shift(n int) {
	if c.hi < n {
		c.start(n)
	}
	for ; c.lo < n; c.lo++ {
		c.leave(c.lo)
	}
	c.meter.forget(c.tail.time(n - 1))
	c.base, c.lo, c.hi = max(0, c.base-n), c.lo-n, c.hi-n
}

// cursor is the group's own, or where it has few points one that begins anew.
func (w *Windows) cursor(g *window, s *series, points int) *moving {
	c := g.cursor()
	switch {
	case c != nil:
	case points < w.opts.many:
		c = &g.rule.scratch
		c.start(0)
	default:
		c = &cursor{meter: newMeter(&g.rule.Detector)}
		g.activate().cursor = c
	}
	return g.rule.moving.on(c, s)
}

// judge looks at every event with time in [from, until) and fires the buckets of those
// that complete the rule. All events of one millisecond have one window.
func (w *Windows) judge(g *window, from, until int64, in batch) {
	s := g.series()
	n := s.len()
	if n < g.rule.least {
		return
	}
	span := max(1, g.rule.window)
	r, i := s.reader(), s.first(from)
	if i == n {
		return
	}
	var c *moving
	var ahead forward
	var low reader
	lo := 0
	kind := g.rule.Detector.Kind
	switch kind {
	case DetectScore:
	case DetectAbsence:
		ahead = forward{reader: r, n: n}
	case DetectCount:
		low, lo = r, s.first(r.time(i)-span+1)
	default:
		c = w.cursor(g, &s, n)
	}
	for i < n {
		at := r.time(i)
		if at >= until {
			return
		}
		end := i + 1
		for end < n && r.time(end) == at {
			end++
		}
		if !g.countsAny(&r, i, end) {
			i = end
			continue
		}
		var value float64
		ok := true
		switch kind {
		case DetectScore:
			value = highest(&r, i, end) // the matcher compared each
		case DetectAbsence:
			value, ok = float64(g.rule.window)/1000, ahead.silent(g, end, at)
		case DetectCount: // each point is one
			for low.time(lo) <= at-span {
				lo++
			}
			value, ok = float64(end-lo), end-lo >= g.rule.least
		default:
			c.seek(end, at-span)
			value, ok = c.meter.holds(at - span)
		}
		if ok {
			w.fire(g, at, value, in)
			w.feed(g, &r, i, end, in)
		}
		i = end
	}
}

func highest(r *reader, i, end int) float64 {
	x := 0.0
	for ; i < end; i++ {
		p := r.point(i)
		x = max(x, math.Float64frombits(p.value))
	}
	return x
}

func (g *window) countsAny(r *reader, i, end int) bool {
	for ; i < end; i++ {
		if p := r.point(i); g.counts(&p) {
			return true
		}
	}
	return false
}

// forward finds the next expected event of an absence; it moves with the judgement.
type forward struct {
	reader
	n, i int
}

// silent reports whether nothing expected follows the points before end, whose last are at a time.
func (f *forward) silent(g *window, end int, at int64) bool {
	if !g.rule.Detector.After {
		return end == f.n || f.time(end) > at+g.rule.window
	}
	f.i = max(f.i, f.first(at))
	for ; f.i < f.n; f.i++ {
		if p := f.point(f.i); !g.counts(&p) {
			break
		}
	}
	return f.i == f.n || f.time(f.i) > at+g.rule.window
}

// decide judges the events that nothing can change any more, of a settled rule.
func (w *Windows) decide(g *window) {
	until := w.now - g.rule.plan.lag
	m := g.activate()
	from := m.decided
	if until <= from {
		return
	}
	m.decided = until
	w.judge(g, from, until, batch{})
	w.touch(g)
}

// fire marks the bucket of a completion.
func (w *Windows) fire(g *window, at int64, value float64, in batch) {
	b := w.bucket(g, at)
	if b == nil {
		return
	}
	if !b.fired {
		w.name(g)
		b.fired, b.completed, b.changed = true, at, true
		b.firedAt = in.firedAt(at)
		if b.firedAt == 0 {
			b.firedAt = at + g.rule.plan.lag + w.lateness
		}
	}
	b.value = max(b.value, value)
	if at <= b.completed { // what came late may have completed it before, or begun it
		b.completed, b.first = at, g.began(at)
	}
	w.touch(g)
}

// began is when the first matching event was in the window of one that completes the rule.
func (g *window) began(at int64) int64 {
	if g.rule.Detector.Kind == DetectAbsence {
		return at
	}
	s := g.series()
	r := s.reader()
	for i := s.first(at - max(1, g.rule.window) + 1); ; i++ {
		if p := r.point(i); g.counts(&p) {
			return p.time()
		}
	}
}

// firedAt is the append time of the completing event where it is in the batch, or else of
// what came last.
func (b *batch) firedAt(at int64) int64 {
	last := int64(0)
	for i := range b.points {
		e := &b.events[b.points[i].Event]
		if e.Time == at {
			return e.Append
		}
		last = max(last, e.Append)
	}
	return last
}

// feed hands completions to the rules that take steps from this one.
func (w *Windows) feed(g *window, r *reader, i, end int, in batch) {
	if len(g.rule.plan.feeds) == 0 {
		return
	}
	at := r.time(i)
	var out batch
	for ; i < end; i++ {
		p := r.point(i)
		if n := len(out.events); !g.counts(&p) || n > 0 && out.events[n-1].Identity == p.id {
			continue
		}
		out.points = append(out.points, Point{Event: uint32(len(out.events))})
		out.events = append(out.events, SignalEvent{Time: p.time(), Append: in.firedAt(p.time()), Identity: p.id})
	}
	shown := g.shown(at-max(g.rule.window, 1)+1, at+g.rule.pane)
	shown = shown[max(0, len(shown)-maxEvidence):]
	hand := w.hand
	w.hand = origin{packed: w.name(g)}
	for _, f := range g.rule.plan.feeds {
		rule := w.rules[f.rule.Hash]
		if rule == nil {
			continue // both left the set, and it holds nothing any more
		}
		key := windowKey{g.group, rule.id}
		to, ok := w.window(rule, key, len(out.points))
		if !ok {
			continue
		}
		for j := range out.points {
			out.points[j].Step = f.step
		}
		for i := range shown {
			if w.takesEvidence(&to) {
				w.addShown(&to, shown[i].at, shown[i].id(), func() string { return shown[i].packed })
			}
		}
		before := w.stats
		w.observe(&to, out)
		// They were counted as what they come from.
		w.stats.Points, w.stats.Duplicates, w.stats.Expired = before.Points, before.Duplicates, before.Expired
	}
	w.hand = hand
}
