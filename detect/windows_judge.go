package detect

import "math"

// manyPoints is from when on a group keeps a cursor, so that the next event costs the
// same however many lie in the window.
const manyPoints = 32

// cursor is a meter over points[lo:hi] of a group. It has seen all points from base on.
type cursor struct {
	meter        meter
	base, lo, hi int
}

// seek makes the cursor stand on the window that ends with points[:hi] and begins behind low.
func (c *cursor) seek(points []point, hi int, low int64) {
	c.back(points, hi)
	if c.hi == 0 || points[c.hi-1].time() <= low || c.base > 0 && points[c.base-1].time() > low {
		c.start(firstFrom(points, low+1))
	}
	for ; c.hi < hi; c.hi++ {
		c.meter.add(&points[c.hi], newest)
	}
	for ; c.lo < c.hi && points[c.lo].time() <= low; c.lo++ {
		c.meter.drop(&points[c.lo], oldest)
	}
	for ; c.lo > c.base && points[c.lo-1].time() > low; c.lo-- {
		c.meter.add(&points[c.lo-1], oldest)
	}
}

func (c *cursor) start(at int) {
	c.meter.reset()
	c.base, c.lo, c.hi = at, at, at
}

// back gives up what lies behind hi, before the points there change.
func (c *cursor) back(points []point, hi int) {
	for c.hi > hi {
		c.hi--
		if c.lo > c.hi || !c.meter.drop(&points[c.hi], newest) {
			c.start(0) // seek begins where the window does
		}
	}
}

// shift follows the loss of the n oldest points.
func (c *cursor) shift(points []point, n int) {
	if c.hi < n {
		c.start(n)
	}
	for ; c.lo < n; c.lo++ {
		c.meter.drop(&points[c.lo], oldest)
	}
	c.meter.forget(points[n-1].time())
	c.base, c.lo, c.hi = max(0, c.base-n), c.lo-n, c.hi-n
}

func (w *Windows) cursor(g *window) *cursor {
	if g.more != nil && g.more.cursor != nil {
		return g.more.cursor
	}
	if len(g.points) < w.opts.many {
		g.rule.scratch.start(0)
		return &g.rule.scratch
	}
	m := g.extra()
	m.cursor = &cursor{meter: newMeter(&g.rule.Detector)}
	return m.cursor
}

// judge looks at every event with time in [from, until) and fires the buckets of those
// that complete the rule. All events of one millisecond have one window.
func (w *Windows) judge(g *window, from, until int64, in batch) {
	c := w.cursor(g)
	ahead := forward{g: g, i: -1}
	for i := firstFrom(g.points, from); i < len(g.points); {
		at := g.points[i].time()
		if at >= until {
			return
		}
		end := i + 1
		for end < len(g.points) && g.points[end].time() == at {
			end++
		}
		if !g.countsAny(i, end) {
			i = end
			continue
		}
		var value float64
		ok := true
		switch {
		case g.rule.Detector.Kind == DetectAbsence:
			value, ok = float64(g.rule.window)/1000, ahead.silent(end, at)
		case g.rule.Detector.Kind == DetectScore:
			value = highest(g.points[i:end]) // the matcher compared each
		case g.rule.window == 0:
			c.seek(g.points, end, at-1)
			value, ok = c.meter.holds(at - 1)
		default:
			c.seek(g.points, end, at-g.rule.window)
			value, ok = c.meter.holds(at - g.rule.window)
		}
		if ok {
			w.fire(g, at, value, in)
			w.feed(g, i, end, in)
		}
		i = end
	}
}

func highest(points []point) float64 {
	x := 0.0
	for i := range points {
		x = max(x, math.Float64frombits(points[i].value))
	}
	return x
}

func (g *window) countsAny(i, end int) bool {
	for ; i < end; i++ {
		if g.counts(&g.points[i]) {
			return true
		}
	}
	return false
}

// forward finds the next expected event of an absence; it moves with the judgement.
type forward struct {
	g *window
	i int
}

// silent reports whether nothing expected follows points[:end], whose last are at a time.
func (f *forward) silent(end int, at int64) bool {
	g := f.g
	if !g.rule.Detector.After {
		return end == len(g.points) || g.points[end].time() > at+g.rule.window
	}
	f.i = max(f.i, firstFrom(g.points[:end], at))
	for f.i < len(g.points) && g.counts(&g.points[f.i]) {
		f.i++
	}
	return f.i == len(g.points) || g.points[f.i].time() > at+g.rule.window
}

// decide judges the events that nothing can change any more, of a settled rule.
func (w *Windows) decide(g *window) {
	until := w.watermark - g.rule.plan.lag
	m := g.extra()
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
		b.fired, b.first, b.changed = true, at, true
		b.firedAt = in.firedAt(at)
		if b.firedAt == 0 {
			b.firedAt = at + g.rule.plan.lag + w.lateness
		}
	}
	b.value = max(b.value, value)
	b.first = min(b.first, at)
	w.touch(g)
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
func (w *Windows) feed(g *window, i, end int, in batch) {
	if len(g.rule.plan.feeds) == 0 {
		return
	}
	at := g.points[i].time()
	var out batch
	for ; i < end; i++ {
		p := &g.points[i]
		if n := len(out.events); !g.counts(p) || n > 0 && out.events[n-1].Identity == p.id {
			continue
		}
		out.points = append(out.points, Point{Event: uint32(len(out.events))})
		out.events = append(out.events, SignalEvent{Time: p.time(), Append: in.firedAt(p.time()), Identity: p.id})
	}
	evidence := g.evidence(at-g.rule.window+1, at+g.rule.pane)
	evidence = evidence[max(0, len(evidence)-maxEvidence):]
	hand := w.hand
	w.hand = origin{packed: w.name(g)}
	for _, f := range g.rule.plan.feeds {
		rule := w.rules[f.rule.Hash]
		if rule == nil {
			continue // both left the set, and it holds nothing any more
		}
		key := windowKey{g.group, rule.id}
		to := w.window(rule, key, len(out.points))
		if to == nil {
			continue
		}
		for j := range out.points {
			out.points[j].Step = f.step
		}
		for _, e := range evidence {
			if w.takesEvidence(to) {
				w.addEvidence(to, e)
			}
		}
		before := w.stats
		w.observe(to, out)
		// They were counted as what they come from.
		w.stats.Points, w.stats.Duplicates, w.stats.Expired = before.Points, before.Duplicates, before.Expired
	}
	w.hand = hand
}
