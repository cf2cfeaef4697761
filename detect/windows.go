package detect

import (
	"cmp"
	"container/heap"
	"encoding/base32"
	"math"
	"slices"
	"strconv"
	"time"
)

// WindowOptions bounds what a Windows may hold. Zero values take the defaults.
type WindowOptions struct {
	MaxGroups int // groups of all rules together; default 1,000,000
	MaxPoints int // points of one group; default 100,000
}

// WindowStats counts what a Windows saw since it was made.
type WindowStats struct {
	Points      uint64 // points that entered a window
	Duplicates  uint64 // points or signals that were there already
	Expired     uint64 // points that came after their window had settled
	UnknownRule uint64 // rule points whose rule this set does not have
	Overflow    uint64 // points or groups given up because a bound was reached
}

// Windows is the stateful half of detection for one partition of
// picket.signals: every window, count and bucket of its groups. Its answers are
// a function of the points and the rules, whatever the order or the batches
// they come in. One goroutine owns it.
type Windows struct {
	rs     *RuleSet
	rules  map[[16]byte]*Rule
	hasher Hasher
	opts   WindowOptions
	stats  WindowStats

	groups    map[windowKey]*window
	deadlines deadlineHeap
	sources   map[int32]*source
	expected  int32 // source partitions that must report before time moves
	watermark int64 // Unix milliseconds; unknownTime until every source reported
	lateness  int64
}

// unknownTime lies before every time, with room to subtract from.
const unknownTime = math.MinInt64 / 2

type windowKey struct{ rule, group [16]byte }

// source is what is known of one source partition.
type source struct {
	begin  int64 // begin of the newest declared batch seen
	seen   map[windowKey]struct{}
	passed int64
}

// window is one rule's state for one group.
type window struct {
	rule     *Rule
	key      windowKey
	tenant   string
	values   []GroupValue
	points   []Point // sorted by (time, identity)
	buckets  []bucket
	evidence []SignalEvidence
	queued   int64 // deadline in the heap
}

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
}

// NewWindows makes empty windows for a rule set. Lateness is the one that
// detect stamps events with.
func NewWindows(rs *RuleSet, h Hasher, lateness time.Duration, opts WindowOptions) *Windows {
	if opts.MaxGroups == 0 {
		opts.MaxGroups = 1_000_000
	}
	if opts.MaxPoints == 0 {
		opts.MaxPoints = 100_000
	}
	w := &Windows{
		rs: rs, hasher: h, opts: opts, rules: map[[16]byte]*Rule{}, groups: map[windowKey]*window{},
		sources: map[int32]*source{}, watermark: unknownTime, lateness: lateness.Milliseconds(),
	}
	for _, r := range rs.Rules() {
		w.rules[r.Hash] = r
	}
	return w
}

// Stats returns the counts so far.
func (w *Windows) Stats() WindowStats { return w.stats }

// Groups is how many groups are held.
func (w *Windows) Groups() int { return len(w.groups) }

// Watermark is the time up to which everything on time was seen; zero before
// every source partition has reported.
func (w *Windows) Watermark() time.Time {
	if w.watermark == unknownTime {
		return time.Time{}
	}
	return time.UnixMilli(w.watermark).UTC()
}

// Restore starts empty windows at a recorded watermark: what settled before it
// stays settled while signals from before are replayed.
func (w *Windows) Restore(watermark time.Time) { w.watermark = watermark.UnixMilli() }

// Rewind is how far before a watermark a replay must start, in the signals'
// append time, to rebuild everything that is not settled.
func Rewind(rs *RuleSet, lateness time.Duration) time.Duration {
	longest := time.Duration(0)
	for _, r := range rs.Rules() {
		longest = max(longest, r.Detector.Window+r.Suppress)
	}
	return longest + max(lateness, MaxFuture)
}

// Observe takes one signal and appends the alerts that it makes or updates.
func (w *Windows) Observe(dst []Alert, s *Signal) []Alert {
	src := w.source(s.Source)
	switch {
	case s.Begin < src.begin:
		// A batch is acknowledged only after all of its signals are in the log, so what
		// comes behind a later batch was there before.
		w.stats.Duplicates++
		return dst
	case s.Begin > src.begin:
		src.begin = s.Begin
		clear(src.seen)
	}
	for i := range s.Rules {
		rp := &s.Rules[i]
		rule := w.rules[rp.Rule]
		if rule == nil {
			w.stats.UnknownRule++
			continue
		}
		key := windowKey{rp.Rule, s.Group}
		if _, dup := src.seen[key]; dup {
			w.stats.Duplicates++
			continue
		}
		src.seen[key] = struct{}{}
		if g := w.window(rule, key, s); g != nil {
			for _, e := range s.Evidence {
				if e.Rule == rp.Rule {
					g.addEvidence(e)
				}
			}
			for _, p := range rp.Points {
				w.insert(g, p)
			}
			dst = w.updates(dst, g)
			w.schedule(g)
		}
	}
	return dst
}

// Progress takes a progress marker and appends the last updates of what settled.
func (w *Windows) Progress(dst []Alert, p *Progress) []Alert {
	src := w.source(p.Source)
	if p.Begin > src.begin {
		src.begin = p.Begin
		clear(src.seen)
	}
	src.passed = max(src.passed, p.Passed.UnixMilli())
	w.expected = max(w.expected, p.Sources)
	if len(w.sources) < int(w.expected) {
		return dst
	}
	low := int64(math.MaxInt64)
	for _, s := range w.sources {
		low = min(low, s.passed)
	}
	return w.settle(dst, low-w.lateness)
}

// Settle moves the watermark and appends the last update of every alert whose
// bucket it passed.
func (w *Windows) Settle(dst []Alert, watermark time.Time) []Alert {
	return w.settle(dst, watermark.UnixMilli())
}

func (w *Windows) settle(dst []Alert, watermark int64) []Alert {
	if watermark <= w.watermark {
		return dst
	}
	w.watermark = watermark
	for len(w.deadlines) > 0 && w.deadlines[0].at <= watermark {
		d := heap.Pop(&w.deadlines).(deadline)
		g := w.groups[d.key]
		if g == nil || g.queued != d.at {
			continue
		}
		g.queued = 0
		dst = w.expire(dst, g)
		if len(g.points) == 0 && len(g.buckets) == 0 {
			delete(w.groups, g.key)
			continue
		}
		w.schedule(g)
	}
	return dst
}

// expire settles buckets and drops points that no window can reach any more.
func (w *Windows) expire(dst []Alert, g *window) []Alert {
	size := g.rule.Suppress.Milliseconds()
	keep := g.buckets[:0]
	for i := range g.buckets {
		b := &g.buckets[i]
		if b.start+size > w.watermark {
			keep = append(keep, *b)
			continue
		}
		if b.fired {
			dst = append(dst, w.alert(g, b, true))
		}
	}
	g.buckets = keep
	// A copy of an event that happened at the watermark may still come on time.
	low := w.watermark - max(1, g.rule.Detector.Window.Milliseconds())
	n, _ := slices.BinarySearchFunc(g.points, low+1, func(p Point, t int64) int { return cmp.Compare(p.Time, t) })
	g.points = slices.Delete(g.points, 0, n)
	return dst
}

func (w *Windows) source(id int32) *source {
	s := w.sources[id]
	if s == nil {
		s = &source{begin: -1, seen: map[windowKey]struct{}{}, passed: unknownTime}
		w.sources[id] = s
	}
	return s
}

func (w *Windows) window(rule *Rule, key windowKey, s *Signal) *window {
	g := w.groups[key]
	if g == nil {
		if len(w.groups) >= w.opts.MaxGroups {
			w.stats.Overflow++
			return nil
		}
		g = &window{rule: rule, key: key, tenant: s.Tenant, values: s.Values}
		w.groups[key] = g
	}
	return g
}

// insert adds one point and marks the buckets of every event that it completes.
func (w *Windows) insert(g *window, p Point) {
	span := g.rule.Detector.Window.Milliseconds()
	// A restart rebuilds buckets that are not settled, and what completed them may lie a
	// window before they begin.
	if p.Time <= w.watermark-span-g.rule.Suppress.Milliseconds() {
		w.stats.Expired++
		return
	}
	i, dup := slices.BinarySearchFunc(g.points, p, comparePoints)
	if dup {
		w.stats.Duplicates++
		return
	}
	if len(g.points) >= w.opts.MaxPoints {
		w.stats.Overflow++
		if i == 0 {
			return
		}
		g.points = slices.Delete(g.points, 0, 1)
		i--
	}
	g.points = slices.Insert(g.points, i, p)
	w.stats.Points++
	if b := w.bucket(g, p.Time); b != nil {
		b.count++
		b.last = max(b.last, p.Time)
		b.changed = true
	}
	// The point lies in the window of itself and of every later event less than a window away.
	for j := i; j < len(g.points) && (j == i || g.points[j].Time < p.Time+span); j++ {
		value, ok := g.complete(j)
		if !ok {
			continue
		}
		if b := w.bucket(g, g.points[j].Time); b != nil {
			if !b.fired {
				b.fired, b.first, b.firedAt, b.changed = true, g.points[j].Time, p.Append, true
			}
			b.value = max(b.value, value)
			b.first = min(b.first, g.points[j].Time)
		}
	}
}

// bucket finds or makes the bucket of an event time; nil when it has settled.
func (w *Windows) bucket(g *window, at int64) *bucket {
	size := g.rule.Suppress.Milliseconds()
	start := at - mod(at, size)
	if start+size <= w.watermark {
		return nil
	}
	for i := range g.buckets {
		if g.buckets[i].start == start {
			return &g.buckets[i]
		}
	}
	g.buckets = append(g.buckets, bucket{start: start, last: at})
	return &g.buckets[len(g.buckets)-1]
}

// complete measures the window that ends with point j.
func (g *window) complete(j int) (value float64, ok bool) {
	d := &g.rule.Detector
	if d.Kind == DetectScore {
		return math.Float64frombits(g.points[j].Value), true
	}
	low := g.points[j].Time - d.Window.Milliseconds()
	i := j
	if d.Window > 0 {
		i, _ = slices.BinarySearchFunc(g.points[:j+1], low+1, func(p Point, t int64) int { return cmp.Compare(p.Time, t) })
	}
	switch in := g.points[i : j+1]; d.Kind {
	case DetectDistinct:
		seen := make(map[uint64]struct{}, int(d.Threshold))
		for _, p := range in {
			seen[p.Value] = struct{}{}
		}
		value = float64(len(seen))
	case DetectSum:
		for _, p := range in {
			value += math.Float64frombits(p.Value)
		}
	default:
		value = float64(len(in))
	}
	return value, value >= d.Threshold
}

// updates appends an alert for each bucket that fired for the first time or
// whose count has doubled since it was last told.
func (w *Windows) updates(dst []Alert, g *window) []Alert {
	for i := range g.buckets {
		b := &g.buckets[i]
		if b.fired && b.changed && (b.told == 0 || b.count >= 2*b.told) {
			dst = append(dst, w.alert(g, b, false))
			b.told = b.count
		}
		b.changed = false
	}
	return dst
}

func (w *Windows) alert(g *window, b *bucket, settled bool) Alert {
	r := g.rule
	start := time.UnixMilli(b.start).UTC()
	id := w.hasher.GroupHash("", "alert", string(r.Hash[:]), string(g.key.group[:]), strconv.FormatInt(b.start, 10))
	a := Alert{
		Schema: AlertSchema, ID: encodeID(id), Rule: r.Info, Mode: r.Mode.String(), Severity: r.Severity,
		Tenant: g.tenant, Group: g.values, GroupID: encodeID(g.key.group),
		BucketStart: start, BucketEnd: start.Add(r.Suppress),
		First: time.UnixMilli(b.first).UTC(), Last: time.UnixMilli(b.last).UTC(), FiredAt: time.UnixMilli(b.firedAt).UTC(),
		Count: b.count, Value: b.value, Threshold: r.Detector.Threshold, Settled: settled,
	}
	for i := range g.evidence {
		if at := g.evidence[i].Time.UnixMilli(); at > b.start-r.Detector.Window.Milliseconds() && at <= b.last && len(a.Evidence) < maxEvidence {
			a.Evidence = append(a.Evidence, g.evidence[i].Evidence)
		}
	}
	a.Why, a.Title = why(r, &a), fillTitle(r, &a)
	return a
}

// addEvidence keeps the newest evidence, in order of time.
func (g *window) addEvidence(e SignalEvidence) {
	i, dup := slices.BinarySearchFunc(g.evidence, e, func(a, b SignalEvidence) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.EventID, b.EventID))
	})
	if dup {
		return
	}
	g.evidence = slices.Insert(g.evidence, i, e)
	if len(g.evidence) > 2*maxEvidence {
		g.evidence = slices.Delete(g.evidence, 0, 1)
	}
}

// schedule queues the next time at which the group has something to settle or drop.
func (w *Windows) schedule(g *window) {
	next := int64(math.MaxInt64)
	for i := range g.buckets {
		next = min(next, g.buckets[i].start+g.rule.Suppress.Milliseconds())
	}
	if len(g.points) > 0 {
		next = min(next, g.points[0].Time+max(1, g.rule.Detector.Window.Milliseconds()))
	}
	if next == math.MaxInt64 {
		next = w.watermark + 1 // nothing is held: let it go at the next move
	}
	if g.queued == next {
		return
	}
	g.queued = next
	heap.Push(&w.deadlines, deadline{next, g.key})
}

func comparePoints(a, b Point) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), slices.Compare(a.Identity[:], b.Identity[:]))
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func encodeID(id [16]byte) string { return idEncoding.EncodeToString(id[:]) }

type deadline struct {
	at  int64
	key windowKey
}

type deadlineHeap []deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deadlineHeap) Push(x any)        { *h = append(*h, x.(deadline)) }
func (h *deadlineHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	*h = old[:len(old)-1]
	return d
}
