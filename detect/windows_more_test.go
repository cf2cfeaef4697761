package detect

import (
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
		held := len(f.w.groups.get(windowKey{[16]byte{1}, f.w.rules[r.Hash].id}).points)
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
