package detect

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// feeder writes points of one group straight into windows.
type feeder struct {
	w     *Windows
	begin int64
}

func (f *feeder) point(r *Rule, group byte, at time.Duration, step uint8, value uint64) []Alert {
	f.begin++
	ms := TestStart.Add(at).UnixMilli()
	return f.w.Observe(nil, &Signal{
		Begin: f.begin, End: f.begin + 1, Tenant: "default", Group: [16]byte{group}, Values: []GroupValue{{Field: "net.ip", Value: "a"}},
		Events: []SignalEvent{{Time: ms, Append: ms, Identity: uint64(f.begin)}},
		Rules:  []RulePoints{{Rule: r.Hash, Points: []Point{{Step: step, Value: value}}}},
	})
}

func TestImmediateRulesFireAtOnceAndSettledOnesWhenTimeHasPassed(t *testing.T) {
	rs := loadText(t, ruleLines(windowRules))
	f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
	count, absence := rs.ByID("TT-01"), rs.ByID("TT-15")
	var said []Alert
	for i := range 3 {
		said = append(said, f.point(count, 1, time.Duration(i)*time.Second, 0, 0)...)
	}
	if len(said) != 1 || said[0].Count != 3 || said[0].Settled {
		t.Fatalf("the third event: %+v", said)
	}
	if said = f.point(absence, 1, 10*time.Second, 0, 0); len(said) > 0 {
		t.Fatalf("an absence fired with its first event: %+v", said)
	}
	if said = f.w.Settle(nil, TestStart.Add(100*time.Second)); len(said) > 0 {
		t.Fatalf("an event at 100s may still come: %+v", said)
	}
	said = f.w.Settle(nil, TestStart.Add(100*time.Second+time.Millisecond))
	if len(said) != 1 || said[0].Rule.ID != "TT-15" || !said[0].FiredAt.Equal(TestStart.Add(100*time.Second)) {
		t.Fatalf("after the window: %+v", said)
	}
}

// Whichever part of an any rule completes it first, its alert shows the same when all points are there.
func TestValueOfAnyDoesNotDependOnTheOrderOfArrival(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: TT-01, name: t.any, any: [{match: {outcome: denied}, threshold: {count: {gte: 3}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 3}}}], window: 60s, group_by: [net.ip]}
`))
	const denied, failures = "ddd", "0123" // of three refusals, and of four clients that failed
	for _, order := range []string{denied + failures, failures + denied, "d01d2d3", "3d2d10d"} {
		f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
		refused := 0
		for _, p := range order {
			if p == 'd' {
				refused++
				f.point(rs.Rules()[0], 1, time.Duration(refused)*time.Second, 0, 0)
			} else {
				f.point(rs.Rules()[0], 1, time.Duration(p-'0'+1)*time.Second, 1, uint64(p))
			}
		}
		said := f.w.Settle(nil, TestStart.Add(time.Hour))
		if len(said) != 1 || said[0].Count != 7 || said[0].Value != 4 {
			t.Errorf("%s: %+v, want one alert of 7 events and value 4", order, said)
		}
	}
}

func TestReloadKeepsTheWindowsOfRulesThatDidNotChange(t *testing.T) {
	rs := loadText(t, ruleLines(windowRules))
	f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
	for i := range 2 {
		f.point(rs.ByID("TT-01"), 1, time.Duration(i)*time.Second, 0, 0)
		f.point(rs.ByID("TT-22"), 1, time.Duration(i)*time.Second, 0, 0)
	}
	changed := loadText(t, ruleLines(strings.Replace(windowRules, "resolution: 20s", "resolution: 10s", 1)+strings.TrimSpace(otherRules)))
	f.w.Reload(nil, changed)
	if said := f.point(changed.ByID("TT-01"), 1, 3*time.Second, 0, 0); len(said) != 1 || said[0].Count != 3 {
		t.Errorf("unchanged: %+v", said)
	}
	if said := f.point(changed.ByID("TT-22"), 1, 3*time.Second, 0, 0); len(said) != 0 {
		t.Errorf("a changed rule begins empty: %+v", said)
	}
	if a, b := rs.ByID("TT-12"), changed.ByID("TT-12"); a.Hash != b.Hash {
		t.Error("a rule whose source did not change has another hash")
	}
	other := loadText(t, ruleLines(strings.Replace(windowRules, "{gte: 3}, window: 60s, group_by: [net.ip]", "{gte: 4}, window: 60s, group_by: [net.ip]", 1)))
	if rs.ByID("TT-12").Hash == other.ByID("TT-12").Hash || rs.ByID("TT-13").Hash == other.ByID("TT-13").Hash {
		t.Error("a rule takes steps from one that changed, and is the same")
	}
}

func TestWindowsAreBounded(t *testing.T) {
	rs := loadText(t, ruleLines(windowRules))
	for _, r := range rs.Rules() {
		f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{MaxGroups: 2, MaxPoints: 50})}
		for i := range 500 {
			at := time.Duration(i) * 10 * time.Millisecond
			if i%7 == 0 {
				at -= 300 * time.Millisecond
			}
			f.point(r, 1, max(0, at), uint8(i%len(r.streams)), uint64(i%5))
		}
		g := f.w.at(f.w.groups.find(windowKey{[16]byte{1}, f.w.rules[r.Hash].id}))
		points := g.series()
		held := points.len()
		if held != 50 || f.w.Stats().Overflow < 400 {
			t.Errorf("%s: %d points held, %d given up", r.Info.ID, held, f.w.Stats().Overflow)
		}
		before := f.w.Stats().Overflow
		for g := range byte(4) {
			f.point(r, 10+g, 5*time.Second, 0, 0)
		}
		if f.w.Groups() > 2 || f.w.Stats().Overflow == before {
			t.Errorf("%s: %d groups", r.Info.ID, f.w.Groups())
		}
	}
}

// A thousand events a second of one group are all counted in a window of five minutes: at the
// last of them a share of the errors is reached, or missed by one.
func TestARatioOfABusyGroupIsExact(t *testing.T) {
	const n, errors = 300_000, 15_000
	rs := loadText(t, ruleLines("{id: TT-01, name: t.ratio, match: {type: tool_call}, ratio: {of: {outcome: error}, gte: 0.05, window: 5m, group_by: [server.name]}, suppress: {for: 10m}}"))
	for _, missing := range []int{0, 1} {
		w := NewWindows(rs, plainHasher{}, 0, WindowOptions{})
		before, r := heapNow(), rand.New(rand.NewPCG(1, 2))
		for begin := 0; begin < n; begin += 1000 {
			s := &Signal{
				Begin: int64(begin), End: int64(begin) + 1000, Group: [16]byte{1},
				Events: make([]SignalEvent, 1000), Rules: []RulePoints{{Rule: rs.Rules()[0].Hash, Points: make([]Point, 1000)}},
			}
			for i, place := range r.Perm(1000) {
				// What comes with a signal is spread over half a minute.
				k := begin - begin%30_000 + begin%30_000/1000 + place*30
				at := TestStart.UnixMilli() + int64(k)
				s.Events[i] = SignalEvent{Time: at, Append: at, Identity: uint64(k) * 0x9e3779b97f4a7c15}
				s.Rules[0].Points[i].Event = uint32(i)
				if k >= n-errors+missing {
					s.Rules[0].Points[i].Value = 1
				}
			}
			if said := w.Observe(nil, s); len(said) > 0 {
				t.Fatal("a ratio fired before its events were all there")
			}
		}
		held := float64(heapNow()-before) / n
		t.Logf("%.1f bytes a point", held)
		if held > 16 {
			t.Errorf("%.1f bytes a point, at most 16", held)
		}
		said := w.Settle(nil, TestStart.Add(time.Hour))
		if st := w.Stats(); st.Points != n || st.Overflow > 0 {
			t.Errorf("%+v", st)
		}
		switch missing {
		case 0:
			if len(said) == 0 || said[len(said)-1].Count != n || said[len(said)-1].Value != 0.05 {
				t.Errorf("%d errors of %d: %+v", errors, n, said)
			}
		default:
			if len(said) > 0 {
				t.Errorf("%d errors of %d fired", errors-missing, n)
			}
		}
	}
}
