package detect

import (
	"cmp"
	"encoding/base32"
	"math"
	"time"
)

// WindowOptions bounds what a Windows may hold. Zero values take the defaults.
type WindowOptions struct {
	MaxGroups   int // groups of all rules together; default 1,000,000, at most 16 million; of one rule at most half of what its severity may fill
	MaxHeld     int // points of all groups together, shared out in the same way; default 20,000,000, at most 250 million
	MaxPoints   int // points of one group; default 1,000,000
	MaxEvidence int // evidence of all groups together; default 20,000; groups that fired get a little more in any case
	MaxWaiting  int // points that wait for a rule which the set does not have yet; default 100,000

	many int // points from which on a group has a cursor of its own
	gone int // groups whose points are gone that are kept as numbers, shared out in the same way; default four times MaxGroups
}

// WindowStats counts what a Windows saw since it was made.
type WindowStats struct {
	Points      uint64 // points that entered a window
	Duplicates  uint64 // points or signals that were there already
	Expired     uint64 // points that came after their window had settled
	UnknownRule uint64 // points given up because no set had their rule in time
	Overflow    uint64 // points given up because a bound was reached
	Shed        uint64 // those of them that never entered a window, as there was no room for their rule
	NoEvidence  uint64 // evidence not kept because its bound was reached
}

// Windows is the stateful half of detection for one partition of
// picket.signals: every window, count and bucket of its groups. Its answers are
// a function of the points and the rules, whatever the order or the batches
// they come in. One goroutine owns it.
type Windows struct {
	hasher   Hasher
	opts     WindowOptions
	stats    WindowStats
	lateness int64

	rules  map[[16]byte]*ruleState
	byID   []*ruleState // nil where nothing of it is held any more; no rule has id 0
	groups table
	blocks arena
	more   places[*more]
	// deadlines has a queue for each depth of the rules: what takes steps from a rule settles after it.
	deadlines []deadlines
	// marks is the watermark up to which each depth has settled; all are equal but while time moves.
	marks     []int64
	watermark int64 // Unix milliseconds; unknownTime until every source reported
	now       int64 // the watermark; in a replay how far that came, and points go as they went then

	sources  map[int32]*source
	expected int32 // source partitions that must report before time moves

	leaving []*ruleState           // rules that left the set and may still hold something
	waits   map[[16]byte][]waiting // points of rules that the set does not have yet
	waited  int                    // points in waits

	gone gone

	hand     origin   // of the points in hand
	held     int      // points of all groups
	touched  []uint32 // since the last updates
	evidence int      // kept in all groups

	tenants, names names
	scratch        []byte
	entering       []point // of the points in hand, those that may be new
	spots          []spot  // where they belong
}

// ruleState is a rule with what Windows keeps for it.
type ruleState struct {
	*Rule
	id       uint32
	groups   int // that are held
	points   int // that are held
	gone     int // groups that are numbers now
	inGroups share
	inPoints share
	inGone   share
	shed     uint64 // points since TakeShed
	left     bool   // it is no rule of the set any more
	until    int64  // watermark from which on a rule that left takes nothing
	scratch  cursor // for groups with few points, which have none of their own
	moving   moving
	window   int64
	bucket   int64
	pane     int64
	layout   form
	least    int // points that a completion takes
}

// unknownTime lies before every time, with room to subtract from.
const unknownTime = math.MinInt64 / 512

type windowKey struct {
	group [16]byte
	rule  uint32
}

// origin says what a group is called: the signal that brings its points, or the packed name
// of the group that hands completions on. Only who fires keeps it.
type origin struct {
	signal *Signal
	packed string
}

// source is what is known of one source partition.
type source struct {
	begin  int64 // begin of the newest declared batch seen
	seen   seenWindows
	passed int64
}

// NewWindows makes empty windows for a rule set. Lateness is the one that
// detect stamps events with.
func NewWindows(rs *RuleSet, h Hasher, lateness time.Duration, opts WindowOptions) *Windows {
	opts.MaxGroups = min(cmp.Or(opts.MaxGroups, 1_000_000), maxGroups)
	opts.MaxHeld = min(cmp.Or(opts.MaxHeld, 20_000_000), maxHeld)
	opts.MaxPoints = cmp.Or(opts.MaxPoints, 1_000_000)
	opts.MaxEvidence = cmp.Or(opts.MaxEvidence, 20_000)
	opts.MaxWaiting = cmp.Or(opts.MaxWaiting, 100_000)
	opts.many = cmp.Or(opts.many, manyPoints)
	opts.gone = cmp.Or(opts.gone, gonePerGroup*opts.MaxGroups)
	w := &Windows{
		byID:   make([]*ruleState, 1),
		gone:   newGone(),
		hasher: h, opts: opts, sources: map[int32]*source{}, tenants: newNames(maxTenants), names: newNames(maxNames),
		watermark: unknownTime, now: unknownTime, lateness: lateness.Milliseconds(), waits: map[[16]byte][]waiting{},
	}
	w.Reload(nil, rs)
	return w
}

// at is the window with an id.
func (w *Windows) at(id uint32) window {
	g := window{stored: w.groups.at(id), w: w, id: id}
	g.rule = w.byID[g.stored.rule]
	if g.stored.more != 0 {
		g.more = w.more.of[g.stored.more]
	}
	return g
}

func (w *Windows) remove(g *window) {
	if g.more != nil {
		w.evidence -= len(g.more.evidence)
		w.more.drop(g.stored.more)
	}
	s := g.series()
	n := s.len()
	w.hold(g, -n)
	s.drop(n)
	g.rule.groups--
	w.groups.remove(g.key())
}

// Stats returns the counts so far.
func (w *Windows) Stats() WindowStats { return w.stats }

// Groups is how many groups are held.
func (w *Windows) Groups() int { return w.groups.n }

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
func (w *Windows) Restore(watermark time.Time) {
	w.watermark = watermark.UnixMilli()
	for i := range w.marks {
		w.marks[i] = w.watermark
	}
}

// Rewind is how far before a watermark a replay must start, in the signals'
// append time, to rebuild everything that is not settled.
func Rewind(rs *RuleSet, lateness time.Duration) time.Duration {
	longest := int64(0)
	for _, r := range rs.Rules() {
		longest = max(longest, r.plan.hold)
	}
	return time.Duration(longest)*time.Millisecond + max(lateness, MaxFuture)
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
		src.seen.clear()
	}
	w.hand = origin{signal: s}
	for i := range s.Rules {
		rp := &s.Rules[i]
		rule := w.rules[rp.Rule]
		if rule == nil {
			w.wait(s, i)
			continue
		}
		if rule.over(w.watermark) {
			w.stats.UnknownRule += uint64(len(rp.Points))
			continue
		}
		key := windowKey{s.Group, rule.id}
		if dup := src.seen.add(key); dup { // also where its window went: what it handed on is held by others
			w.stats.Duplicates++
			continue
		}
		g, ok := w.window(rule, key, len(rp.Points))
		if !ok {
			continue
		}
		w.observe(&g, batch{s.Events, rp.Points})
		s.eachEvidence(i, func(e *SignalEvidence, context []GroupValue) {
			if w.takesEvidence(&g) {
				w.addShown(&g, s.Events[e.Event].Time, e.EventID, func() string {
					shown := s.evidence(e, context)
					return w.packEvidence(&shown)
				})
			}
		})
	}
	w.hand = origin{}
	return w.updates(dst)
}

// Progress takes a progress marker and appends the last updates of what settled.
func (w *Windows) Progress(dst []Alert, p *Progress) []Alert {
	src := w.source(p.Source)
	if p.Begin > src.begin {
		src.begin = p.Begin
		src.seen.clear()
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
	if watermark <= w.now {
		return dst
	}
	w.now = watermark
	for depth := range w.deadlines {
		queue := &w.deadlines[depth]
		for {
			id, due := queue.next(&w.groups, watermark)
			if !due {
				break
			}
			g := w.at(id)
			if g.rule.plan.depth != depth {
				continue // the number of a window that went is now that of another, in a queue of its own
			}
			g.queued = 0
			if g.rule.plan.settled {
				w.decide(&g)
				dst = w.updates(dst)
			}
			dst = w.expire(dst, &g)
			if g.last.n == 0 && len(g.buckets()) == 0 && g.shownUntil() <= watermark {
				w.remove(&g)
				continue
			}
			w.schedule(&g)
		}
		w.marks[depth] = max(w.watermark, watermark)
	}
	w.gone.settle(watermark)
	if watermark > w.watermark {
		w.watermark = watermark
		w.handOver()
	}
	return dst
}

func (w *Windows) source(id int32) *source {
	s := w.sources[id]
	if s == nil {
		s = &source{begin: -1, passed: unknownTime}
		w.sources[id] = s
	}
	return s
}

// window finds or makes the window of a group for some points; not where there are too many.
func (w *Windows) window(rule *ruleState, key windowKey, points int) (window, bool) {
	if id := w.groups.find(key); id != 0 {
		return w.at(id), true
	}
	if !rule.inGroups.has(w.groups.n, rule.groups) {
		w.shed(rule, points)
		return window{}, false
	}
	g := w.at(w.groups.put(key))
	if rule.plan.settled {
		w.name(&g) // when it fires, nothing is in hand
	}
	rule.groups++
	return g, true
}

// schedule queues the next time at which the group has something to judge, settle or drop.
func (w *Windows) schedule(g *window) {
	buckets, lag := g.buckets(), g.rule.plan.lag
	if g.queued != 0 && len(buckets) == 0 && !g.rule.plan.settled && g.shownUntil() == unknownTime {
		return // points that come do not make it earlier, unless only evidence was waiting
	}
	next := int64(math.MaxInt64)
	for _, b := range buckets {
		next = min(next, b.start+g.rule.bucket+lag)
	}
	if g.last.n > 0 {
		s := g.series()
		newest := s.newest()
		next = min(next, newest.time()+max(1, g.rule.window)+1+lag)
		if decided := g.decided(); g.rule.plan.settled && newest.time() >= decided {
			r := s.reader()
			next = min(next, r.time(s.first(decided))+1+lag)
		}
	}
	if next == math.MaxInt64 { // nothing is held that counts: let it go at the next move, or when nothing will show it
		next = max(min(w.marks[g.rule.plan.depth], w.now)+1, g.shownUntil())
	}
	// An earlier deadline stands: it finds the later one.
	if g.queued != 0 && g.queued <= next {
		return
	}
	g.queued = next
	w.deadlines[g.rule.plan.depth].push(deadline{next, g.id})
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func encodeID(id [16]byte) string { return idEncoding.EncodeToString(id[:]) }
