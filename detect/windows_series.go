package detect

import (
	"cmp"
	"slices"
	"sort"
)

// block holds points in order, packed. Its first word is the base of their times; each point is a
// key, which is time since the base, stream and a bit of the value, then the identity's two words,
// and where a rule looks at values, and the block has more than two, those of its value.
type block struct {
	words []uint32
	n     int
	form  form
}

// cell is where a block lies.
type cell struct {
	ref  uint32
	n    uint16 // points
	size uint8  // of the memory
	form form
}

const (
	maxWords = 2048 // of a block: 8 KiB

	baseBits = 20            // bases are whole units of 17 minutes
	timeBits = 27            // a block reaches 37 hours
	keyBits  = 32 - timeBits // stream and value
)

// form is how a block holds values.
type form uint8

const (
	narrow form = iota // 0 and 1
	wide               // each point its own
	paired             // one of two that the block begins with: most groups have no more
)

// head is how many words come before the points.
func (f form) head() int {
	if f == paired {
		return 5
	}
	return 1
}

// stride is how many words a point has.
func (f form) stride() int {
	if f == wide {
		return 5
	}
	return 3
}

func (f form) most() int { return (maxWords - f.head()) / f.stride() }

func (f form) words(n int) int { return f.head() + n*f.stride() }

// wide reports whether the detector looks at more of a value than its lowest bit.
func (d *Detector) wide() bool {
	return d.Kind == DetectDistinct || d.Kind == DetectSum || d.Kind == DetectScore ||
		slices.ContainsFunc(d.Steps, func(s Step) bool { return s.joint }) ||
		slices.ContainsFunc(d.Parts, func(d Detector) bool { return d.wide() })
}

func (b *block) base() int64 { return int64(int32(b.words[0])) << baseBits }

// begin sets a base that leaves room for points which come late.
func (b *block) begin(at int64) { b.words[0] = uint32(int32(at>>baseBits - 1)) }

// fits reports whether a time can be in the block.
func (b *block) fits(at int64) bool { return uint64(at-b.base()) < 1<<timeBits }

func (b *block) place(i int) int { return b.form.head() + i*b.form.stride() }

func (b *block) time(i int) int64 { return b.base() + int64(b.words[b.place(i)]>>keyBits) }

func (b *block) value(at int) uint64 { return uint64(b.words[at])<<32 | uint64(b.words[at+1]) }

func (b *block) setValue(at int, v uint64) { b.words[at], b.words[at+1] = uint32(v>>32), uint32(v) }

func (b *block) point(i int) point {
	at := b.place(i)
	w := b.words[at : at+3]
	p := point{
		stamp: (b.base()+int64(w[0]>>keyBits))<<8 | int64(w[0]>>1)&(maxStreams-1),
		id:    uint64(w[1])<<32 | uint64(w[2]), value: uint64(w[0] & 1),
	}
	switch b.form {
	case wide:
		p.value = b.value(at + 3)
	case paired:
		p.value = b.value(1 + 2*int(p.value))
	}
	return p
}

func (b *block) set(i int, p *point) {
	at, bit := b.place(i), uint32(p.value&1)
	switch b.form {
	case wide:
		b.setValue(at+3, p.value)
	case paired:
		if bit = 0; p.value != b.value(1) {
			bit = 1
		}
	}
	w := b.words[at : at+3]
	w[0] = uint32(p.time()-b.base())<<keyBits | uint32(p.stream())<<1 | bit
	w[1], w[2] = uint32(p.id>>32), uint32(p.id)
}

// first is the first of some points at or after a time.
func (b *block) first(at int64, low, high int) int {
	if low == high {
		return low
	}
	at -= b.base()
	head, stride := b.form.head(), b.form.stride()
	for low < high {
		if mid := int(uint(low+high) / 2); int64(b.words[head+mid*stride]>>keyBits) < at {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// near is first, for what is not far behind a point.
func (b *block) near(at int64, low int) int {
	for step := 1; ; step *= 2 {
		switch next := low + step; {
		case next >= b.n:
			return b.first(at, low, b.n)
		case b.time(next) >= at:
			return b.first(at, low, next)
		default:
			low = next + 1
		}
	}
}

// twoValues is up to two values.
type twoValues struct {
	values [2]uint64
	n      int
}

// add reports whether the value is one of the two.
func (p *twoValues) add(v uint64) bool {
	for _, x := range p.values[:p.n] {
		if x == v {
			return true
		}
	}
	if p.n == len(p.values) {
		return false
	}
	p.values[p.n] = v
	p.n++
	return true
}

// setPair says which values the block has.
func (b *block) setPair(p *twoValues) {
	b.setValue(1, p.values[0])
	b.setValue(3, p.values[max(0, p.n-1)])
}

// series are the points of a group, as it is read. Most have one block.
type series struct {
	arena  *arena
	layout form // narrow, or wide where some blocks are paired
	older  []cell
	last   cell
}

func (s *series) cell(k int) cell {
	if k < len(s.older) {
		return s.older[k]
	}
	return s.last
}

func (s *series) block(k int) block { return s.view(s.cell(k)) }

func (s *series) view(c cell) block {
	if c.size == 0 {
		return block{form: c.form}
	}
	return block{s.arena.cell(c.ref, c.size), int(c.n), c.form}
}

func (s *series) len() int {
	n := int(s.last.n)
	for i := range s.older {
		n += int(s.older[i].n)
	}
	return n
}

// spot is a place in a series: before point i of block k, or behind its last.
type spot struct{ k, i int }

// index is how many points lie before a spot.
func (s *series) index(at spot) int {
	n := at.i
	for i := range s.older[:at.k] {
		n += int(s.older[i].n)
	}
	return n
}

// over is by how many points the series is above a bound.
func (s *series) over(most int) int {
	if (len(s.older)+1)*narrow.most() <= most { // the usual case needs no counting
		return 0
	}
	return max(0, s.len()-most)
}

// before is the place of the point before a spot.
func (s *series) before(at spot) (spot, bool) {
	if at.i > 0 {
		return spot{at.k, at.i - 1}, true
	}
	if at.k == 0 {
		return spot{}, false
	}
	return spot{at.k - 1, int(s.older[at.k-1].n) - 1}, true // no older block is empty
}

// from is the place of the point at a spot, or of the next one where a block ends there.
func (s *series) from(at spot) (spot, bool) {
	if at.k < len(s.older) && at.i == int(s.older[at.k].n) {
		at = spot{at.k + 1, 0}
	}
	return at, at.i < int(s.cell(at.k).n)
}

// at is the point at a place.
func (s *series) at(at spot) point {
	b := s.block(at.k)
	return b.point(at.i)
}

// newest is the last point; the series has one.
func (s *series) newest() point { return s.at(spot{len(s.older), int(s.last.n) - 1}) }

// first is the index of the first point at or after a time.
func (s *series) first(at int64) int {
	k := sort.Search(len(s.older), func(k int) bool {
		b := s.block(k)
		return b.time(b.n-1) >= at
	})
	b := s.block(k)
	return s.index(spot{k, b.first(at, 0, b.n)})
}

// find is where a point is, or belongs. It lies at a spot or behind it.
func (s *series) find(p *point, from spot) (at spot, there bool) {
	k, low := from.k, from.i
	if k < len(s.older) && !s.reaches(k, p) {
		k, low = k+1, 0
		k += sort.Search(len(s.older)-k, func(i int) bool { return s.reaches(k+i, p) })
	}
	b := s.block(k)
	if low > 0 { // the next of many is near
		low = b.near(p.time(), low)
	} else {
		low = b.first(p.time(), 0, b.n)
	}
	for high := b.n; low < high; {
		q := b.point(low)
		if q.time() != p.time() {
			break
		}
		mid := int(uint(low+high) / 2)
		q = b.point(mid)
		switch c := comparePoints(&q, p); {
		case c == 0:
			return spot{k, mid}, true
		case c < 0:
			low = mid + 1
		default:
			high = mid
		}
	}
	return spot{k, low}, false
}

// reaches reports whether a point lies in an older block, or before it.
func (s *series) reaches(k int, p *point) bool {
	b := s.block(k)
	if at := b.time(b.n - 1); at != p.time() {
		return at > p.time()
	}
	q := b.point(b.n - 1)
	return comparePoints(&q, p) >= 0
}

func comparePoints(a, b *point) int {
	if c := cmp.Compare(a.time(), b.time()); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.stream(), b.stream()), cmp.Compare(a.value, b.value))
}

// put merges points into the series. They are in order, and spots says where they belong.
func (s *series) put(points []point, spots []spot) {
	for end := len(points); end > 0; { // from the newest on, so that the spots before stay right
		k := spots[end-1].k
		from := end - 1
		for from > 0 && spots[from-1].k == k {
			from--
		}
		s.merge(k, points[from:end], spots[from:end])
		end = from
	}
}
