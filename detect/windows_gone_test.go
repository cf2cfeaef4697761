package detect

import (
	"math"
	"testing"
	"time"
)

// A group that did not fire goes with its points, long before its bucket settles; an alert that
// comes later in the bucket counts the events all the same.
func TestAGroupThatDidNotFireGoesAndIsCounted(t *testing.T) {
	rs := benchRule1(t, "match: {type: authentication}, threshold: {count: {gte: 50}, window: 5m, group_by: [net.ip]}, suppress: {for: 1h}")
	rule := rs.Rules()[0]
	for name, most := range map[string]int{"as numbers": 0, "where there is no room for numbers": 1} {
		t.Run(name, func(t *testing.T) {
			f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{gone: most})}
			for group := byte(1); group <= 100; group++ {
				for i := range 3 {
					f.point(rule, group, time.Duration(i)*time.Second, 0, 0)
				}
			}
			f.w.Settle(nil, TestStart.Add(10*time.Minute))
			if held := map[int]int{0: 0, 1: 99}[most]; f.w.Groups() != held || f.w.gone.n != 100-held {
				t.Errorf("%d groups are held and %d are numbers after their points have left", f.w.Groups(), f.w.gone.n)
			}
			f.point(rule, 7, 11*time.Minute, 0, 0) // and goes again
			f.w.Settle(nil, TestStart.Add(20*time.Minute))
			var said []Alert
			for i := range 50 {
				said = append(said, f.point(rule, 7, 30*time.Minute+time.Duration(i)*time.Second, 0, 0)...)
			}
			said = append(said, f.w.Settle(nil, TestStart.Add(2*time.Hour))...)
			if n := len(said); n != 2 || said[0].Count != 54 || said[1].Count != 54 || !said[1].Settled {
				t.Errorf("%d updates: %+v; want 54 events from the first on", n, said)
			}
			if f.w.Groups() != 0 || f.w.gone.n != 0 || len(f.w.gone.of) != 0 {
				t.Errorf("%d groups and %d numbers are left after their bucket", f.w.Groups(), f.w.gone.n)
			}
		})
	}
}

// Groups of a mild rule that went do not take the room of a worse rule's.
func TestAMildFloodLeavesRoomForNumbersOfWorseRules(t *testing.T) {
	rs := loadText(t, `
{schema: rule/v1, id: XG-03, name: x.low, title: t, severity: low, match: {type: tool_call}, threshold: {count: {gte: 50}, window: 1m, group_by: [net.ip]}, suppress: {for: 1h}}
---
{schema: rule/v1, id: XG-04, name: x.critical, title: t, severity: critical, match: {type: tool_call}, threshold: {count: {gte: 50}, window: 1m, group_by: [net.ip]}, suppress: {for: 1h}}
`)
	low, critical := rs.ByID("XG-03"), rs.ByID("XG-04")
	f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{gone: 80})}
	numbers := func(r *Rule) int { return f.w.rules[r.Hash].gone }
	for group := byte(1); group <= 200; group++ {
		f.point(low, group, 0, 0, 0)
	}
	f.w.Settle(nil, TestStart.Add(5*time.Minute))
	for group := byte(1); group <= 20; group++ {
		f.point(critical, group, 5*time.Minute, 0, 0)
	}
	f.w.Settle(nil, TestStart.Add(10*time.Minute))
	if numbers(low) != 20 || numbers(critical) != 20 || f.w.Groups() != 180 {
		t.Errorf("%d groups of the low and %d of the critical rule are numbers, %d are held", numbers(low), numbers(critical), f.w.Groups())
	}
	f.w.Settle(nil, TestStart.Add(2*time.Hour))
	for group := byte(1); group <= 20; group++ { // what settled makes room again
		f.point(low, group, 2*time.Hour, 0, 0)
	}
	f.w.Settle(nil, TestStart.Add(2*time.Hour+10*time.Minute))
	if numbers(low) != 20 || numbers(critical) != 0 || f.w.Groups() != 0 {
		t.Errorf("%d groups of the low and %d of the critical rule are numbers in the next bucket, %d are held", numbers(low), numbers(critical), f.w.Groups())
	}
}

// More events of a group than its number can tell are held as long as the bucket.
func TestManyEventsThatAreGoneAreCounted(t *testing.T) {
	rs := benchRule1(t, "match: {type: authentication}, threshold: {count: {gte: 50}, window: 1s, group_by: [net.ip]}, suppress: {for: 1h}")
	rule := rs.Rules()[0]
	f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
	events := math.MaxUint16 + 1000
	for i := range events {
		at := time.Duration(i) * 50 * time.Millisecond
		f.point(rule, 1, at, 0, 0)
		if i%1000 == 0 {
			f.w.Settle(nil, TestStart.Add(at))
		}
	}
	var last Alert
	for i := range 50 {
		for _, a := range f.point(rule, 1, 59*time.Minute+time.Duration(i), 0, 0) {
			last = a
		}
	}
	if want := uint64(events + 50); last.Count != want {
		t.Errorf("the alert counts %d of %d events", last.Count, want)
	}
}

// Evidence of a group whose points are gone is there for an alert in the same bucket.
func TestEvidenceStaysForItsBucket(t *testing.T) {
	rs := loadText(t, ruleLines("{id: XG-01, name: x.g, match: {type: authentication}, threshold: {count: {gte: 2}, window: 1m, group_by: [net.ip]}, suppress: {for: 1h}}"))
	rule := rs.Rules()[0]
	f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
	shows := func(at time.Duration, id string) (ids []string) {
		f.begin++
		ms := TestStart.Add(at).UnixMilli()
		for _, a := range f.w.Observe(nil, &Signal{
			Begin: f.begin, End: f.begin + 1, Tenant: "default", Group: [16]byte{1}, Values: []GroupValue{{Field: "net.ip", Value: "a"}},
			Events:   []SignalEvent{{Time: ms, Append: ms, Identity: uint64(f.begin)}},
			Rules:    []RulePoints{{Rule: rule.Hash, Points: make([]Point, 1), Evidence: make([]EvidenceRule, 1)}},
			Evidence: []SignalEvidence{{EventID: id}},
		}) {
			for _, e := range a.Evidence {
				ids = append(ids, e.EventID)
			}
		}
		return ids
	}
	shows(0, "early")
	f.w.Settle(nil, TestStart.Add(10*time.Minute))
	shows(30*time.Minute, "first")
	if got := shows(30*time.Minute+time.Second, "second"); len(got) != 3 || got[0] != "early" {
		t.Errorf("the alert shows %v, want all three events", got)
	}
	f.w.Settle(nil, TestStart.Add(2*time.Hour))
	if f.w.Groups() != 0 || f.w.evidence != 0 {
		t.Errorf("%d groups and %d pieces of evidence are left", f.w.Groups(), f.w.evidence)
	}
}

// What comes to a group that waits with its evidence goes in its time all the same.
func TestPointsGoBeforeTheEvidenceThatWaits(t *testing.T) {
	rs := loadText(t, ruleLines("{id: XG-02, name: x.h, match: {type: authentication}, distinct: {field: actor.client_id, count: {gte: 2}, window: 1m, group_by: [net.ip]}, suppress: {for: 1h}}"))
	rule := rs.Rules()[0]
	f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
	ms := TestStart.UnixMilli()
	f.begin++
	f.w.Observe(nil, &Signal{
		Begin: f.begin, End: f.begin + 1, Tenant: "default", Group: [16]byte{1}, Values: []GroupValue{{Field: "net.ip", Value: "a"}},
		Events:   []SignalEvent{{Time: ms, Append: ms, Identity: uint64(f.begin)}},
		Rules:    []RulePoints{{Rule: rule.Hash, Points: []Point{{Value: 9}}, Evidence: make([]EvidenceRule, 1)}},
		Evidence: []SignalEvidence{{EventID: "early"}},
	})
	f.w.Settle(nil, TestStart.Add(5*time.Minute))
	if f.w.Groups() != 1 || f.w.held != 0 {
		t.Fatalf("%d groups hold %d points", f.w.Groups(), f.w.held)
	}
	most := 0
	for at := 10 * time.Minute; at < 50*time.Minute; at += time.Second {
		f.point(rule, 1, at, 0, 9)
		f.w.Settle(nil, TestStart.Add(at))
		most = max(most, f.w.held)
	}
	if most > 3*60 {
		t.Errorf("%d points are held of a window of 60", most)
	}
}
