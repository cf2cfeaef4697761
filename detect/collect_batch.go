package detect

import "slices"

// gathered is what a Collector holds of the batch in hand: few lists of small things that refer
// to each other by place, whatever the number of groups. Their memory is used again.
type gathered struct {
	signals []gatheredSignal
	values  []GroupValue // of the signals
	pairs   []pair
	events  []gatheredEvent
	members []gatheredMember
	points  []gatheredPoint
	facts   []SignalEvidence // of events that are shown
	shown   []shownTo
	context []GroupValue // of what is shown
}

// gatheredSignal is the signal of a group.
type gatheredSignal struct {
	tenant                  string
	group                   [16]byte
	values                  int32 // where they begin; they end where the next signal's do
	first, last             int32 // pairs, from one; 0 for none
	pairs, events, evidence int32 // how many
	urgent                  bool
}

// pair is a rule in a signal.
type pair struct {
	rule, signal int32
	next         int32 // of the signal, from one; 0 for none
	points       int32 // how many
	matches      int32 // how many events it has points of
	place        int32 // in the signal
	bucket       int64 // of the last event
	shown        uint8 // how many events have evidence: of this bucket,
	allShown     uint8 // and all
	gone         bool  // given up
}

type gatheredEvent struct {
	SignalEvent
	shown int32 // place of its facts, or -1
}

// gatheredMember is an event in a signal.
type gatheredMember struct {
	signal, event int32
	place         int32  // in the signal
	shown         uint32 // to how many rules
	used          bool   // by a rule that was not given up
}

// gatheredPoint is a point whose Event is the place of a member.
type gatheredPoint struct {
	Point
	pair int32
}

// shownTo is evidence of a member for a rule.
type shownTo struct {
	member      uint32
	pair        int32
	from, until int32 // of the context
}

// flushed is the memory of the signals that Flush returned.
type flushed struct {
	taken    bool
	out      []*Signal
	signals  []Signal
	rules    []RulePoints
	points   []Point
	events   []SignalEvent
	evidence []SignalEvidence
	shown    []EvidenceRule
}

// signal finds or makes the signal of the event's group.
func (c *Collector) signal(ev *Event, rule *Rule) int32 {
	h := &c.hashes[rule.Grouping]
	if h.signal > 0 {
		return h.signal - 1
	}
	key := collectKey{rule.Grouping, h.group}
	i, ok := c.groups[key]
	if !ok {
		i = int32(len(c.signals))
		c.groups[key] = i
		c.signals = append(c.signals, gatheredSignal{tenant: ev.Public(Tenant).Value, group: h.group, values: int32(len(c.values))})
		for _, t := range rule.GroupBy {
			c.values = append(c.values, ev.groupPublic(t))
		}
	}
	h.signal = i + 1
	return i
}

// pair finds or makes the place of a rule's points in a signal.
func (c *Collector) pair(signal, rule int32) int32 {
	s := &c.signals[signal]
	for i := s.first; i > 0; i = c.pairs[i-1].next {
		if c.pairs[i-1].rule == rule {
			return i - 1
		}
	}
	c.pairs = append(c.pairs, pair{rule: rule, signal: signal})
	n := int32(len(c.pairs))
	if s.last > 0 {
		c.pairs[s.last-1].next = n
	} else {
		s.first = n
	}
	s.last = n
	s.pairs++
	return n - 1
}

// drop gives a pair up. What it holds is left out when the batch is flushed.
func (c *Collector) drop(i int32) {
	p := &c.pairs[i]
	p.gone = true
	s := &c.signals[p.signal]
	s.pairs--
	before := int32(0)
	for at := s.first; at != i+1; at = c.pairs[at-1].next {
		before = at
	}
	if before > 0 {
		c.pairs[before-1].next = p.next
	} else {
		s.first = p.next
	}
	if s.last == i+1 {
		s.last = before
	}
}

// point adds a point of the event at hand.
func (c *Collector) point(pair int32, step uint8, value uint64) {
	p := &c.pairs[pair]
	h := &c.hashes[c.rs.Rules()[p.rule].Grouping]
	if h.member == 0 {
		c.members = append(c.members, gatheredMember{signal: p.signal, event: int32(len(c.events)) - 1})
		h.member = int32(len(c.members))
	}
	p.points++
	c.points = append(c.points, gatheredPoint{Point{Value: value, Event: uint32(h.member) - 1, Step: step}, pair})
}

// show reports whether an event of a bucket is to have evidence: the first few of each in a row.
func (p *pair) show(bucket int64) bool {
	if p.bucket != bucket {
		p.bucket, p.shown = bucket, 0
	}
	if p.shown >= maxEvidence || p.allShown >= 4*maxEvidence {
		return false
	}
	p.shown, p.allShown = p.shown+1, p.allShown+1
	return true
}

// show adds the event at hand as evidence.
func (c *Collector) show(ev *Event, rule *Rule, pair int32, member uint32) {
	e := &c.events[len(c.events)-1]
	if e.shown < 0 {
		e.shown = int32(len(c.facts))
		c.facts = append(c.facts, factsOf(ev))
	}
	from := len(c.context)
	for _, f := range rule.Context {
		if raw, ok := ev.raw(f); ok {
			c.context = append(c.context, ev.publicValue(f, raw))
		}
	}
	c.shown = append(c.shown, shownTo{member: member, pair: pair, from: int32(from), until: int32(len(c.context))})
}

func factsOf(ev *Event) SignalEvidence {
	e := SignalEvidence{
		EventID: ev.Public(ID).Value, Server: ev.Public(ServerName).Value,
		Type: ev.Enum(Type), Outcome: ev.Enum(Outcome), Tool: ev.Public(MCPTool).Value,
	}
	best := -1.0
	for i := range ev.finds {
		if ev.finds[i].Score > best {
			best, e.Finding = ev.finds[i].Score, ev.finds[i].Cat
		}
	}
	return e
}

// Flush returns the signals of the batch [begin, end) of a source partition, and starts the next
// batch. They hold until an event is added or Release is called.
func (c *Collector) Flush(source int32, begin, end int64) []*Signal {
	c.Release()
	f := &c.flushed
	f.taken = true
	c.number()
	// They do not move any more once something refers to them.
	f.signals, f.rules = slices.Grow(f.signals, len(c.signals)), slices.Grow(f.rules, len(c.pairs))
	f.points, f.events = slices.Grow(f.points, len(c.points)), slices.Grow(f.events, len(c.members))
	f.evidence, f.shown = slices.Grow(f.evidence, len(c.members)), slices.Grow(f.shown, len(c.shown))
	for i := range c.signals {
		g := &c.signals[i]
		until := len(c.values)
		if i+1 < len(c.signals) {
			until = int(c.signals[i+1].values)
		}
		f.signals = append(f.signals, Signal{
			Source: source, Begin: begin, End: end, Tenant: g.tenant, Group: g.group, Values: c.values[g.values:until:until],
			Events: room(&f.events, g.events), Rules: room(&f.rules, g.pairs), Evidence: room(&f.evidence, g.evidence), Urgent: g.urgent,
		})
		s := &f.signals[i]
		for at := g.first; at > 0; at = c.pairs[at-1].next {
			p := &c.pairs[at-1]
			p.place = int32(len(s.Rules))
			s.Rules = append(s.Rules, RulePoints{Rule: c.rs.Rules()[p.rule].Hash, Points: room(&f.points, p.points)})
		}
		if len(s.Rules) > 0 {
			f.out = append(f.out, s)
		}
	}
	c.fill()
	clear(c.groups)
	c.shedder.start()
	return f.out
}

// number gives each event that is used its place in its signal.
func (c *Collector) number() {
	for i := range c.points {
		if p := &c.points[i]; !c.pairs[p.pair].gone {
			c.members[p.Event].used = true
		}
	}
	for i := range c.shown {
		if e := &c.shown[i]; !c.pairs[e.pair].gone {
			c.members[e.member].shown++
		}
	}
	for i := range c.members {
		m := &c.members[i]
		if !m.used {
			continue
		}
		s := &c.signals[m.signal]
		m.place = s.events
		s.events++
		if m.shown > 0 {
			s.evidence++
		}
	}
}

// fill deals events, points and evidence to their signals.
func (c *Collector) fill() {
	f := &c.flushed
	for i := range c.members {
		m := &c.members[i]
		if !m.used {
			continue
		}
		s, e := &f.signals[m.signal], &c.events[m.event]
		s.Events = append(s.Events, e.SignalEvent)
		if m.shown > 0 {
			facts := c.facts[e.shown]
			facts.Event, facts.Rules = uint32(m.place), room(&f.shown, int32(m.shown))
			s.Evidence = append(s.Evidence, facts)
			m.shown = uint32(len(s.Evidence)) - 1 // its place from here on
		}
	}
	for i := range c.points {
		p := &c.points[i]
		if pair := &c.pairs[p.pair]; !pair.gone {
			rp := &f.signals[pair.signal].Rules[pair.place]
			p.Event = uint32(c.members[p.Event].place)
			rp.Points = append(rp.Points, p.Point)
		}
	}
	for i := range c.shown {
		e := &c.shown[i]
		if pair := &c.pairs[e.pair]; !pair.gone {
			to := &f.signals[pair.signal].Evidence[c.members[e.member].shown]
			to.Rules = append(to.Rules, EvidenceRule{Rule: uint32(pair.place), Context: c.context[e.from:e.until:e.until]})
		}
	}
}

// room takes the next n items of a list, and gives them as an empty list.
func room[T any](list *[]T, n int32) []T {
	from := len(*list)
	*list = (*list)[:from+int(n)]
	return (*list)[from : from : from+int(n)]
}

// Release takes the memory of what Flush returned back. Texts in it may be parts of records.
func (c *Collector) Release() {
	f := &c.flushed
	if !f.taken {
		return
	}
	c.gathered = gathered{
		signals: emptied(c.signals), values: emptied(c.values), pairs: emptied(c.pairs), events: emptied(c.events), members: emptied(c.members),
		points: emptied(c.points), facts: emptied(c.facts), shown: emptied(c.shown), context: emptied(c.context),
	}
	c.flushed = flushed{
		out: emptied(f.out), signals: emptied(f.signals), rules: emptied(f.rules), points: emptied(f.points), events: emptied(f.events),
		evidence: emptied(f.evidence), shown: emptied(f.shown),
	}
}

// maxKept is up to how many items a list keeps its memory.
const maxKept = 1 << 18

// emptied keeps the memory of a list where it is not too much, and nothing that it refers to.
func emptied[T any](list []T) []T {
	if cap(list) > maxKept {
		return nil
	}
	clear(list)
	return list[:0]
}
