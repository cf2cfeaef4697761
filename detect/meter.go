package detect

import (
	"math"
	"math/bits"
)

// point is a Point as a window keeps it. Within a group and a millisecond 64 bits of a keyed
// hash tell events apart.
type point struct {
	stamp int64 // time in milliseconds, times 256, plus the stream
	id    uint64
	value uint64
}

func (p *point) time() int64  { return p.stamp >> 8 }
func (p *point) stream() uint { return uint(p.stamp & 255) }

// sameEvent reports whether two points are of one event.
func (p *point) sameEvent(q *point) bool { return p.id == q.id && p.time() == q.time() }

// meter measures a detector over a run of points that moves through a group's points.
type meter interface {
	// add takes the point after those that are in, or one before them that was dropped.
	add(p *point, e end)
	// drop gives up the newest or the oldest point, the newest by whole milliseconds. False
	// when the meter does not know any more what was before.
	drop(p *point, e end) bool
	// forget says that no window will reach back to a time.
	forget(at int64)
	// holds judges the run whose points lie behind low, up to the newest of a millisecond.
	holds(low int64) (value float64, ok bool)
	// reset empties the run.
	reset()
}

// end is one of a run.
type end bool

const (
	oldest end = false
	newest end = true
)

func newMeter(d *Detector) meter {
	switch d.Kind {
	case DetectDistinct:
		return &distinctMeter{valued: valued{uint(d.first), uint(d.also)}, need: int(d.Threshold)}
	case DetectSum:
		return &sumMeter{valued: valued{uint(d.first), uint(d.also)}, need: d.Threshold}
	case DetectRatio:
		return &ratioMeter{stream: uint(d.first), d: d}
	case DetectSequence:
		if d.Ordered {
			return newOrdered(d)
		}
		return newUnordered(d)
	case DetectAll, DetectAny:
		m := &partsMeter{any: d.Kind == DetectAny}
		for i := range d.Parts {
			m.parts = append(m.parts, newMeter(&d.Parts[i]))
		}
		return m
	}
	return &countMeter{stream: uint(d.first), need: int(d.Threshold)}
}

// symmetric meters forget what leaves the run, at either end.
type symmetric struct{}

func (symmetric) forget(int64) {}

type countMeter struct {
	symmetric
	stream  uint
	n, need int
}

func (m *countMeter) add(p *point, _ end) {
	if p.stream() == m.stream {
		m.n++
	}
}

func (m *countMeter) drop(p *point, _ end) bool {
	if p.stream() == m.stream {
		m.n--
	}
	return true
}
func (m *countMeter) holds(int64) (float64, bool) { return float64(m.n), m.n >= m.need }
func (m *countMeter) reset()                      { m.n = 0 }

// valued are the points of what has values: its own, and those of a count that say one too.
type valued struct{ stream, also uint }

func (v *valued) has(p *point) bool {
	return p.stream() == v.stream || p.stream() == v.also && p.value != 0
}

type distinctMeter struct {
	symmetric
	valued
	need int
	seen tally
}

func (m *distinctMeter) add(p *point, _ end) {
	if m.has(p) {
		m.seen.add(p.value)
	}
}

func (m *distinctMeter) drop(p *point, _ end) bool {
	if m.has(p) {
		m.seen.drop(p.value)
	}
	return true
}

func (m *distinctMeter) holds(int64) (float64, bool) {
	return float64(m.seen.n), m.seen.n >= m.need
}
func (m *distinctMeter) reset() { m.seen.reset() }

// sumMeter adds in thousandths: whole numbers have the same sum in every order.
type sumMeter struct {
	symmetric
	valued
	high, low uint64
	need      float64
}

// maxAddend is the most that a point may add.
const maxAddend = 1e11

func thousandths(p *point) uint64 {
	x := math.Float64frombits(p.value)
	if !(x > 0) { // NaN too
		return 0
	}
	return uint64(math.Round(min(x, maxAddend) * 1000))
}

func (m *sumMeter) add(p *point, _ end) {
	if m.has(p) {
		var carry uint64
		m.low, carry = bits.Add64(m.low, thousandths(p), 0)
		m.high += carry
	}
}

func (m *sumMeter) drop(p *point, _ end) bool {
	if m.has(p) {
		var borrow uint64
		m.low, borrow = bits.Sub64(m.low, thousandths(p), 0)
		m.high -= borrow
	}
	return true
}

func (m *sumMeter) holds(int64) (float64, bool) {
	x := (float64(m.high)*(1<<64) + float64(m.low)) / 1000
	return x, x >= m.need
}
func (m *sumMeter) reset() { m.high, m.low = 0, 0 }

type ratioMeter struct {
	symmetric
	stream     uint
	d          *Detector
	share, all int
}

func (m *ratioMeter) add(p *point, _ end) {
	if p.stream() == m.stream {
		m.all++
		m.share += int(p.value & 1)
	}
}

func (m *ratioMeter) drop(p *point, _ end) bool {
	if p.stream() == m.stream {
		m.all--
		m.share -= int(p.value & 1)
	}
	return true
}

func (m *ratioMeter) holds(int64) (float64, bool) {
	if m.all == 0 {
		return 0, false
	}
	x := float64(m.share) / float64(m.all)
	return x, x >= m.d.Threshold && float64(m.share) >= m.d.Min && float64(m.all) >= m.d.Total
}
func (m *ratioMeter) reset() { m.share, m.all = 0, 0 }

// partsMeter joins several. The value of all is that of the first part, and that of any the largest
// of those that hold: a point that makes one more hold must not lessen what an alert has shown.
type partsMeter struct {
	parts []meter
	any   bool
}

func (m *partsMeter) add(p *point, e end) {
	for _, part := range m.parts {
		part.add(p, e)
	}
}

func (m *partsMeter) drop(p *point, e end) bool {
	known := true
	for _, part := range m.parts {
		known = part.drop(p, e) && known
	}
	return known
}

func (m *partsMeter) forget(at int64) {
	for _, part := range m.parts {
		part.forget(at)
	}
}

func (m *partsMeter) holds(low int64) (value float64, ok bool) {
	held := 0
	for _, part := range m.parts {
		x, on := part.holds(low)
		if !on {
			continue
		}
		if held == 0 || m.any {
			value = max(value, x)
		}
		held++
	}
	return value, held == len(m.parts) || m.any && held > 0
}

func (m *partsMeter) reset() {
	for _, part := range m.parts {
		part.reset()
	}
}
