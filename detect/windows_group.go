package detect

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// window is one rule's state for one group. Most groups stay small and never fire:
// what they do not need is in more.
type window struct {
	rule   *ruleState
	group  [16]byte
	points []point // sorted by (time, identity, stream, value)
	queued int64   // deadline in the heap
	more   *more
}

type more struct {
	name     string   // tenant and values, packed, of groups that fired or may when nothing is in hand
	buckets  []bucket // those that fired, and those of which points are gone
	evidence []Evidence
	cursor   *cursor // of groups with many points
	decided  int64   // points before it were judged, of settled rules
}

func (g *window) extra() *more {
	if g.more == nil {
		g.more = &more{decided: unknownTime}
	}
	return g.more
}

func (g *window) buckets() []bucket {
	if g.more == nil {
		return nil
	}
	return g.more.buckets
}

// bucket is an alert, or the count of one that may come.
type bucket struct {
	start   int64
	count   uint64
	last    int64
	first   int64 // event time of the first completion, when fired
	firedAt int64
	value   float64
	fired   bool
	told    uint64 // count of the last update written
	changed bool
	shown   []Evidence // by the last update
}

func (g *window) key() windowKey { return windowKey{g.group, g.rule.id} }

// firstFrom is the index of the first point at or after a time.
func firstFrom(points []point, at int64) int {
	i, _ := slices.BinarySearchFunc(points, at, func(p point, t int64) int { return cmp.Compare(p.time(), t) })
	return i
}

func comparePoints(a, b point) int {
	return cmp.Or(cmp.Compare(a.time(), b.time()), cmp.Compare(a.id, b.id), cmp.Compare(a.stream(), b.stream()), cmp.Compare(a.value, b.value))
}

// batch are points of one rule and group that come together, and the events that they refer to.
type batch struct {
	events []SignalEvent
	points []Point
}

// observe takes points of one batch and judges every event whose window they are in.
func (w *Windows) observe(g *window, points batch) {
	low, high := int64(0), int64(unknownTime)
	first := -1
	for i := range points.points {
		x := &points.points[i]
		p := &points.events[x.Event]
		at := p.Time - mod(p.Time, g.rule.pane)
		if at <= w.marks[g.rule.plan.depth]-g.rule.plan.hold {
			// A restart rebuilds what is not settled; only what lies before that is of no use.
			w.stats.Expired++
			continue
		}
		q := point{stamp: at<<8 | int64(x.Step), id: p.Identity, value: x.Value}
		if !w.insert(g, q) {
			continue
		}
		w.stats.Points++
		if first < 0 || at < low {
			low, first = at, i
		}
		high = max(high, at)
	}
	w.touch(g)
	if first < 0 || g.rule.plan.settled {
		return
	}
	w.judge(g, low, high+max(1, g.rule.window), points)
}

// insert puts a point in its place; false when it is there, or has none.
func (w *Windows) insert(g *window, p point) bool {
	i := len(g.points)
	if i > 0 && comparePoints(g.points[i-1], p) >= 0 {
		var dup bool
		if i, dup = slices.BinarySearchFunc(g.points, p, comparePoints); dup {
			w.stats.Duplicates++
			return false
		}
	}
	if len(g.points) >= w.opts.MaxPoints {
		w.stats.Overflow++
		if i == 0 {
			return false
		}
		w.bucket(g, g.points[0].time()) // it still counts
		w.forget(g, 1)
		i--
	}
	if !g.rule.inPoints.has(w.held, g.rule.points) {
		w.shed(g.rule, 1)
		return false
	}
	if g.more != nil && g.more.cursor != nil {
		g.more.cursor.back(g.points, firstFrom(g.points[:i], p.time()))
	}
	g.points = slices.Insert(g.points, i, p)
	w.hold(g, 1)
	if b := g.bucketAt(p.time()); b != nil && g.counts(&p) && g.firstOf(i) {
		b.count++
		b.last = max(b.last, p.time())
		b.changed = true
	}
	return true
}

// counts reports whether the point's event is one of the matching ones.
func (g *window) counts(p *point) bool { return !g.rule.streams[p.stream()].silent }

// firstOf reports whether point i is the only one of its event that counts.
func (g *window) firstOf(i int) bool {
	p := &g.points[i]
	for j := i - 1; j >= 0 && g.points[j].sameEvent(p); j-- {
		if g.counts(&g.points[j]) {
			return false
		}
	}
	for j := i + 1; j < len(g.points) && g.points[j].sameEvent(p); j++ {
		if g.counts(&g.points[j]) {
			return false
		}
	}
	return true
}

// forget drops the n oldest points.
func (w *Windows) forget(g *window, n int) {
	if n == 0 {
		return
	}
	w.hold(g, -n)
	if g.more != nil && g.more.cursor != nil {
		g.more.cursor.shift(g.points, n)
	}
	g.points = g.points[n:]
	if len(g.points) == 0 {
		g.points = nil
		if g.more != nil {
			g.more.cursor = nil
		}
	} else if cap(g.points) > 64 && cap(g.points) > 4*len(g.points) {
		g.points = slices.Clone(g.points)
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
	b := bucket{start: start, last: at}
	for i := firstFrom(g.points, start); i < len(g.points) && g.points[i].time() < start+g.rule.bucket; i++ {
		p := &g.points[i]
		if !g.counts(p) {
			continue
		}
		again := false
		for j := i - 1; j >= 0 && g.points[j].sameEvent(p); j-- {
			again = again || g.counts(&g.points[j])
		}
		if !again {
			b.count++
			b.last = max(b.last, p.time())
		}
	}
	m := g.extra()
	m.buckets = append(m.buckets, b)
	return &m.buckets[len(m.buckets)-1]
}

// expire settles buckets and drops points that no window can reach any more.
func (w *Windows) expire(dst []Alert, g *window) []Alert {
	mark := w.watermark - g.rule.plan.lag
	// One millisecond more: a copy of an event that happened at the watermark may still come on time.
	n := firstFrom(g.points, mark-max(1, g.rule.window))
	for i := 0; i < n; { // what goes still counts in buckets that have not settled
		at := g.points[i].time()
		w.bucket(g, at)
		i = max(i+1, firstFrom(g.points[:n], at-mod(at, g.rule.bucket)+g.rule.bucket))
	}
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
	if g.more != nil {
		g.more.buckets = keep
	}
	w.forget(g, n)
	w.dropEvidence(g, mark)
	return dst
}

func (w *Windows) touch(g *window) {
	if n := len(w.touched); n == 0 || w.touched[n-1] != g {
		w.touched = append(w.touched, g)
	}
}

// updates appends an alert for each bucket that fired for the first time or
// whose count has doubled since it was last told.
func (w *Windows) updates(dst []Alert) []Alert {
	for _, g := range w.touched {
		buckets := g.buckets()
		for i := range buckets {
			b := &buckets[i]
			if b.fired && b.changed && (b.told == 0 || b.count >= 2*b.told) {
				dst = append(dst, w.alert(g, b, false))
				b.told = b.count
			}
			b.changed = false
		}
		w.schedule(g)
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
	b.shown = g.show(b)
	a.Evidence = b.shown
	a.Why, a.Title = why(r.Rule, &a), fillTitle(r.Rule, &a)
	return a
}

// show is the oldest of what is known of a bucket and its windows, and of what was shown before.
func (g *window) show(b *bucket) []Evidence {
	out := slices.Clone(b.shown)
	in := g.evidence(b.start-g.rule.window+1, b.last+g.rule.pane)
	for _, e := range in[:min(len(in), maxEvidence)] {
		out, _ = insertEvidence(out, e)
	}
	return out[:min(len(out), maxEvidence)]
}

// evidence is what the group keeps from a time until before another.
func (g *window) evidence(from, until int64) []Evidence {
	if g.more == nil {
		return nil
	}
	in := g.more.evidence
	return in[firstEvidence(in, from):firstEvidence(in, until)]
}

// insertEvidence keeps the order of time; false when it is there.
func insertEvidence(in []Evidence, e Evidence) ([]Evidence, bool) {
	i, dup := slices.BinarySearchFunc(in, e, compareEvidence)
	if dup {
		return in, false
	}
	return slices.Insert(in, i, e), true
}

func compareEvidence(a, b Evidence) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.EventID, b.EventID))
}

// takesEvidence reports whether a group may get more, and counts what it may not. Where all groups
// together have too much, only groups that fired do.
func (w *Windows) takesEvidence(g *window) bool {
	if w.evidence >= w.opts.MaxEvidence && (!g.fired() || len(g.more.evidence) >= 2*maxEvidence) {
		w.stats.NoEvidence++
		return false
	}
	return true
}

// addEvidence keeps the oldest of each bucket's span, so that a bucket which is judged long after its
// events still has some to show.
func (w *Windows) addEvidence(g *window, e Evidence) {
	m := g.extra()
	start := e.Time.UnixMilli() - mod(e.Time.UnixMilli(), g.rule.bucket)
	last := firstEvidence(m.evidence, start+g.rule.bucket) - 1
	full := last+1-firstEvidence(m.evidence, start) >= maxEvidence
	if full && compareEvidence(m.evidence[last], e) <= 0 {
		return
	}
	var added bool
	e.Context = slices.Clone(e.Context) // what was decoded may be used again
	if m.evidence, added = insertEvidence(m.evidence, e); !added {
		return
	}
	w.evidence++
	switch {
	case full:
		m.evidence = slices.Delete(m.evidence, last+1, last+2)
		w.evidence--
	case len(m.evidence) > maxGroupEvidence:
		m.evidence = slices.Delete(m.evidence, 0, 1)
		w.evidence--
	}
}

// maxGroupEvidence is how much a group may keep, of all its buckets.
const maxGroupEvidence = 20 * maxEvidence

// dropEvidence drops what no bucket will show that ends behind mark.
func (w *Windows) dropEvidence(g *window, mark int64) {
	if g.more == nil {
		return
	}
	n := firstEvidence(g.more.evidence, mark-g.rule.bucket-g.rule.window+1)
	g.more.evidence = slices.Delete(g.more.evidence, 0, n)
	w.evidence -= n
}

// firstEvidence is the index of the first at or after a time.
func firstEvidence(in []Evidence, at int64) int {
	i, _ := slices.BinarySearchFunc(in, at, func(e Evidence, t int64) int { return cmp.Compare(e.Time.UnixMilli(), t) })
	return i
}

func (g *window) fired() bool {
	return slices.ContainsFunc(g.buckets(), func(b bucket) bool { return b.fired })
}
