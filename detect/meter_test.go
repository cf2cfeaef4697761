package detect

import (
	"testing"

	"pgregory.net/rapid"
)

// A cursor that moves, goes back and forgets sees in every window what one sees that has just
// been made for it, also where its log is too short to go back.
func TestCursorsSeeWhatAFreshOneSees(t *testing.T) {
	rs := loadText(t, ruleLines(windowRules))
	held := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		r := rs.ByID(rapid.SampledFrom([]string{"TT-06", "TT-07", "TT-08", "TT-09", "TT-10", "TT-11", "TT-19", "TT-20", "TT-21", "TT-03"}).Draw(t, "rule"))
		d, window := &r.Detector, r.Detector.Window.Milliseconds()
		c := moving{cursor: &cursor{meter: newMeter(d)}}
		if m, ok := c.meter.(*ordered); ok {
			m.most = rapid.SampledFrom([]int{2, 8, 1000}).Draw(t, "log")
		}
		points := series{arena: new(arena), layout: wide}
		now, floor := int64(0), -window
		for range rapid.IntRange(1, 150).Draw(t, "operations") {
			switch op := rapid.IntRange(0, 9).Draw(t, "operation"); {
			case op < 7:
				now += rapid.Int64Range(0, 9000).Draw(t, "step")
				at := max(now-rapid.SampledFrom([]int64{0, 0, 0, 1, 3000, 60_000, 200_000}).Draw(t, "late"), floor+window+1)
				p := point{stamp: at<<8 | int64(rapid.IntRange(0, len(r.streams)-1).Draw(t, "stream")), id: rapid.Uint64Range(0, 9).Draw(t, "id"), value: rapid.Uint64Range(0, 2).Draw(t, "value")}
				where, dup := points.find(&p, spot{})
				if dup {
					continue
				}
				c.on(c.cursor, &points).back(points.first(at))
				points.put([]point{p}, []spot{where})
			case op < 8 && points.len() > 0:
				n := points.first(max(floor, now-2*window) + 1)
				if n > 0 {
					all := points.reader()
					floor = all.time(n - 1)
					c.on(c.cursor, &points).shift(n)
					points.drop(n)
				}
			}
			if points.len() == 0 {
				continue
			}
			all := points.reader()
			at := all.time(rapid.IntRange(0, points.len()-1).Draw(t, "seek"))
			if at-window < floor {
				continue
			}
			end := points.first(at + 1)
			c.on(c.cursor, &points).seek(end, at-window)
			got, ok := c.meter.holds(at - window)
			fresh := moving{cursor: &cursor{meter: newMeter(d)}}
			fresh.on(fresh.cursor, &points).seek(end, at-window)
			if want, on := fresh.meter.holds(at - window); ok != on || ok && got != want {
				t.Fatalf("%s at %d of %d points: %v %t, a fresh one %v %t", r.Info.Name, end, points.len(), got, ok, want, on)
			}
			if ok {
				held[r.Info.ID]++
			}
		}
	})
	if t.Logf("held: %v", held); len(held) < 5 && !testing.Short() {
		t.Errorf("few rules held: %v", held)
	}
}

// spy counts how often a meter is moved.
type spy struct {
	meter
	moves int
}

func (s *spy) add(p *point, e end) {
	s.moves++
	s.meter.add(p, e)
}

func (s *spy) drop(p *point, e end) bool {
	s.moves++
	return s.meter.drop(p, e)
}

// A late point moves a meter over what came after it, not over the whole window.
func TestALatePointCostsWhatCameAfterIt(t *testing.T) {
	rs := loadText(t, ruleLines(windowRules))
	const n, late = 5000, 100
	for _, id := range []string{"TT-01", "TT-03", "TT-04", "TT-06", "TT-08", "TT-10", "TT-19", "TT-20"} {
		r := rs.ByID(id)
		window := r.Detector.Window.Milliseconds()
		s := &spy{meter: newMeter(&r.Detector)}
		c := moving{cursor: &cursor{meter: s}}
		points := series{arena: new(arena), layout: wide}
		put := func(p point) {
			where, _ := points.find(&p, spot{})
			c.on(c.cursor, &points).back(points.first(p.time()))
			points.put([]point{p}, []spot{where})
			c.on(c.cursor, &points)
		}
		for i := range n {
			p := point{stamp: int64(i)*window/n<<8 | int64(i%len(r.streams)), id: uint64(i), value: uint64(i)}
			put(p)
			c.seek(i+1, p.time()-window)
			c.meter.holds(p.time() - window)
		}
		if m, ok := s.meter.(*ordered); ok && (len(m.log) < late || cap(m.log) > 2*n) {
			t.Errorf("%s: the log of %d points has %d changes, and room for %d", r.Info.Name, n, len(m.log), cap(m.log))
		}
		before := s.moves
		at := points.reader()
		p := point{stamp: at.point(n - late).stamp, id: 1 << 40}
		put(p)
		for i := points.first(p.time()); i < points.len(); i++ {
			at := c.head.time(i)
			c.seek(points.first(at+1), at-window)
			c.meter.holds(at - window)
		}
		if moves := s.moves - before; moves > 4*late {
			t.Errorf("%s: %d moves for a point that %d came after, in a window of %d", r.Info.Name, moves, late, n)
		}
	}
}
