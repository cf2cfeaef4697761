package detect

import (
	"strings"
	"testing"
	"time"
)

// twoSets are the rules, and the rules with TT-01 needing two events instead of three.
func twoSets(t *testing.T) (before, after *RuleSet) {
	return loadText(t, ruleLines(windowRules)),
		loadText(t, ruleLines(strings.Replace(windowRules, "threshold: {count: {gte: 3}, window: 60s, group_by: [net.ip]}", "threshold: {count: {gte: 2}, window: 60s, group_by: [net.ip]}", 1)))
}

// A detector that reloads first sends points of a rule that is not here yet.
func TestPointsOfARuleThatIsNotHereYetWait(t *testing.T) {
	before, after := twoSets(t)
	f := &feeder{w: NewWindows(before, plainHasher{}, 0, WindowOptions{})}
	next := after.ByID("TT-01")
	for i := range 2 {
		if said := f.point(next, 1, time.Duration(i)*time.Second, 0, 0); len(said) > 0 {
			t.Fatalf("a rule fired that nobody has: %+v", said)
		}
	}
	if n := f.w.WaitingPoints(); n != 2 || f.w.Stats().UnknownRule != 0 {
		t.Fatalf("%d points wait, %d are given up", n, f.w.Stats().UnknownRule)
	}
	said := f.w.Reload(nil, after)
	if len(said) != 1 || said[0].Rule.ID != "TT-01" || said[0].Count != 2 {
		t.Fatalf("after the reload: %+v", said)
	}
	if n := f.w.WaitingPoints(); n != 0 {
		t.Errorf("%d points still wait", n)
	}
}

func TestWaitingIsBounded(t *testing.T) {
	before, after := twoSets(t)
	f := &feeder{w: NewWindows(before, plainHasher{}, 0, WindowOptions{MaxWaiting: 5})}
	next := after.ByID("TT-01")
	for i := range 8 {
		f.point(next, byte(i), time.Duration(i)*time.Second, 0, 0)
	}
	if n := f.w.WaitingPoints(); n != 5 || f.w.Stats().UnknownRule != 3 {
		t.Fatalf("%d points wait, %d are given up", n, f.w.Stats().UnknownRule)
	}
	f.w.Settle(nil, TestStart.Add(handover+2*time.Second))
	if n := f.w.WaitingPoints(); n != 2 || f.w.Stats().UnknownRule != 6 {
		t.Errorf("after the handover of the first three %d points wait, %d are given up", n, f.w.Stats().UnknownRule)
	}
	f.w.Reload(nil, after)
	if f.w.waited != 0 || f.w.Groups() != 2 {
		t.Errorf("%d points are counted as waiting, %d groups", f.w.waited, f.w.Groups())
	}
}

// A detector that reloads last still sends points of a rule that left; its alerts settle.
func TestRuleThatLeftGoesOnUntilAllHaveReloaded(t *testing.T) {
	before, after := twoSets(t)
	f := &feeder{w: NewWindows(before, plainHasher{}, 0, WindowOptions{})}
	old := before.ByID("TT-01")
	f.w.Settle(nil, TestStart)
	for i := range 2 {
		f.point(old, 1, time.Duration(i)*time.Second, 0, 0)
	}
	f.w.Reload(nil, after)
	said := f.point(old, 1, 3*time.Second, 0, 0)
	if len(said) != 1 || said[0].Count != 3 || said[0].Threshold != 3 {
		t.Fatalf("the third event, of a detector that has not reloaded: %+v", said)
	}
	f.point(old, 1, 4*time.Second, 0, 0)
	if said = f.w.Settle(nil, TestStart.Add(5*time.Minute)); len(said) != 1 || !said[0].Settled || said[0].Count != 4 {
		t.Fatalf("its alert must settle: %+v", said)
	}
	f.w.Settle(nil, TestStart.Add(handover))
	f.point(old, 1, handover+time.Second, 0, 0)
	if f.w.Groups() != 0 || f.w.rules[old.Hash] != nil || f.w.WaitingPoints() != 1 {
		t.Errorf("after the handover %d groups are held, and %d points wait", f.w.Groups(), f.w.WaitingPoints())
	}
}

// A rule that comes back has its windows still.
func TestReloadBackAndForth(t *testing.T) {
	before, after := twoSets(t)
	f := &feeder{w: NewWindows(before, plainHasher{}, 0, WindowOptions{})}
	for i := range 2 {
		f.point(before.ByID("TT-01"), 1, time.Duration(i)*time.Second, 0, 0)
	}
	f.w.Reload(nil, after)
	f.w.Reload(nil, before)
	f.w.Settle(nil, TestStart.Add(-time.Hour))
	f.w.Settle(nil, TestStart.Add(-time.Minute)) // past the handover, had it left
	if said := f.point(before.ByID("TT-01"), 1, 3*time.Second, 0, 0); len(said) != 1 || said[0].Count != 3 {
		t.Errorf("%+v", said)
	}
}
