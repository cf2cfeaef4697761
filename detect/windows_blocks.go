package detect

import "slices"

// merge puts points into a block.
func (s *series) merge(k int, points []point, spots []spot) {
	c := s.cell(k)
	b := s.view(c)
	if b.n > 0 && b.fits(points[0].time()) && b.fits(points[len(points)-1].time()) {
		if f, values := b.formWith(points); b.n+len(points) <= f.most() {
			s.replace(k, s.insert(c, b, f, &values, points, spots))
			return
		}
	}
	s.split(k, c, b, points, spots)
}

// formWith is the form in which a block can take points. It goes over to a pair when it must
// have other memory anyway.
func (b *block) formWith(points []point) (form, twoValues) {
	var values twoValues
	n := b.n + len(points)
	switch {
	case b.form == paired:
		values.add(b.value(1))
		values.add(b.value(3))
	case b.form == narrow || n < 4 || wide.words(n) <= len(b.words):
		return b.form, values
	default:
		for i := range b.n {
			if !values.add(b.value(b.place(i) + 3)) {
				return wide, values
			}
		}
	}
	return formOf(points, &values), values
}

// formOf is the form for points of a wide series beside values that are there.
func formOf(points []point, values *twoValues) form {
	for i := range points {
		if !values.add(points[i].value) {
			return wide
		}
	}
	return paired
}

// insert puts points where they belong, in memory that has room for them.
func (s *series) insert(c cell, b block, f form, values *twoValues, points []point, spots []spot) cell {
	n := b.n + len(points)
	if f != b.form || f.words(n) > len(b.words) {
		c, b = s.moved(c, b, f, values, n)
	}
	if f == paired {
		b.setPair(values)
	}
	end := b.n
	for j := len(points) - 1; j >= 0; j-- {
		i := spots[j].i
		copy(b.words[b.place(i+j+1):], b.words[b.place(i):b.place(end)])
		b.set(i+j, &points[j])
		end = i
	}
	c.n = uint16(n)
	return c
}

// made is an empty block with room for so many points.
func (s *series) made(f form, n int) (cell, block) {
	size := sizeOf(f.words(n))
	c := cell{ref: s.arena.take(size), size: size, form: f}
	return c, s.view(c)
}

// moved is the block in memory for so many points, or in another form.
func (s *series) moved(c cell, b block, f form, values *twoValues, n int) (cell, block) {
	to, out := s.made(f, n)
	if to.n, out.n = c.n, b.n; f == b.form {
		copy(out.words, b.words[:b.place(b.n)])
	} else {
		out.words[0] = b.words[0]
		if f == paired {
			out.setPair(values)
		}
		for i := range b.n {
			p := b.point(i)
			out.set(i, &p)
		}
	}
	s.arena.give(c.ref, c.size)
	return to, out
}

// split merges points into a block that cannot take them all, which becomes several.
func (s *series) split(k int, c cell, b block, points []point, spots []spot) {
	var out []cell
	all, most := points, narrow.most()
	switch {
	case b.n == 0:
	case spots[0].i == b.n: // behind all: it takes what it can
		n := min(len(points), b.form.most()-b.n)
		for n > 0 && !b.fits(points[n-1].time()) {
			n--
		}
		if f, values := b.formWith(points[:n]); n > 0 && f == b.form {
			c = s.insert(c, b, f, &values, points[:n], spots[:n])
			all = points[n:]
		}
		out = append(out, c)
	default:
		all = make([]point, 0, b.n+len(points))
		j := 0
		for i := range b.n + 1 {
			for ; j < len(points) && spots[j].i == i; j++ {
				all = append(all, points[j])
			}
			if i < b.n {
				all = append(all, b.point(i))
			}
		}
		s.arena.give(c.ref, c.size)
		most = len(all)/(len(all)/(s.layout.most()*7/8)+1) + 1 // leave room for what comes between
	}
	for len(all) > 0 {
		next, n := s.packed(all, most, len(out) > 0 && int(out[len(out)-1].n) >= s.layout.most()/2)
		out = append(out, next)
		all = all[n:]
	}
	s.replace(k, out...)
}

// packed is a block of the first of some points, and how many it took. It has room where more will come.
func (s *series) packed(points []point, most int, more bool) (cell, int) {
	var first block
	first.words = []uint32{0}
	first.begin(points[0].time())
	n := min(len(points), most)
	for !first.fits(points[n-1].time()) {
		n--
	}
	f, values := s.layout, twoValues{}
	if f == wide {
		if n > 2 {
			f = formOf(points[:n], &values)
		}
		n = min(n, f.most())
	}
	room := n
	if more {
		room = max(n, f.most()/4)
	}
	c, b := s.made(f, room)
	b.words[0] = first.words[0]
	if f == paired {
		b.setPair(&values)
	}
	for i := range n {
		b.set(i, &points[i])
	}
	c.n = uint16(n)
	return c, n
}

// replace puts blocks in the place of one.
func (s *series) replace(k int, blocks ...cell) {
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
	for ; k < len(s.older) && n >= int(s.older[k].n); k++ {
		n -= int(s.older[k].n)
		s.arena.give(s.older[k].ref, s.older[k].size)
	}
	if s.older = slices.Delete(s.older, 0, k); len(s.older) == 0 {
		s.older = nil
	}
	if n == 0 {
		return
	}
	c := s.cell(0)
	b := s.view(c)
	if n == b.n { // only of the last
		s.arena.give(c.ref, c.size)
		s.replace(0, cell{})
		return
	}
	copy(b.words[b.place(0):], b.words[b.place(n):b.place(b.n)])
	b.n -= n
	if c.n = uint16(b.n); len(b.words) > 2*b.place(b.n) {
		values := twoValues{}
		if b.form == paired {
			values.add(b.value(1))
			values.add(b.value(3))
		}
		c, _ = s.moved(c, b, b.form, &values, b.n)
	}
	s.replace(0, c)
}

// reader reads a series by index. It remembers the block where it was.
type reader struct {
	series
	k, from, to int // the block at hand, and which points it has
	now         block
}

func (s *series) reader() reader {
	r := reader{series: *s, now: s.block(0)}
	r.to = r.now.n
	return r
}

// place is where point i is in the block at hand.
func (r *reader) place(i int) int {
	for i >= r.to {
		r.k++
		r.now, r.from = r.block(r.k), r.to
		r.to += r.now.n
	}
	for i < r.from {
		r.k--
		r.now, r.to = r.block(r.k), r.from
		r.from -= r.now.n
	}
	return i - r.from
}

func (r *reader) point(i int) point {
	i = r.place(i)
	return r.now.point(i)
}

func (r *reader) time(i int) int64 {
	i = r.place(i)
	return r.now.time(i)
}
