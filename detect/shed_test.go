package detect

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const shedRules = `
{schema: rule/v1, id: LO-01, name: s.low, title: t, severity: low, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 60s, group_by: [net.ip]}}
---
{schema: rule/v1, id: LO-02, name: s.single, title: t, severity: low, match: {type: tool_call, outcome: failure}, group_by: [net.ip]}
---
{schema: rule/v1, id: ME-01, name: s.medium, title: t, severity: medium, match: {type: tool_call, outcome: failure}, threshold: {count: {gte: 5}, window: 60s, group_by: [actor.client_id]}}
---
{schema: rule/v1, id: SH-01, name: s.shadow, title: t, severity: critical, mode: shadow, match: {type: tool_call}, group_by: [server.name]}
---
{schema: rule/v1, id: CR-01, name: s.critical, title: t, severity: critical, match: {outcome: denied}, group_by: [actor.client_id]}
---
{schema: rule/v1, id: CR-02, name: s.critical.two, title: t, severity: critical, match: {outcome: denied}, threshold: {count: {gte: 2}, window: 60s, group_by: [actor.client_id]}}
`

// flood makes n events, of which most are of the mild rules with a group of their own each, and
// every fiftieth is critical.
func flood(rs *RuleSet, n int) (events []*Event, matches [][]Match, matched []uint64) {
	m := NewMatcher(rs)
	matched = make([]uint64, len(rs.Rules()))
	for i := range n {
		ev := &Event{Claimed: TestStart.Add(time.Duration(i) * time.Millisecond), Append: TestStart.Add(time.Duration(i) * time.Millisecond)}
		ev.Offset = int64(i)
		ev.Set(ID, fmt.Sprint("e", i))
		ev.Set(Type, "tool_call")
		ev.Set(Outcome, []string{"success", "failure"}[i%2])
		if i%50 == 49 {
			ev.Set(Type, "authorization")
			ev.Set(Outcome, "denied")
		}
		ev.Set(ServerName, "s")
		ev.Set(NetIP, fmt.Sprintf("10.0.%d.%d", i/250, i%250))
		ev.Set(ActorClientID, fmt.Sprint("c", i%100))
		ev.Stamp(testLateness)
		ms := m.Match(nil, ev)
		ev.Redact(plainHasher{}, nil)
		events, matches = append(events, ev), append(matches, ms)
		for _, x := range ms {
			matched[x.Rule]++
		}
	}
	return events, matches, matched
}

// carried counts the points of each rule.
func carried(rs *RuleSet, signals []*Signal) []uint64 {
	out := make([]uint64, len(rs.Rules()))
	for _, s := range signals {
		for _, rp := range s.Rules {
			out[rs.ByHash(rp.Rule).Index] += uint64(len(rp.Points))
		}
	}
	return out
}

func TestWhatIsShedIsMildAndCounted(t *testing.T) {
	rs := loadText(t, shedRules)
	events, matches, matched := flood(rs, 1000)
	of := func(counts []uint64, id string) uint64 { return counts[rs.ByID(id).Index] }
	for _, limit := range []int{0, 10, 40, 100, 500, 1000, 2000, 10_000} {
		c := NewCollector(rs, plainHasher{})
		c.Limit(limit)
		var records [2][][]byte
		var before []uint64
		var got []uint64
		for round := range records { // the second batch is the first one, done again
			before = slices.Clone(c.Shed())
			for i := range events {
				c.Add(events[i], matches[i])
			}
			if limit > 0 && c.shedder.held > max(limit, 40) {
				t.Fatalf("limit %d: %d matches are held", limit, c.shedder.held)
			}
			packs := c.Packs(0, 0, 1000, 1)
			got = carried(rs, signalsIn(t, packs))
			for _, p := range packs {
				records[round] = append(records[round], p.Record)
			}
		}
		if !slices.EqualFunc(records[0], records[1], slices.Equal) {
			t.Errorf("limit %d: the same batch gave other signals", limit)
		}
		sum, shed := uint64(0), make([]uint64, len(got))
		for i, r := range rs.Rules() {
			shed[i] = c.Shed()[i] - before[i]
			sum += got[i]
			if got[i]+shed[i] != matched[i] {
				t.Errorf("limit %d: %s: %d carried and %d shed of %d", limit, r.Info.ID, got[i], shed[i], matched[i])
			}
		}
		if limit == 0 || limit == 10_000 {
			if c.Stats().Shed != 0 {
				t.Errorf("limit %d: %d were shed", limit, c.Stats().Shed)
			}
			continue
		}
		if n := of(got, "CR-01"); n != 20 {
			t.Errorf("limit %d: %d of 20 critical events are carried", limit, n)
		}
		order := []string{"SH-01", "LO-01", "LO-02", "ME-01", "CR-02"} // what goes first
		for i, id := range order {
			for _, worse := range order[i+1:] {
				if of(got, id) > 0 && of(shed, worse) > 0 {
					t.Errorf("limit %d: %d of %s were shed though %d of %s are carried", limit, of(shed, worse), worse, of(got, id), id)
				}
			}
		}
		if sum < uint64(limit)*9/10 {
			t.Errorf("limit %d: only %d are carried", limit, sum)
		}
	}
}

// Mild rules must not take the room of worse ones in the windows.
func TestWindowsLeaveRoomForWorseRules(t *testing.T) {
	rs := loadText(t, shedRules)
	for name, opts := range map[string]WindowOptions{"groups": {MaxGroups: 80}, "points": {MaxHeld: 80}} {
		t.Run(name, func(t *testing.T) {
			w := NewWindows(rs, plainHasher{}, testLateness, opts)
			events, matches, _ := flood(rs, 1000)
			c := NewCollector(rs, plainHasher{})
			sent := uint64(0)
			var said []Alert
			for i := range events {
				c.Add(events[i], matches[i])
				for _, s := range signalsOf(t, c, int64(i), int64(i+1)) {
					for _, rp := range s.Rules {
						sent += uint64(len(rp.Points))
					}
					said = w.Observe(said, s)
				}
			}
			st := w.Stats()
			if st.Shed == 0 || st.Points+st.Duplicates+st.Expired+st.Shed != sent {
				t.Errorf("%d points entered, %d were there, %d had expired, %d were shed: of %d", st.Points, st.Duplicates, st.Expired, st.Shed, sent)
			}
			told := uint64(0)
			w.TakeShed(func(r *Rule, n uint64) {
				told += n
				if r.Severity == "critical" && r.Mode == ModeAlert && r.Detector.single() {
					t.Errorf("%d points of %s were shed", n, r.Info.ID)
				}
			})
			w.TakeShed(func(r *Rule, n uint64) { t.Errorf("%d points of %s are told twice", n, r.Info.ID) })
			if told != st.Shed {
				t.Errorf("%d are told of %d", told, st.Shed)
			}
			said = w.Settle(said, TestStart.Add(24*time.Hour))
			fired := map[string]uint64{}
			for _, a := range said {
				if a.Rule.ID == "CR-01" && a.Settled {
					fired[a.Group[0].Value] += a.Count
				}
			}
			if len(fired) != 2 || fired["c49"]+fired["c99"] != 20 {
				t.Errorf("critical groups have %v, want 10 of c49 and of c99", fired)
			}
			if w.held != 0 || w.Groups() != 0 {
				t.Errorf("%d points and %d groups are counted as held after all has settled", w.held, w.Groups())
			}
		})
	}
}
