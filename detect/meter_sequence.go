package detect

import "math"

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

// untilBit is the bit of the until stream: that after the steps.
func (g *gather) untilBit() uint32 {
	if !g.d.Until {
		return 0
	}
	return 1 << len(g.d.Steps)
}

// ordered keeps for each element of a sequence (a step stands there as often as it
// counts) the latest possible start of a match that ends with it.
type ordered struct {
	gather
	elements []uint8 // the step of each
	shared   int     // how many come before the first that is compared
	starts   []int64 // of the shared elements
	byValue  map[uint64][]int64
	best     int64 // latest start of a whole match
	purge    int   // how many values may be there before old ones go
}

func newOrdered(d *Detector) *ordered {
	m := &ordered{gather: gather{d: d}, purge: minPurge}
	m.shared = -1
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

func (m *ordered) add(p *point) {
	if m.gather.add(p) {
		m.apply()
	}
	m.put(p)
}

func (m *ordered) drop(*point)      {}
func (m *ordered) reversible() bool { return false }

func (m *ordered) reset() {
	m.forget()
	m.best, m.mask = never64, 0
}

func (m *ordered) forget() {
	for i := range m.starts {
		m.starts[i] = never64
	}
	clear(m.byValue)
}

func (m *ordered) holds(low int64) (float64, bool) {
	if m.mask != 0 {
		m.apply()
	}
	if len(m.byValue) > m.purge { // values that only old events have
		for v, starts := range m.byValue {
			old := true
			for _, s := range starts {
				old = old && s <= low
			}
			if old {
				delete(m.byValue, v)
			}
		}
		m.purge = max(minPurge, 2*len(m.byValue))
	}
	return float64(len(m.elements)), m.best > low
}

// apply takes the event at hand: from the last element to the first, so that it is one of them only.
func (m *ordered) apply() {
	at, undone := m.first.time(), m.mask&m.untilBit() != 0
	for s := range m.d.Steps {
		if m.mask&(1<<s) == 0 || !m.d.Steps[s].joint {
			continue
		}
		v, first := m.values[s], true
		for t := range s { // each value once
			first = first && !(m.mask&(1<<t) != 0 && m.d.Steps[t].joint && m.values[t] == v)
		}
		if first {
			m.extend(v, at, undone)
		}
	}
	n := len(m.elements)
	for i := m.shared - 1; i >= 0; i-- {
		if m.mask&(1<<m.elements[i]) == 0 || undone && i != n-1 {
			continue
		}
		start := at
		if i > 0 {
			start = m.starts[i-1]
		}
		m.starts[i] = max(m.starts[i], start)
		if i == n-1 {
			m.best = max(m.best, start)
		}
	}
	if undone {
		m.forget()
		m.begin(at)
	}
	m.mask = 0
}

// begin takes an until event as the start of a new match.
func (m *ordered) begin(at int64) {
	if len(m.elements) < 2 || m.mask&(1<<m.elements[0]) == 0 {
		return
	}
	if m.shared > 0 {
		m.starts[0] = at
		return
	}
	m.value(m.values[m.elements[0]])[0] = at
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
func (m *ordered) extend(v uint64, at int64, undone bool) {
	starts := m.value(v)
	for i := len(starts) - 1; i >= 0; i-- {
		element, last := i+m.shared, i == len(starts)-1
		step := m.elements[element]
		if m.mask&(1<<step) == 0 || m.values[step] != v || undone && !last {
			continue
		}
		start := at
		switch {
		case i > 0:
			start = starts[i-1]
		case m.shared > 0:
			start = m.starts[m.shared-1]
		}
		starts[i] = max(starts[i], start)
		if last {
			m.best = max(m.best, start)
		}
	}
}

// unordered keeps the events since the last until event, and drops the oldest as long
// as the rest still has an event for every step.
type unordered struct {
	gather
	queue []taken
	count []int // events by which steps they match
	best  int64
}

type taken struct {
	time int64
	mask uint32
}

func newUnordered(d *Detector) *unordered {
	m := &unordered{gather: gather{d: d}, count: make([]int, 1<<len(d.Steps))}
	m.reset()
	return m
}

func (m *unordered) add(p *point) {
	if m.gather.add(p) {
		m.apply()
	}
	m.put(p)
}

func (m *unordered) drop(*point)      {}
func (m *unordered) reversible() bool { return false }

func (m *unordered) reset() {
	m.queue = m.queue[:0]
	clear(m.count)
	m.best, m.mask = never64, 0
}

func (m *unordered) holds(low int64) (float64, bool) {
	if m.mask != 0 {
		m.apply()
	}
	n := 0
	for n < len(m.queue) && m.queue[n].time <= low {
		m.count[m.queue[n].mask]--
		n++
	}
	m.queue = m.queue[n:]
	need := 0
	for i := range m.d.Steps {
		need += m.d.Steps[i].Count
	}
	return float64(need), m.best > low
}

func (m *unordered) apply() {
	steps := m.mask &^ m.untilBit()
	m.push(steps)
	if m.mask != steps {
		m.queue = m.queue[:0]
		clear(m.count)
		m.push(steps)
	}
	m.mask = 0
}

func (m *unordered) push(steps uint32) {
	if steps == 0 {
		return
	}
	m.queue = append(m.queue, taken{m.first.time(), steps})
	m.count[steps]++
	if !m.enough() {
		return
	}
	for {
		m.best = max(m.best, m.queue[0].time)
		m.count[m.queue[0].mask]--
		if !m.enough() {
			m.count[m.queue[0].mask]++
			return
		}
		m.queue = m.queue[1:]
	}
}

// enough reports whether different events can take all steps: every set of steps has
// as many events as its steps count (Hall).
func (m *unordered) enough() bool {
	for set := 1; set < len(m.count); set++ {
		need, have := 0, 0
		for i := range m.d.Steps {
			if set&(1<<i) != 0 {
				need += m.d.Steps[i].Count
			}
		}
		for mask := 1; mask < len(m.count); mask++ {
			if mask&set != 0 {
				have += m.count[mask]
			}
		}
		if have < need {
			return false
		}
	}
	return true
}
