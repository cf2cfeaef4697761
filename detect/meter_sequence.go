package detect

import (
	"math"
	"slices"
	"sort"
)

const (
	never64  = math.MinInt64
	minPurge = 1024
)

// gather puts the points of one event together: they are neighbours.
type gather struct {
	first  point
	mask   uint32
	values [maxSteps]uint64 // by step
	d      *Detector
}

// add returns true when the event before p is complete; then apply it, and call start.
func (g *gather) add(p *point) (full bool) {
	return g.mask != 0 && !g.first.sameEvent(p)
}

// put takes p into the event at hand.
func (g *gather) put(p *point) {
	s := p.stream() - uint(g.d.first)
	if s > uint(len(g.d.Steps)) || s == uint(len(g.d.Steps)) && !g.d.Until { // of another part
		return
	}
	if g.mask == 0 {
		g.first = *p
	}
	g.mask |= 1 << s
	if s < maxSteps {
		g.values[s] = p.value
	}
}

// drop gives up the event at hand where it is not older than a time.
func (g *gather) drop(at int64) {
	if g.mask != 0 && g.first.time() >= at {
		g.mask = 0
	}
}

// untilBit is the bit of the until stream: that after the steps.
func (g *gather) untilBit() uint32 {
	if !g.d.Until {
		return 0
	}
	return 1 << len(g.d.Steps)
}

// ordered keeps for each element of a sequence (a step stands there as often as it
// counts) the latest possible start of a match that ends with it. What lies before a window
// never helps in it, so nothing is dropped at the oldest end; at the newest the log leads back.
type ordered struct {
	gather
	elements []uint8 // the step of each
	shared   int     // how many come before the first that is compared
	starts   []int64 // of the shared elements
	byValue  map[uint64][]int64
	best     int64 // latest start of a whole match
	purge    int   // how many values may be there before old ones go

	log  []change
	run  int   // points in the run
	most int   // changes that the log may hold
	lost int64 // the log does not lead back to this time
}

// change is what an event overwrote: the start of an element, or, behind all, the best.
type change struct {
	at, old int64
	value   uint64
	element int
}

// The log takes no more memory than the run, or than minLog, and never more than maxLog. Who goes
// back further begins anew.
const (
	minLog = 64
	maxLog = 1 << 15
)

func newOrdered(d *Detector) *ordered {
	m := &ordered{gather: gather{d: d}, shared: -1, most: maxLog}
	for i := range d.Steps {
		if d.Steps[i].joint && m.shared < 0 {
			m.shared = len(m.elements)
		}
		for range d.Steps[i].Count {
			m.elements = append(m.elements, uint8(i))
		}
	}
	if m.shared < 0 {
		m.shared = len(m.elements)
	} else {
		m.byValue = map[uint64][]int64{}
	}
	m.starts = make([]int64, m.shared)
	m.reset()
	return m
}

func (m *ordered) add(p *point, e end) {
	m.run++
	if e == oldest {
		return // it never left
	}
	if m.gather.add(p) {
		m.apply()
	}
	m.put(p)
}

func (m *ordered) drop(p *point, e end) bool {
	m.run--
	if e == oldest {
		return true
	}
	at := p.time()
	if at <= m.lost {
		return false
	}
	m.gather.drop(at)
	n := len(m.log)
	for ; n > 0 && m.log[n-1].at >= at; n-- {
		switch c := &m.log[n-1]; {
		case c.element == len(m.elements):
			m.best = c.old
		case c.element < m.shared:
			m.starts[c.element] = c.old
		default:
			if starts := m.byValue[c.value]; starts != nil { // else it is too old to matter
				starts[c.element-m.shared] = c.old
			}
		}
	}
	m.log = m.log[:n]
	return true
}

func (m *ordered) forget(at int64) {
	if n := sort.Search(len(m.log), func(i int) bool { return m.log[i].at > at }); n > len(m.log)/2 {
		m.log = slices.Delete(m.log, 0, n)
	}
	if len(m.byValue) <= m.purge {
		return
	}
	for v, starts := range m.byValue { // values that only old events have
		if slices.Max(starts) <= at {
			delete(m.byValue, v)
		}
	}
	m.purge = max(minPurge, 2*len(m.byValue))
}

func (m *ordered) reset() {
	m.clear(never64)
	m.best, m.mask, m.purge, m.run = never64, 0, minPurge, 0
}

// clear undoes every match that has begun, up to a time.
func (m *ordered) clear(at int64) {
	for i := range m.starts {
		m.starts[i] = never64
	}
	clear(m.byValue)
	m.log, m.lost = m.log[:0], at
}

func (m *ordered) holds(low int64) (float64, bool) {
	if m.mask != 0 {
		m.apply()
	}
	return float64(len(m.elements)), m.best > low
}

// apply takes the event at hand: from the last element to the first, so that it is one of them only.
func (m *ordered) apply() {
	undone := m.mask&m.untilBit() != 0
	for s := range m.d.Steps {
		if m.mask&(1<<s) == 0 || !m.d.Steps[s].joint {
			continue
		}
		v, first := m.values[s], true
		for t := range s { // each value once
			first = first && !(m.mask&(1<<t) != 0 && m.d.Steps[t].joint && m.values[t] == v)
		}
		if first {
			m.extend(v, undone)
		}
	}
	for i := m.shared - 1; i >= 0; i-- {
		if m.mask&(1<<m.elements[i]) == 0 || undone && i != len(m.elements)-1 {
			continue
		}
		start := m.first.time()
		if i > 0 {
			start = m.starts[i-1]
		}
		m.set(&m.starts[i], start, 0, i)
	}
	if undone {
		m.clear(m.first.time())
		m.begin()
	}
	m.mask = 0
}

// set makes the start of an element a later one.
func (m *ordered) set(cell *int64, start int64, value uint64, element int) {
	if start > *cell {
		m.note(*cell, value, element)
		*cell = start
	}
	if n := len(m.elements); element == n-1 && start > m.best {
		m.note(m.best, value, n)
		m.best = start
	}
}

func (m *ordered) note(old int64, value uint64, element int) {
	if n := len(m.log); n >= min(m.most, max(minLog, m.run)) {
		m.lost = m.log[n/2].at
		m.log = slices.Delete(m.log, 0, n/2+1)
	}
	m.log = append(m.log, change{m.first.time(), old, value, element})
}

// begin takes an until event as the start of a new match.
func (m *ordered) begin() {
	if len(m.elements) < 2 || m.mask&(1<<m.elements[0]) == 0 {
		return
	}
	if m.shared > 0 {
		m.starts[0] = m.first.time()
		return
	}
	m.value(m.values[m.elements[0]])[0] = m.first.time()
}

func (m *ordered) value(v uint64) []int64 {
	starts := m.byValue[v]
	if starts == nil {
		starts = make([]int64, len(m.elements)-m.shared)
		for i := range starts {
			starts[i] = never64
		}
		m.byValue[v] = starts
	}
	return starts
}

// extend takes the event at hand for the compared elements with value v.
func (m *ordered) extend(v uint64, undone bool) {
	starts := m.value(v)
	for i := len(starts) - 1; i >= 0; i-- {
		step := m.elements[i+m.shared]
		if m.mask&(1<<step) == 0 || m.values[step] != v || undone && i != len(starts)-1 {
			continue
		}
		start := m.first.time()
		switch {
		case i > 0:
			start = starts[i-1]
		case m.shared > 0:
			start = m.starts[m.shared-1]
		}
		m.set(&starts[i], start, v, i+m.shared)
	}
}
