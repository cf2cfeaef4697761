package detect

import (
	"slices"
	"strconv"
	"time"
)

// stored is one rule's state for one group. Most groups stay small and never fire: what they do
// not need is elsewhere. There is no pointer in it, since the collector would have to follow those
// of a million groups.
type stored struct {
	group  [16]byte
	queued int64  // deadline in the queue
	last   cell   // the newest points, of most groups all of them
	rule   uint32 // its id; 0: this is none
	more   uint32 // place in Windows.more, from one; of what is none the next that is none
}

// window is the state of a group at hand.
type window struct {
	*stored
	w    *Windows
	id   uint32
	rule *ruleState
	more *more // nil of most
}

type more struct {
	evidence []shown
	active   *active
}

// active is what groups have that fired, that settle late, or that have many points.
type active struct {
	name    string   // tenant and values, packed
	buckets []bucket // those that fired, and those of which points are gone
	decided int64    // points before it were judged, of settled rules
	older   []cell   // all but the last
	cursor  *cursor
}

func (g *window) extra() *more {
	if g.more == nil {
		g.more = &more{}
		g.stored.more = g.w.more.put(g.more)
	}
	return g.more
}

// active is nil of the others.
func (g *window) active() *active {
	if g.more == nil {
		return nil
	}
	return g.more.active
}

func (g *window) activate() *active {
	m := g.extra()
	if m.active == nil {
		m.active = &active{decided: unknownTime}
	}
	return m.active
}

func (g *window) buckets() []bucket {
	if b := g.active(); b != nil {
		return b.buckets
	}
	return nil
}

func (g *window) cursor() *cursor {
	if b := g.active(); b != nil {
		return b.cursor
	}
	return nil
}

func (g *window) decided() int64 {
	if b := g.active(); b != nil {
		return b.decided
	}
	return unknownTime
}

// series are the group's points. What changes them ends with keep.
func (g *window) series() series {
	s := series{arena: &g.w.blocks, layout: g.rule.layout, last: g.last}
	if b := g.active(); b != nil {
		s.older = b.older
	}
	return s
}

func (g *window) keep(s *series) {
	g.last = s.last
	if b := g.active(); b != nil {
		b.older = s.older
	} else if s.older != nil {
		g.activate().older = s.older
	}
}

// bucket is an alert, or the count of one that may come where it is not among what is gone.
type bucket struct {
	start   int64
	count   uint64
	last    int64
	firedAt int64

	completed int64 // event time of the first completion, when fired
	first     int64 // and when the first event of its window was
	value     float64
	fired     bool
	told      uint64 // count of the last update written
	changed   bool
	shown     []shown // by the last update
}

func (g *window) key() windowKey { return windowKey{g.group, g.rule.id} }

// batch are points of one rule and group that come together, and the events that they refer to.
type batch struct {
	events []SignalEvent
	points []Point
}

// observe takes points of one batch and judges every event whose window they are in.
func (w *Windows) observe(g *window, points batch) {
	low, high, ok := w.enter(g, w.inOrder(g, points))
	w.touch(g)
	if !ok || g.rule.plan.settled {
		return
	}
	w.judge(g, low, high+max(1, g.rule.window), points)
}

// inOrder are the points of a batch as the group keeps them, without those that have expired.
func (w *Windows) inOrder(g *window, points batch) []point {
	// A restart rebuilds what is not settled; only what lies before that is of no use.
	gone := w.marks[g.rule.plan.depth] - g.rule.plan.hold
	out, sorted := w.entering[:0], true
	for i := range points.points {
		x := &points.points[i]
		p := &points.events[x.Event]
		at := p.Time - mod(p.Time, g.rule.pane)
		if at <= gone || int(x.Step) >= len(g.rule.streams) {
			w.stats.Expired++
			continue
		}
		q := point{stamp: at<<8 | int64(x.Step), id: p.Identity, value: x.Value}
		if g.rule.layout == narrow {
			q.value &= 1
		}
		sorted = sorted && (len(out) == 0 || comparePoints(&out[len(out)-1], &q) <= 0)
		out = append(out, q)
	}
	if w.entering = out; !sorted {
		slices.SortFunc(out, func(a, b point) int { return comparePoints(&a, &b) })
	}
	return out
}

// enter takes what is new of points in order, and says from when to when that is.
func (w *Windows) enter(g *window, points []point) (low, high int64, ok bool) {
	s := g.series()
	end := spot{len(s.older), int(s.last.n)}
	var newest point
	behind := end.i == 0 // all that follow come behind the newest
	if !behind {
		newest = s.newest()
	}
	added, spots := points[:0], w.spots[:0]
	var from spot
	for i := range points {
		p, at := &points[i], end
		there := len(added) > 0 && *p == added[len(added)-1]
		if behind = behind || comparePoints(&newest, p) < 0; !behind && !there {
			at, there = s.find(p, from)
			from = at
		}
		if there {
			w.stats.Duplicates++
			continue
		}
		if !g.rule.inPoints.has(w.held+len(added), g.rule.points+len(added)) {
			w.shed(g.rule, 1)
			continue
		}
		if b := g.bucketAt(p.time()); b != nil && g.counts(p) && !g.counted(&s, at, added, p) {
			b.count++
			b.last = max(b.last, p.time())
			b.changed = true
		}
		added, spots = append(added, *p), append(spots, at)
	}
	if w.spots = spots; len(added) == 0 {
		return 0, 0, false
	}
	if c := g.cursor(); c != nil && (spots[0] != end || newest.time() == added[0].time()) {
		g.rule.moving.on(c, &s).back(s.first(added[0].time()))
	}
	s.put(added, spots)
	g.keep(&s)
	w.stats.Points += uint64(len(added))
	w.hold(g, len(added))
	low, high = added[0].time(), added[len(added)-1].time()
	if over := s.over(w.opts.MaxPoints); over > 0 {
		w.stats.Overflow += uint64(over)
		w.countFirst(g, over)
		w.forget(g, over)
	}
	return low, high, true
}

// counts reports whether the point's event is one of the matching ones.
func (g *window) counts(p *point) bool { return !g.rule.streams[p.stream()].silent }

// counted reports whether another point of the same event counts: one of the series, about a
// spot, or one that is on its way into it.
func (g *window) counted(s *series, at spot, added []point, p *point) bool {
	for i := len(added) - 1; i >= 0 && added[i].sameEvent(p); i-- {
		if g.counts(&added[i]) {
			return true
		}
	}
	for before, ok := s.before(at); ok; before, ok = s.before(before) {
		if q := s.at(before); !q.sameEvent(p) {
			break
		} else if g.counts(&q) {
			return true
		}
	}
	for after, ok := s.from(at); ok; after, ok = s.from(spot{after.k, after.i + 1}) {
		if q := s.at(after); !q.sameEvent(p) {
			break
		} else if g.counts(&q) {
			return true
		}
	}
	return false
}

func (r *reader) countedBefore(g *window, i int, p *point) bool {
	for i--; i >= 0; i-- {
		if q := r.point(i); !q.sameEvent(p) {
			return false
		} else if g.counts(&q) {
			return true
		}
	}
	return false
}

// forget drops the n oldest points.
func (w *Windows) forget(g *window, n int) {
	if n == 0 {
		return
	}
	w.hold(g, -n)
	s := g.series()
	if c := g.cursor(); c != nil {
		g.rule.moving.on(c, &s).shift(n)
	}
	s.drop(n)
	g.keep(&s)
	if b := g.active(); b != nil && s.last.n == 0 {
		b.cursor = nil
	}
}

// countFirst counts the n oldest points, which are too many, in those of their buckets that have not settled.
func (w *Windows) countFirst(g *window, n int) {
	s := g.series()
	for r, i := s.reader(), 0; i < n; {
		at := r.time(i)
		w.bucket(g, at)
		i = max(i+1, s.first(at-mod(at, g.rule.bucket)+g.rule.bucket))
	}
}

// bucketAt finds the bucket of a time, where one is held.
func (g *window) bucketAt(at int64) *bucket {
	buckets := g.buckets()
	for i := range buckets {
		if b := &buckets[i]; at >= b.start && at < b.start+g.rule.bucket {
			return b
		}
	}
	return nil
}

// bucket finds or makes the bucket of an event time; nil when it has settled.
func (w *Windows) bucket(g *window, at int64) *bucket {
	start := at - mod(at, g.rule.bucket)
	if start+g.rule.bucket+g.rule.plan.lag <= w.marks[g.rule.plan.depth] {
		return nil
	}
	if b := g.bucketAt(at); b != nil {
		return b
	}
	b := bucket{start: start, last: at, count: w.gone.count(g.rule, g.group, start)}
	s := g.series()
	r, n := s.reader(), s.len()
	for i := s.first(start); i < n; i++ {
		p := r.point(i)
		if p.time() >= start+g.rule.bucket {
			break
		}
		if g.counts(&p) && !r.countedBefore(g, i, &p) {
			b.count++
			b.last = max(b.last, p.time())
		}
	}
	m := g.activate()
	m.buckets = append(m.buckets, b)
	return &m.buckets[len(m.buckets)-1]
}

// expire settles buckets and drops points that no window can reach any more.
func (w *Windows) expire(dst []Alert, g *window) []Alert {
	mark := w.now - g.rule.plan.lag
	// One millisecond more: a copy of an event that happened at the watermark may still come on time.
	s := g.series()
	n := s.first(mark - max(1, g.rule.window))
	w.leave(g, n, mark)
	buckets := g.buckets()
	keep := buckets[:0]
	for i := range buckets {
		b := &buckets[i]
		if b.start+g.rule.bucket > mark {
			keep = append(keep, *b)
			continue
		}
		if b.fired {
			dst = append(dst, w.alert(g, b, true))
		}
	}
	if m := g.active(); m != nil {
		m.buckets = keep
	}
	w.forget(g, n)
	w.dropEvidence(g, mark)
	return dst
}

func (w *Windows) touch(g *window) {
	if n := len(w.touched); n == 0 || w.touched[n-1] != g.id {
		w.touched = append(w.touched, g.id)
	}
}

// updates appends an alert for each bucket that fired for the first time or
// whose count has doubled since it was last told.
func (w *Windows) updates(dst []Alert) []Alert {
	for _, id := range w.touched {
		g := w.at(id)
		buckets := g.buckets()
		for i := range buckets {
			b := &buckets[i]
			if b.fired && b.changed && (b.told == 0 || b.count >= 2*b.told) {
				dst = append(dst, w.alert(&g, b, false))
				b.told = b.count
			}
			b.changed = false
		}
		w.schedule(&g)
	}
	w.touched = w.touched[:0]
	return dst
}

func (w *Windows) alert(g *window, b *bucket, settled bool) Alert {
	r := g.rule
	start := time.UnixMilli(b.start).UTC()
	tenant, values := w.unpackGroup(w.name(g))
	id := w.hasher.GroupHash("", "alert", string(r.Hash[:]), string(g.group[:]), strconv.FormatInt(b.start, 10))
	a := Alert{
		Schema: AlertSchema, ID: encodeID(id), Rule: r.Info, Mode: r.Mode.String(), Severity: r.Severity,
		Tenant: tenant, Group: values, GroupID: encodeID(g.group),
		BucketStart: start, BucketEnd: start.Add(r.Suppress),
		First: time.UnixMilli(b.first).UTC(), Last: time.UnixMilli(b.last).UTC(), FiredAt: time.UnixMilli(b.firedAt).UTC(),
		Count: b.count, Value: b.value, Threshold: r.Detector.Threshold, Settled: settled,
	}
	a.Evidence = w.show(g, b)
	a.Why, a.Title = why(r.Rule, &a), fillTitle(r.Rule, &a)
	return a
}

func (g *window) fired() bool {
	return slices.ContainsFunc(g.buckets(), func(b bucket) bool { return b.fired })
}
