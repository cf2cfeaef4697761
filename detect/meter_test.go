package detect

import (
	"slices"
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
		c := cursor{meter: newMeter(d)}
		if m, ok := c.meter.(*ordered); ok {
			m.most = rapid.SampledFrom([]int{2, 8, 1000}).Draw(t, "log")
		}
		var points []point
		now, floor := int64(0), -window
		for range rapid.IntRange(1, 150).Draw(t, "operations") {
			switch op := rapid.IntRange(0, 9).Draw(t, "operation"); {
			case op < 7:
				now += rapid.Int64Range(0, 9000).Draw(t, "step")
				at := max(now-rapid.SampledFrom([]int64{0, 0, 0, 1, 3000, 60_000, 200_000}).Draw(t, "late"), floor+window+1)
				p := point{stamp: at<<8 | int64(rapid.IntRange(0, len(r.streams)-1).Draw(t, "stream")), id: rapid.Uint64Range(0, 9).Draw(t, "id"), value: rapid.Uint64Range(0, 2).Draw(t, "value")}
				i, dup := slices.BinarySearchFunc(points, p, comparePoints)
				if dup {
					continue
				}
				c.back(points, firstFrom(points[:i], at))
				points = slices.Insert(points, i, p)
			case op < 8 && len(points) > 0:
				n := firstFrom(points, max(floor, now-2*window)+1)
				if n > 0 {
					floor = points[n-1].time()
					c.shift(points, n)
					points = points[n:]
				}
			}
			if len(points) == 0 {
				continue
			}
			at := points[rapid.IntRange(0, len(points)-1).Draw(t, "seek")].time()
			if at-window < floor {
				continue
			}
			end := firstFrom(points, at+1)
			c.seek(points, end, at-window)
			got, ok := c.meter.holds(at - window)
			fresh := cursor{meter: newMeter(d)}
			fresh.seek(points, end, at-window)
			if want, on := fresh.meter.holds(at - window); ok != on || ok && got != want {
				t.Fatalf("%s at %d of %d points: %v %t, a fresh one %v %t", r.Info.Name, end, len(points), got, ok, want, on)
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
