package detect

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// evidenceOfOne sends n events of one group in batches, and returns the last word on each alert of a rule.
func evidenceOfOne(t *testing.T, id string, n, batch int, apart time.Duration) []Alert {
	t.Helper()
	rs := loadText(t, ruleLines(windowRules))
	m, c := NewMatcher(rs), NewCollector(rs, plainHasher{})
	w := NewWindows(rs, plainHasher{}, testLateness, WindowOptions{})
	last := map[string]Alert{}
	take := func(said []Alert) {
		for _, a := range said {
			if a.Rule.ID == id {
				last[a.ID] = a
			}
		}
	}
	for i := range n {
		ev := &Event{Claimed: TestStart.Add(time.Duration(i) * apart)}
		ev.Append = ev.Claimed
		ev.Set(ID, fmt.Sprintf("e%03d", i))
		ev.Set(Type, "authentication")
		ev.Set(Outcome, []string{"failure", "denied"}[i%2])
		if i%16 == 15 {
			ev.Set(Outcome, "success")
		}
		ev.Set(ServerName, "a")
		ev.Set(NetIP, "10.0.0.1")
		ev.Set(ActorClientID, fmt.Sprint("c", i%4))
		ev.SetNum(IOResultBytes, 100)
		ev.Stamp(testLateness)
		ev.Redact(plainHasher{}, nil)
		c.Add(ev, m.Match(nil, ev))
		if i%batch == batch-1 || i == n-1 {
			for _, s := range signalsOf(t, c, int64(i-i%batch), int64(i+1)) {
				take(w.Observe(nil, s))
			}
		}
	}
	take(w.Settle(nil, TestStart.Add(time.Hour)))
	var out []Alert
	for _, a := range last {
		out = append(out, a)
	}
	return out
}

// The last update of an alert shows as many events as it can, however busy the group was, however
// the events were batched, and whatever the detector.
func TestSettledAlertsKeepTheirEvidence(t *testing.T) {
	for _, id := range []string{"TT-01", "TT-19", "TT-22"} {
		for _, c := range []struct{ events, batch, want int }{{4, 1, 4}, {5, 5, 5}, {60, 1, 5}, {60, 60, 5}, {60, 7, 5}} {
			for _, a := range evidenceOfOne(t, id, c.events, c.batch, time.Millisecond) {
				if !a.Settled || a.Count != uint64(c.events) || len(a.Evidence) != c.want {
					t.Errorf("%s, %d events in batches of %d: count %d, settled %t, evidence %+v", id, c.events, c.batch, a.Count, a.Settled, a.Evidence)
				}
			}
		}
	}
	for _, a := range evidenceOfOne(t, "TT-01", 60, 1, time.Millisecond) {
		if a.Evidence[0].EventID != "e000" {
			t.Errorf("the first update showed e000, the last one %+v", a.Evidence)
		}
	}
}

// What is judged when time has passed shows events of its bucket, not those that came since.
func TestAlertsOfBusyGroupsShowTheirOwnEvents(t *testing.T) {
	for i, id := range []string{"TT-01", "TT-06", "TT-14", "TT-21", "TT-01"} {
		alerts := evidenceOfOne(t, id, 400, []int{7, 7, 7, 7, 400}[i], time.Second)
		if len(alerts) < 4 {
			t.Errorf("%s: %d alerts", id, len(alerts))
		}
		for _, a := range alerts {
			if len(a.Evidence) == 0 || a.Evidence[0].Time.After(a.Last) || a.Evidence[0].Time.Before(a.BucketStart.Add(-4*time.Minute)) {
				t.Errorf("%s in %s, count %d: evidence %+v", id, a.BucketStart, a.Count, a.Evidence)
			}
		}
	}
}

// An event for which an absence waits, or which undoes a sequence, is no evidence.
func TestEvidenceContributes(t *testing.T) {
	alerts := evidenceOfOne(t, "TT-16", 404, 7, time.Second)
	if len(alerts) == 0 {
		t.Error("TT-16 did not fire")
	}
	for _, a := range alerts {
		for _, e := range a.Evidence {
			if e.Outcome != "failure" {
				t.Errorf("%+v is what TT-16 waits for", e)
			}
		}
	}
}

// Of a rule that needs many events, few have evidence; which ones does not depend on the batches, and
// an alert still shows as many as any other.
func TestFewEventsOfFloodsAreShown(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: TT-01, name: t.flood, match: {type: tool_call}, threshold: {count: {gte: 600}, window: 10m, group_by: [net.ip]}}
{id: TT-02, name: t.volume, match: {type: tool_call}, sum: {field: io.result_bytes, gte: 60000, window: 10m, group_by: [net.ip]}}
{id: TT-03, name: t.large, match: {type: tool_call}, sum: {field: io.result_bytes, gte: 100, window: 10m, group_by: [net.ip]}}
{id: TT-04, name: t.errors, match: {type: tool_call}, ratio: {of: {outcome: error}, gte: 0.05, count: {gte: 10}, window: 10m, group_by: [net.ip]}}
{id: TT-05, name: t.both, match: {type: tool_call}, all: [{threshold: {count: {gte: 600}}}, {match: {outcome: error}, distinct: {field: mcp.tool, count: {gte: 2}}}], window: 10m, group_by: [net.ip]}
`))
	m := NewMatcher(rs)
	for _, batch := range []int{1, 40, 3000} {
		c, w := NewCollector(rs, plainHasher{}), NewWindows(rs, plainHasher{}, testLateness, WindowOptions{})
		carried, last := map[string]int{}, map[string]Alert{}
		for i := range 3000 {
			ev := &Event{Append: TestStart.Add(time.Duration(i) * 10 * time.Millisecond), Offset: int64(i)}
			ev.Claimed = ev.Append
			ev.Set(ID, fmt.Sprint("e", i))
			ev.Set(Type, "tool_call")
			ev.Set(Outcome, []string{"success", "error"}[(i%10)/9])
			ev.Set(MCPTool, fmt.Sprint("tool", i%7))
			ev.Set(NetIP, fmt.Sprint("10.0.0.", i%2))
			ev.SetNum(IOResultBytes, 100)
			ev.Stamp(testLateness)
			ev.Redact(plainHasher{}, nil)
			c.Add(ev, m.Match(nil, ev))
			if i%batch < batch-1 && i < 2999 {
				continue
			}
			for _, s := range signalsOf(t, c, int64(i-i%batch), int64(i+1)) {
				for _, rp := range s.Rules {
					rule := rs.ByHash(rp.Rule)
					carried[rule.Info.ID] += len(rp.Evidence)
					for _, e := range rp.Evidence {
						identity := s.Events[s.Evidence[e.Of].Event].Identity
						if id := rule.Info.ID; (id == "TT-01" || id == "TT-02") && float64(identity) >= 0x1p64*enoughEvidence/600 {
							t.Errorf("batches of %d: %s of %s is not one of the events that are drawn", batch, s.Evidence[e.Of].EventID, id)
						}
					}
				}
				for _, a := range w.Observe(nil, s) {
					last[a.ID] = a
				}
			}
		}
		for _, a := range w.Settle(nil, TestStart.Add(24*time.Hour)) {
			last[a.ID] = a
		}
		fired := map[string]int{}
		for _, a := range last {
			fired[a.Rule.ID]++
			if len(a.Evidence) != maxEvidence {
				t.Errorf("batches of %d: %s shows %d events", batch, a.Rule.ID, len(a.Evidence))
			}
			for _, e := range a.Evidence {
				if (a.Rule.ID == "TT-04") && e.Outcome != "error" {
					t.Errorf("%s shows %s, which is %s", a.Rule.ID, e.EventID, e.Outcome)
				}
			}
		}
		if len(fired) != 5 {
			t.Errorf("batches of %d: fired %v", batch, fired)
		}
		if batch == 1 && (carried["TT-01"] > 120 || carried["TT-02"] > 120 || carried["TT-03"] != 3000 || carried["TT-05"] > 500) {
			t.Errorf("of 3000 events carry evidence: %v", carried)
		}
	}
}

// Where all groups together have too much evidence, alerts show less of it, which is counted, and say all
// else as ever.
func TestEvidenceIsBounded(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: TT-01, name: t.count, match: {outcome: failure}, threshold: {count: {gte: 3}, window: 60s, group_by: [net.ip]}}
{id: TT-02, name: t.absence, match: {outcome: denied}, absence: {window: 60s, group_by: [net.ip]}}
`))
	const groups = 40
	said := func(most int) (map[string]Alert, WindowStats) {
		e := NewEngine(rs, plainHasher{}, testLateness, WindowOptions{MaxEvidence: most})
		last := map[string]Alert{}
		take := func(alerts []Alert) {
			for _, a := range alerts {
				last[a.ID] = a
			}
		}
		for i := range 4 * groups {
			ev := &Event{Append: TestStart.Add(time.Duration(i) * 100 * time.Millisecond)}
			ev.Claimed = ev.Append
			ev.Set(ID, fmt.Sprint("e", i))
			ev.Set(Type, "authentication")
			ev.Set(Outcome, map[bool]string{true: "failure", false: "denied"}[i < 3*groups])
			ev.Set(ServerName, "a")
			ev.Set(NetIP, fmt.Sprint("10.0.0.", i%groups))
			ev.Stamp(testLateness)
			take(e.Observe(nil, ev, nil))
		}
		take(e.Settle(nil, TestStart.Add(time.Hour)))
		return last, e.windows.stats
	}
	want, free := said(1000)
	got, bound := said(groups / 2)
	if len(want) != 2*groups || len(got) != len(want) || free.NoEvidence != 0 {
		t.Fatalf("%d alerts, %d where evidence is bounded, %d pieces left out of those that have room", len(want), len(got), free.NoEvidence)
	}
	out := 0
	for id, a := range want {
		b := got[id]
		if len(a.Evidence) != map[string]int{"TT-01": 3, "TT-02": 1}[a.Rule.ID] {
			t.Errorf("%s shows %+v", a.Rule.ID, a.Evidence)
		}
		if b.Rule.ID == "TT-01" && len(b.Evidence) == 0 { // it had what was in hand
			t.Error("an alert that fires at once has no evidence")
		}
		out += len(a.Evidence) - len(b.Evidence)
		if a.Evidence, b.Evidence = nil, nil; !reflect.DeepEqual(a, b) {
			t.Errorf("%+v\nbecomes %+v", a, b)
		}
	}
	if out == 0 || bound.NoEvidence != uint64(out) {
		t.Errorf("alerts show %d pieces fewer, %d are counted as left out", out, bound.NoEvidence)
	}
}

// A group whose rule settles late has many buckets that are not judged yet. Each of them keeps something to show.
func TestShortBucketsOfBusyGroupsKeepEvidence(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: TT-01, name: t.ratio, match: {type: authentication}, ratio: {of: {outcome: failure}, gte: 0.4, count: {gte: 2}, total: {gte: 3}, window: 10s, group_by: [net.ip]}}
`))
	const lateness = 15 * time.Minute
	e := NewEngine(rs, plainHasher{}, lateness, WindowOptions{})
	settled := 0
	take := func(alerts []Alert) {
		for _, a := range alerts {
			if a.Settled {
				settled++
			}
			if len(a.Evidence) == 0 {
				t.Errorf("the alert of %s shows nothing", a.BucketStart)
			}
		}
	}
	for i := range 2000 {
		ev := &Event{Append: TestStart.Add(time.Duration(i) * time.Second)}
		ev.Claimed = ev.Append
		ev.Set(ID, fmt.Sprint("e", i))
		ev.Set(Type, "authentication")
		ev.Set(Outcome, "failure")
		ev.Set(ServerName, "a")
		ev.Set(NetIP, "10.0.0.1")
		ev.Stamp(lateness)
		e.Observe(nil, ev, nil)
		take(e.Settle(nil, ev.Append.Add(-lateness)))
		if n := e.windows.evidence; n > maxGroupEvidence {
			t.Fatalf("%d pieces are kept", n)
		}
	}
	take(e.Settle(nil, TestStart.Add(10*time.Hour)))
	if settled != 200 || e.windows.stats.NoEvidence == 0 {
		t.Errorf("%d alerts, %d pieces of evidence were left out", settled, e.windows.stats.NoEvidence)
	}
}
