package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// entry is one record of the signals topic, as simulated.
type entry struct {
	at        time.Time // its append time
	partition int       // -1: all
	value     []byte
}

// world is a random history of events, and the log of signals that detect makes of it.
type world struct {
	drawing
	specs  []*spec
	sets   []*RuleSet // the checked rules, and the checked with others
	parts  [][]*Event // by source partition, as they were appended
	logs   [][]entry  // a log for each partition of the signals
	end    time.Time
	opts   WindowOptions
	census map[string]bool // what this case has
}

func (w *world) saw(what string, on bool) {
	if on {
		w.census[what] = true
	}
}

func drawWorld(t *rapid.T) *world {
	w := &world{drawing: drawing{T: t}, end: TestStart, census: map[string]bool{}}
	w.groups = []grouping{pick(w.drawing, groupings...), pick(w.drawing, groupings...)}
	text := ""
	add := func(feature string) {
		s := w.rule(fmt.Sprintf("TT-%02d", len(w.specs)), feature)
		w.specs = append(w.specs, s)
		text += s.yaml() + "---\n"
	}
	for range w.n(4, 6) {
		feature, groups := pick(w.drawing, features...), w.groups
		if strings.HasPrefix(feature, "from") { // with something to take from, which may settle late
			w.groups = []grouping{pick(w.drawing, groups...)}
			add(pick(w.drawing, "absence", "absence after", "ratio", "count", "distinct", "from", "until"))
		}
		add(feature)
		w.groups = groups
	}
	others := ""
	for i := range w.n(1, 2) { // come and go by reloads, before and behind the others; some take from them
		others += w.rule(fmt.Sprintf("%s-%02d", pick(w.drawing, "AA", "ZZ"), i), pick(w.drawing, features...)).yaml() + "---\n"
	}
	for _, rules := range []string{text, others + text} {
		rs, err := loadLines(rules)
		if err != nil {
			t.Fatalf("%v\n%s", err, rules)
		}
		w.sets = append(w.sets, rs)
	}
	w.opts.many = pick(w.drawing, 1, 1, 4, 1000)
	w.opts.gone = pick(w.drawing, 1, 5, 1000)
	w.events()
	w.detect()
	return w
}

// events makes events with disorder and lateness on both sides of the limit, and producers' duplicates.
func (w *world) events() {
	w.parts = make([][]*Event, w.n(1, 3))
	w.logs = make([][]entry, w.n(1, 4))
	w.saw("several source partitions", len(w.parts) > 1)
	clock := TestStart
	pace := pick(w.drawing, 1_000, 20_000, 60_000)
	for i := range w.n(10, 80) {
		step := w.n(0, pace)
		if w.one(3) { // times that lie exactly on the edges of windows
			step -= step % 15_000
			clock = clock.Truncate(15 * time.Second)
		}
		clock = clock.Add(time.Duration(step) * time.Millisecond)
		delay := time.Duration(0)
		switch w.n(0, 7) {
		case 0, 1:
			delay = time.Duration(w.n(0, int(testLateness/time.Millisecond))) * time.Millisecond
		case 2:
			delay = testLateness + time.Duration(w.n(-1, 1))*time.Millisecond
		case 3:
			delay = testLateness + time.Duration(w.n(0, 300))*time.Second
		case 4:
			delay = -time.Duration(w.n(0, 20)) * time.Second // a producer's clock runs ahead
		}
		ev := w.event(i, clock, delay)
		w.put(ev)
		if w.one(8) {
			again := *ev // the producer sent it twice; the copy comes a little later, anywhere
			again.Append = clock.Add(time.Duration(w.n(0, 5000)) * time.Millisecond)
			if w.one(3) {
				again.Append = clock.Add(testLateness - delay + time.Duration(w.n(-1, 20))*time.Millisecond)
			}
			if again.Append.Before(clock) {
				again.Append = clock
			}
			w.put(&again)
			w.saw("producer's duplicates", true)
		}
	}
	for p := range w.parts {
		slices.SortStableFunc(w.parts[p], func(a, b *Event) int { return a.Append.Compare(b.Append) })
		for i, ev := range w.parts[p] {
			ev.Partition, ev.Offset = int32(p), int64(i)
			ev.Stamp(testLateness)
			ev.Redact(plainHasher{}, nil)
			lag := ev.Append.Sub(ev.Time)
			w.saw("late events", lag > testLateness)
			w.saw("a lateness at the limit", lag == testLateness || lag == testLateness+time.Millisecond)
		}
	}
}

func (w *world) put(ev *Event) {
	p := w.n(0, len(w.parts)-1)
	w.parts[p] = append(w.parts[p], ev)
}

func (w *world) event(i int, clock time.Time, delay time.Duration) *Event {
	d := w.drawing
	ev := &Event{Claimed: clock.Add(-delay), Append: clock}
	id, instance := fmt.Sprint("e", i), "i1"
	if i > 0 && w.one(12) { // another server's event of the same name
		id, instance = fmt.Sprint("e", w.n(0, i-1)), fmt.Sprint("i", i+2)
	}
	ev.Set(ID, id)
	ev.Set(ServerInstance, instance)
	ev.Set(Tenant, pick(d, "acme", "acme", "acme", "umbrella"))
	ev.Set(Type, pick(d, "authentication", "authentication", "authentication", "authentication", "tool_call"))
	ev.Set(Outcome, pick(d, "failure", "failure", "denied", "success"))
	ev.Set(ServerName, pick(d, "a", "b"))
	if !w.one(10) {
		ev.Set(NetIP, pick(d, "10.0.0.1", "10.0.0.1", "10.0.0.2"))
	}
	if !w.one(8) {
		ev.Set(ActorClientID, pick(d, "c1", "c2", "C1", "c3", "c4"))
	}
	if w.one(3) {
		ev.Set(MCPTool, pick(d, "read", "write"))
	}
	if w.one(3) {
		ev.SetFlag(MCPIsError, w.one(2))
	}
	if !w.one(8) {
		ev.SetNum(IOResultBytes, float64(w.n(1, 200)))
	}
	if w.one(3) {
		for range w.n(1, 3) {
			ev.AddFinding(Finding{Cat: pick(d, "sqli", "ssrf", "cmdi"), Rule: "r", Dir: pick(d, "input", "output"), Score: 0.9})
		}
	}
	return ev
}

// detect reads the partitions in batches, in any order, and does some batches twice.
func (w *world) detect() {
	type stage struct {
		m *Matcher
		c *Collector
	}
	var stages []stage
	for _, rs := range w.sets {
		stages = append(stages, stage{NewMatcher(rs), NewCollector(rs, plainHasher{})})
	}
	next := make([]int, len(w.parts))
	now := TestStart
	most := pick(w.drawing, 1, 5, 100) // of a batch
	var zombie []entry                 // signals of an older batch, whose owner does not know that it is over
	for {
		var open []int
		for p := range w.parts {
			if next[p] < len(w.parts[p]) {
				open = append(open, p)
			}
		}
		if len(open) == 0 {
			break
		}
		p := pick(w.drawing, open...)
		size := w.n(1, min(most, len(w.parts[p])-next[p]))
		batch := w.parts[p][next[p] : next[p]+size]
		begin, end := int64(next[p]), int64(next[p]+size)
		next[p] += size
		passed := batch[size-1].Append
		if passed.After(now) {
			now = passed
		}
		st := pick(w.drawing, stages...)
		for _, ev := range batch {
			st.c.Add(ev, st.m.Match(nil, ev))
		}
		var records []entry
		for _, pack := range st.c.Packs(int32(p), begin, end, int32(len(w.logs))) {
			records = append(records, entry{now, int(pack.Partition), pack.Record})
		}
		signals := len(records)
		// A producer that failed half-way, or a crash before the commit: some of the
		// records are there twice.
		if w.one(5) {
			records = append(slices.Clone(records[:w.n(0, signals)]), records...)
			w.saw("pipeline's duplicates", len(records) > signals)
			signals = len(records)
		}
		records = append(records, entry{now, -1, AppendProgress(nil, Progress{
			Source: int32(p), Sources: int32(len(w.parts)), Begin: begin, End: end, Passed: passed,
		})})
		w.append(records...)
		if w.one(5) { // a crash after the marker and before the commit: all of it again
			w.append(records...)
		}
		if zombie == nil && w.one(4) {
			zombie = slices.Clone(records[:signals])
		} else if zombie != nil && w.one(4) {
			for _, z := range zombie {
				w.append(entry{now, z.partition, z.value})
			}
			w.saw("a zombie's signals", len(zombie) > 0)
			zombie = nil
		}
	}
	w.end = now
}

// append writes packs to their partition, and markers to every one.
func (w *world) append(records ...entry) {
	for _, e := range records {
		for p := range w.logs {
			if e.partition < 0 || e.partition == p {
				w.logs[p] = append(w.logs[p], e)
			}
		}
	}
}

// upset is something that happens to the instances at a point of the log, in thousandths of it.
type upset struct {
	at      int
	members int  // of the group from then on
	crash   bool // of every instance, before its last records are acknowledged
	reload  bool
}

// run lets 1 to 4 instances share the logs. Who joins or leaves re-deals the partitions; who
// gets one rebuilds its windows in silence; who keeps one keeps them.
func (w *world) run() map[string]Alert {
	members := w.n(1, 4)
	w.saw(fmt.Sprintf("%d instances at first", members), true)
	upsets := make([]upset, 6-w.n(0, 6))
	for i := range upsets {
		upsets[i] = upset{at: w.n(0, 999), members: w.n(1, 4), crash: w.one(2), reload: w.one(2)}
		w.saw("instances that join or leave", upsets[i].members != members)
		w.saw("crashes", upsets[i].crash)
		w.saw("reloads", upsets[i].reload)
	}
	slices.SortStableFunc(upsets, func(a, b upset) int { return cmp.Compare(a.at, b.at) })
	last := map[string]Alert{}
	for p, log := range w.logs {
		c := &instance{world: w, log: log, last: last, owner: p % members}
		c.w = NewWindows(w.sets[0], plainHasher{}, testLateness, w.opts)
		for _, u := range upsets {
			c.to(u.at * len(log) / 1000)
			owner := p % u.members
			switch {
			case u.crash:
				c.restart(w.n(0, 6))
			case owner != c.owner:
				c.restart(0)
			}
			c.owner = owner
			if u.reload {
				c.set = 1 - c.set
				c.tell(c.w.Reload(nil, w.sets[c.set]))
			}
		}
		c.to(len(log))
		c.tell(c.w.Settle(nil, w.end.Add(24*time.Hour)))
		if n := c.w.Groups(); n != 0 {
			w.Fatalf("%d groups are held after everything settled", n)
		}
	}
	return last
}

// instance is who owns a partition of the signals.
type instance struct {
	*world
	log   []entry
	marks []time.Time // the watermark before each record
	next  int
	w     *Windows

	decoder SignalDecoder
	set     int
	owner   int
	last    map[string]Alert // what was told last of each alert
}

func (c *instance) to(end int) {
	for ; c.next < end; c.next++ {
		c.marks = append(c.marks[:c.next], c.w.Watermark())
		c.tell(c.feed(c.next))
	}
}

// restart begins from the last commit, which lies some records back.
func (c *instance) restart(back int) {
	c.next = max(0, c.next-back)
	mark := c.w.Watermark()
	if c.next < len(c.marks) {
		mark = c.marks[c.next]
	}
	c.w = NewWindows(c.sets[c.set], plainHasher{}, testLateness, c.opts)
	from := 0
	if !mark.IsZero() {
		c.w.Restore(mark)
		start := mark.Add(-Rewind(c.sets[c.set], testLateness))
		from, _ = slices.BinarySearchFunc(c.log, start, func(e entry, at time.Time) int { return e.at.Compare(at) })
	}
	for i := from; i < c.next; i++ {
		c.feed(i)
	}
	c.saw("rebuilt windows", c.next > from)
}

func (c *instance) feed(i int) []Alert {
	signals, p, err := c.decoder.Decode(c.log[i].value)
	if err != nil {
		c.Fatal(err)
	}
	if p != nil {
		return c.w.Progress(nil, p)
	}
	var said []Alert
	for i := range signals {
		said = c.w.Observe(said, &signals[i])
	}
	return said
}

func (c *instance) tell(said []Alert) {
	for _, a := range said {
		c.last[a.ID] = a
	}
}
