package detect

import (
	"slices"
	"sort"
)

// unordered keeps the events since the last until event, and gives up the oldest as long
// as the rest still has an event for every step. Those given up stay for going back.
type unordered struct {
	gather
	queue []taken
	gone  int   // how many were before the queue
	head  int   // the first that is in
	need  []int // events for each set of steps
	have  []int
	best  int64
}

// taken is an event with what was before it.
type taken struct {
	time int64
	mask uint32
	best int64
	head int // with those gone
}

func newUnordered(d *Detector) *unordered {
	m := &unordered{gather: gather{d: d}, need: make([]int, 1<<len(d.Steps)), have: make([]int, 1<<len(d.Steps))}
	for set := range m.need {
		for i := range d.Steps {
			if set&(1<<i) != 0 {
				m.need[set] += d.Steps[i].Count
			}
		}
	}
	m.reset()
	return m
}

func (m *unordered) add(p *point, e end) {
	if e == oldest {
		return
	}
	if m.gather.add(p) {
		m.apply()
	}
	m.put(p)
}

func (m *unordered) drop(p *point, e end) bool {
	if e == oldest {
		return true
	}
	at := p.time()
	m.gather.drop(at)
	for len(m.queue) > 0 {
		n := len(m.queue) - 1
		q := m.queue[n]
		if q.time < at {
			break
		}
		if m.head <= n {
			m.count(q.mask, -1)
		}
		head := max(0, q.head-m.gone)
		for i := head; i < min(m.head, n); i++ {
			m.count(m.queue[i].mask, 1)
		}
		m.queue, m.head, m.best = m.queue[:n], head, q.best
	}
	return true
}

func (m *unordered) forget(at int64) {
	for m.head < len(m.queue) && m.queue[m.head].time <= at {
		m.count(m.queue[m.head].mask, -1)
		m.head++
	}
	n := sort.Search(m.head, func(i int) bool { return m.queue[i].time > at })
	if n > len(m.queue)/2 {
		m.queue = slices.Delete(m.queue, 0, n)
		m.gone += n
		m.head -= n
	}
}

func (m *unordered) reset() {
	m.queue, m.gone, m.head = m.queue[:0], 0, 0
	clear(m.have)
	m.best, m.mask = never64, 0
}

func (m *unordered) holds(low int64) (float64, bool) {
	if m.mask != 0 {
		m.apply()
	}
	return float64(m.need[len(m.need)-1]), m.best > low
}

func (m *unordered) apply() {
	steps, out := m.mask&^m.untilBit(), 0
	m.queue = append(m.queue, taken{m.first.time(), steps, m.best, m.head + m.gone})
	m.count(steps, 1)
	for m.enough() {
		oldest := m.queue[m.head]
		m.best = max(m.best, oldest.time)
		m.count(oldest.mask, -1)
		if !m.enough() {
			m.count(oldest.mask, 1)
			break
		}
		m.head++
	}
	if m.mask != steps { // it ends what came before, and may begin what comes
		out = len(m.queue) - 1
	}
	for ; m.head < out; m.head++ {
		m.count(m.queue[m.head].mask, -1)
	}
	m.mask = 0
}

func (m *unordered) count(mask uint32, n int) {
	for set := range m.have {
		if uint32(set)&mask != 0 {
			m.have[set] += n
		}
	}
}

// enough reports whether different events can take all steps: every set of steps has
// as many events as its steps count (Hall).
func (m *unordered) enough() bool {
	for set, need := range m.need {
		if m.have[set] < need {
			return false
		}
	}
	return true
}
