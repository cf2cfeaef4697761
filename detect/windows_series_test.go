package detect

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A series is a sorted slice, whatever comes into it in whatever order, and whatever leaves it.
func TestSeriesAgreesWithASlice(t *testing.T) {
	most, forms := 0, map[form]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := series{arena: new(arena), layout: rapid.SampledFrom([]form{narrow, wide}).Draw(t, "layout")}
		values := rapid.SampledFrom([]uint64{1, 2, 3, 1 << 60}).Draw(t, "values")
		var want []point
		const hour = int64(time.Hour / time.Millisecond)
		now := rapid.SampledFrom([]int64{TestStart.UnixMilli(), 0, -hour}).Draw(t, "start")
		spread := rapid.SampledFrom([]int64{1, 1000, hour, 60 * hour}).Draw(t, "spread")
		id := uint64(0)
		for range rapid.IntRange(1, 40).Draw(t, "operations") {
			if n := rapid.IntRange(0, 3).Draw(t, "operation"); n == 0 && len(want) > 0 {
				n := rapid.IntRange(0, len(want)).Draw(t, "drop")
				s.drop(n)
				want = slices.Delete(want, 0, n)
			}
			var points []point
			var spots []spot
			var from spot
			now += rapid.Int64Range(0, spread).Draw(t, "step")
			for range rapid.SampledFrom([]int{1, 2, 5, 100, 500, 2000}).Draw(t, "points") {
				id += 0x9e3779b97f4a7c15
				at := now - int64(id>>40)%(spread+1)
				points = append(points, point{stamp: at<<8 | int64(id>>20%maxStreams), id: id, value: id >> 7 & 1})
				if p := &points[len(points)-1]; s.layout == wide {
					p.value = id >> 3 % values << 40
				}
			}
			slices.SortFunc(points, func(a, b point) int { return comparePoints(&a, &b) })
			for i := range points {
				at, there := s.find(&points[i], from)
				from = at
				j, _ := slices.BinarySearchFunc(want, points[i], func(a, b point) int { return comparePoints(&a, &b) })
				if there || s.index(at) != j {
					t.Fatalf("point %d belongs to %d, there %t, want %d", i, s.index(at), there, j)
				}
				spots = append(spots, at)
			}
			want = append(want, points...)
			slices.SortFunc(want, func(a, b point) int { return comparePoints(&a, &b) })
			s.put(points, spots)
			most = max(most, len(s.older)+1)
			for k := range len(s.older) + 1 {
				forms[s.cell(k).form]++
			}
			agrees(t, &s, want)
		}
	})
	if len(forms) < 3 && !testing.Short() {
		t.Errorf("blocks of the forms %v", forms)
	}
	if most < 10 && !testing.Short() {
		t.Errorf("no series had more than %d blocks", most)
	}
}

func agrees(t *rapid.T, s *series, want []point) {
	if s.len() != len(want) {
		t.Fatalf("%d points, want %d", s.len(), len(want))
	}
	cells := s.older
	if len(want) > 0 {
		cells = append(slices.Clone(cells), s.last)
	}
	for k, c := range cells {
		if words := c.form.words(int(c.n)); c.n == 0 || words > maxWords || words > int(sizes[c.size]) {
			t.Fatalf("block %d of %d has %d points in %d words", k, len(cells), c.n, sizes[c.size])
		}
	}
	used := 0
	for i := range s.arena.chunks {
		used += int(s.arena.chunks[i].used)
	}
	if used != len(cells) {
		t.Fatalf("%d blocks take %d cells", len(cells), used)
	}
	r := s.reader()
	for i := range want {
		if p := r.point(i); p != want[i] {
			t.Fatalf("point %d is %+v, want %+v", i, p, want[i])
		}
	}
	if len(want) == 0 {
		return
	}
	if p := s.newest(); p != want[len(want)-1] {
		t.Fatalf("the newest is %+v", p)
	}
	for range 5 { // anywhere, back and forth
		i := rapid.IntRange(0, len(want)-1).Draw(t, "place")
		at, there := s.find(&want[i], spot{})
		first, _ := slices.BinarySearchFunc(want, want[i].time(), func(p point, at int64) int {
			if p.time() < at {
				return -1
			}
			return 1
		})
		if p := r.point(i); p != want[i] || r.time(i) != p.time() || !there || s.index(at) != i || s.first(p.time()) != first {
			t.Fatalf("point %d is %+v, want %+v; found %t at %d, its time begins at %d, want %d", i, p, want[i], there, s.index(at), s.first(p.time()), first)
		}
	}
	at, ok := s.from(spot{})
	for i := range want { // forward, and back over the same places
		if !ok || s.at(at) != want[i] {
			t.Fatalf("place %v there %t, want %+v", at, ok, want[i])
		}
		if before, ok := s.before(at); ok != (i > 0) || ok && s.at(before) != want[i-1] {
			t.Fatalf("before point %d: %v, %t", i, before, ok)
		}
		at, ok = s.from(spot{at.k, at.i + 1})
	}
	if ok {
		t.Fatalf("a point behind the last: %v", at)
	}
	for _, bound := range []int{0, 1, len(want), 1 << 30} {
		if got := s.over(bound); got != max(0, len(want)-bound) {
			t.Fatalf("%d points are %d over %d", len(want), got, bound)
		}
	}
}

// Points too far apart for a block of their own kind have small ones: a group that is quiet takes little.
func TestSparseSeriesAreSmall(t *testing.T) {
	for _, l := range []form{narrow, wide} {
		s := series{arena: new(arena), layout: l}
		const n = 50
		for i := range int64(n) {
			p := point{stamp: (TestStart.UnixMilli() + i*38*int64(time.Hour/time.Millisecond)) << 8, id: uint64(i)}
			at, _ := s.find(&p, spot{})
			s.put([]point{p}, []spot{at})
		}
		words := int(sizes[s.last.size])
		for _, c := range s.older {
			words += int(sizes[c.size])
		}
		if s.len() != n || words > n*(2*l.stride()+2) {
			t.Errorf("%d points of %d words each are in %d blocks of %d words together", s.len(), l.stride(), len(s.older)+1, words)
		}
	}
}
