package detect

import (
	"cmp"
	"slices"
	"sort"
)

// block holds points in order, packed. Its first word is the base of their times; each point is a
// key, which is time since the base, stream and lowest bit of the value, then the identity's two
// words, and where the rule looks at values the two of its value. The collector has nothing to scan.
type block []uint32

const (
	maxWords = 2048 // of a block: 8 KiB

	baseBits = 20            // bases are whole units of 17 minutes
	timeBits = 27            // a block reaches 37 hours
	keyBits  = 32 - timeBits // stream and value
)

// layout is how long a point is.
type layout int

const (
	narrow layout = 3
	wide   layout = 5 // with the value
)

// wide reports whether the detector looks at more of a value than its lowest bit.
func (d *Detector) wide() bool {
	return d.Kind == DetectDistinct || d.Kind == DetectSum || d.Kind == DetectScore ||
		slices.ContainsFunc(d.Steps, func(s Step) bool { return s.joint }) ||
		slices.ContainsFunc(d.Parts, func(d Detector) bool { return d.wide() })
}

func (l layout) count(b block) int {
	if l == wide { // a constant divides faster
		return (len(b) - 1) / int(wide)
	}
	return (len(b) - 1) / int(narrow)
}

func (l layout) most() int { return (maxWords - 1) / int(l) }

func (b block) base() int64 { return int64(int32(b[0])) << baseBits }

// fits reports whether a time can be in the block.
func (b block) fits(at int64) bool { return uint64(at-b.base()) < 1<<timeBits }

func (b block) timeAt(w int) int64 { return b.base() + int64(b[w]>>keyBits) }

// at is the point whose first word is w.
func (b block) at(l layout, w int) point {
	key := b[w]
	p := point{
		stamp: (b.base()+int64(key>>keyBits))<<8 | int64(key>>1)&(maxStreams-1),
		id:    uint64(b[w+1])<<32 | uint64(b[w+2]), value: uint64(key & 1),
	}
	if l == wide {
		p.value = uint64(b[w+3])<<32 | uint64(b[w+4])
	}
	return p
}

func (b block) set(l layout, w int, p *point) {
	b[w] = uint32(p.time()-b.base())<<keyBits | uint32(p.stream())<<1 | uint32(p.value&1)
	b[w+1], b[w+2] = uint32(p.id>>32), uint32(p.id)
	if l == wide {
		b[w+3], b[w+4] = uint32(p.value>>32), uint32(p.value)
	}
}

// newBlock has a base that leaves room for points which come late.
func newBlock(at int64, words int) block {
	b := make(block, 1, words)
	b[0] = uint32(int32(at>>baseBits - 1))
	return b
}

// grown has room for n words more, and for as few as the allocator gives beyond a quarter.
func (b block) grown(n int) block {
	if len(b)+n <= cap(b) {
		return b
	}
	more := max(n, min(len(b)/4, maxWords-len(b)))
	out := append(block(nil), make(block, len(b)+more)...)
	return out[:copy(out, b)]
}

// series are the points of a group, as it is read. Most have one block.
type series struct {
	layout
	older []block
	last  block
}

func (s *series) block(k int) block {
	if k < len(s.older) {
		return s.older[k]
	}
	return s.last
}

func (s *series) len() int {
	n := s.count(s.last)
	for _, b := range s.older {
		n += s.count(b)
	}
	return n
}

// spot is a place in a series: before point i of block k, or behind its last.
type spot struct{ k, i int }

// index is how many points lie before a spot.
func (s *series) index(at spot) int {
	n := at.i
	for _, b := range s.older[:at.k] {
		n += s.count(b)
	}
	return n
}

// over is by how many points the series is above a bound.
func (s *series) over(most int) int {
	if (len(s.older)+1)*s.most() <= most { // the usual case needs no counting
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
	return spot{at.k - 1, s.count(s.older[at.k-1]) - 1}, true // no older block is empty
}

// from is the place of the point at a spot, or of the next one where a block ends there.
func (s *series) from(at spot) (spot, bool) {
	if at.k < len(s.older) && at.i == s.count(s.older[at.k]) {
		at = spot{at.k + 1, 0}
	}
	return at, at.i < s.count(s.block(at.k))
}

// at is the point at a place.
func (s *series) at(at spot) point { return s.block(at.k).at(s.layout, 1+at.i*int(s.layout)) }

// newest is the last point; the series has one.
func (s *series) newest() point { return s.last.at(s.layout, len(s.last)-int(s.layout)) }

// first is the index of the first point at or after a time.
func (s *series) first(at int64) int {
	k := sort.Search(len(s.older), func(k int) bool { b := s.older[k]; return b.timeAt(len(b)-int(s.layout)) >= at })
	b := s.block(k)
	low, high := 0, s.count(b)
	for low < high {
		if mid := (low + high) / 2; b.timeAt(1+mid*int(s.layout)) < at {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return s.index(spot{k, low})
}

// find is where a point is, or belongs.
func (s *series) find(p *point) (at spot, there bool) {
	k := sort.Search(len(s.older), func(k int) bool {
		b := s.older[k]
		q := b.at(s.layout, len(b)-int(s.layout))
		return comparePoints(&q, p) >= 0
	})
	b := s.block(k)
	low, high := 0, s.count(b)
	for low < high {
		mid := (low + high) / 2
		w := 1 + mid*int(s.layout)
		c := cmp.Compare(b.timeAt(w), p.time())
		if c == 0 {
			q := b.at(s.layout, w)
			c = comparePoints(&q, p)
		}
		switch {
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

func (s *series) merge(k int, points []point, spots []spot) {
	b, l := s.block(k), int(s.layout)
	if len(b) == 0 {
		b = newBlock(points[0].time(), 1+l*min(len(points), s.most()))
	}
	n, first, last := s.count(b), points[0].time(), points[len(points)-1].time()
	if n+len(points) > s.most() || !b.fits(first) || !b.fits(last) {
		s.split(k, b, points, spots)
		return
	}
	b = b.grown(l * len(points))
	words := b[:len(b)+l*len(points)]
	end := len(b)
	for j := len(points) - 1; j >= 0; j-- {
		at := 1 + spots[j].i*l
		copy(words[at+(j+1)*l:], words[at:end])
		words.set(s.layout, at+j*l, &points[j])
		end = at
	}
	s.replace(k, words)
}

// split merges points into a block that cannot take them all, which becomes several.
func (s *series) split(k int, b block, points []point, spots []spot) {
	l, head := int(s.layout), 1+spots[0].i*int(s.layout)
	most, size := s.most(), maxWords
	now, tail := b[:head], append(b[:1:1], b[head:]...)
	if len(tail) > 1 { // leave room for what comes between
		n := s.count(b) + len(points)
		most = n/(n/(most*7/8)+1) + 1
		size = 1 + l*most
		now = append(make(block, 0, max(head, size)), now...)
	}
	if head == 1 {
		now = nil
	}
	var out []block
	left := len(points) + (len(tail)-1)/l
	add := func(p *point) {
		if now == nil || s.count(now) >= most || !now.fits(p.time()) {
			words := 1 + l*min(left, most)
			if now != nil {
				if s.count(now) >= most { // more will come
					words = size
				}
				out = append(out, now)
			}
			now = newBlock(p.time(), words)
		}
		left--
		now = now.grown(l)
		now = now[:len(now)+l]
		now.set(s.layout, len(now)-l, p)
	}
	for j, w := 0, 1; j < len(points) || w < len(tail); {
		if j < len(points) && 1+(spots[j].i-spots[0].i)*l <= w {
			add(&points[j])
			j++
			continue
		}
		p := tail.at(s.layout, w)
		add(&p)
		w += l
	}
	s.replace(k, append(out, now)...)
}

// replace puts blocks in the place of one.
func (s *series) replace(k int, blocks ...block) {
	switch n := len(blocks); {
	case k == len(s.older):
		s.older, s.last = append(s.older, blocks[:n-1]...), blocks[n-1]
	case n == 1:
		s.older[k] = blocks[0]
	default:
		s.older = slices.Replace(s.older, k, k+1, blocks...)
	}
}

// drop gives up the n oldest points.
func (s *series) drop(n int) {
	k := 0
	for ; k < len(s.older) && n >= s.count(s.older[k]); k++ {
		n -= s.count(s.older[k])
	}
	if s.older = slices.Delete(s.older, 0, k); len(s.older) == 0 {
		s.older = nil
	}
	if n == 0 {
		return
	}
	b := s.block(0)
	b = slices.Delete(b, 1, 1+n*int(s.layout))
	switch {
	case len(b) == 1:
		b = nil
	case cap(b) > 64 && cap(b) > 4*len(b):
		b = slices.Clone(b)
	}
	s.replace(0, b)
}

// reader reads a series by index. It remembers the block where it was.
type reader struct {
	series
	k, from, to int // the block at hand, and which points it has
	now         block
}

func (s *series) reader() reader {
	r := reader{series: *s, now: s.block(0)}
	r.to = s.count(r.now)
	return r
}

// word is where point i begins in the block at hand.
func (r *reader) word(i int) int {
	for i >= r.to {
		r.k++
		r.now, r.from = r.block(r.k), r.to
		r.to += r.count(r.now)
	}
	for i < r.from {
		r.k--
		r.now, r.to = r.block(r.k), r.from
		r.from -= r.count(r.now)
	}
	return 1 + (i-r.from)*int(r.layout)
}

func (r *reader) point(i int) point {
	w := r.word(i)
	return r.now.at(r.layout, w)
}

func (r *reader) time(i int) int64 {
	w := r.word(i)
	return r.now.timeAt(w)
}
