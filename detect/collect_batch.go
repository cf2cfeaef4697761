package detect

// gathered is what a Collector holds of the batch in hand: few lists of small things that refer
// to each other by place, whatever the number of groups. Their memory is used again.
type gathered struct {
	open    bool
	batch   uint32
	signals []gatheredSignal
	pairs   []pair
	events  []gatheredEvent
	points  []gatheredPoint
	facts   []gatheredFacts // of events that are shown
	ids     []byte          // of these events
	context []wireValue     // of all that is shown of them
	shown   []shownTo
	choices []uint16    // of the context, what a rule shows
	naming  []wireValue // of groups
	passing passingSignals
}

// gatheredSignal is the signal of a group.
type gatheredSignal struct {
	hash        [16]byte // of the group
	name        groupName
	first, last int32 // pairs, from one; 0 for none
	pairs       int32 // how many
	urgent      bool  // a critical event that fires by itself is in it
}

// pair is a rule in a signal.
type pair struct {
	rule, signal int32
	next         int32 // of the signal, from one; 0 for none
	points       int32 // how many
	from         int32 // where they begin, once they are dealt
	matches      int32 // how many events it has points of
	bucket       int64 // of the last event
	first, last  int32 // of what is shown, from one; 0 for none
	shown        uint8 // how many events have evidence: of this bucket,
	allShown     uint8 // and all
	alike        uint8 // how many rules before in its pack there are its points, or 0
	gone         bool  // given up
}

type gatheredEvent struct {
	SignalEvent
	facts int32 // place, or -1
}

type gatheredFacts struct {
	wireFacts
	id, context span
	use         textUse
}

// span is a part of a list.
type span struct{ from, until int32 }

// gatheredPoint is a point whose Event is a place in the batch's events.
type gatheredPoint struct {
	Point
	pair int32
}

// shownTo is an event that is shown by a pair.
type shownTo struct {
	facts, next int32
	choices     span
}

// restart begins the next batch.
func (g *gathered) restart() {
	g.passing.restart()
	*g = gathered{
		batch: g.batch + 1, signals: kept(g.signals), pairs: kept(g.pairs), events: kept(g.events), points: kept(g.points), facts: kept(g.facts),
		ids: kept(g.ids), context: kept(g.context), shown: kept(g.shown), choices: kept(g.choices),
		naming: kept(g.naming), passing: g.passing,
	}
}

// pair finds or makes the place of a rule's points in a signal. Events mostly match the same
// rules in the same order, so that it is the next one behind the last.
func (c *Collector) pair(signal, rule int32, last *int32) int32 {
	s := &c.signals[signal]
	i := s.first
	if *last > 0 {
		i = c.pairs[*last-1].next
	}
	if i == 0 || c.pairs[i-1].rule != rule || c.pairs[i-1].gone || c.pairs[i-1].signal != signal {
		for i = s.first; i > 0 && c.pairs[i-1].rule != rule; i = c.pairs[i-1].next {
		}
	}
	if i == 0 {
		c.pairs = append(c.pairs, pair{rule: rule, signal: signal})
		i = int32(len(c.pairs))
		if s.last > 0 {
			c.pairs[s.last-1].next = i
		} else {
			s.first = i
		}
		s.last = i
		s.pairs++
	}
	*last = i
	return i - 1
}

// drop gives a pair up. What it holds is left out when the batch is written.
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
	c.pairs[pair].points++
	c.points = append(c.points, gatheredPoint{Point{Value: value, Event: uint32(len(c.events)) - 1, Step: step}, pair})
}
