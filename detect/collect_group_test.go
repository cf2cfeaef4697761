package detect

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Which group an event is in follows from the event alone, whatever the events before it had in
// its fields, and in which of them.
func TestGroupsAreOfTheEventAlone(t *testing.T) {
	rs := loadText(t, `---
{schema: rule/v1, id: CG-01, name: g.a, title: A, severity: low, match: {type: tool_call}, group_by: [{coalesce: [mcp.session, actor.subject, net.ip_prefix, server.name]}]}
---
{schema: rule/v1, id: CG-02, name: g.b, title: B, severity: low, match: {type: tool_call}, group_by: [{coalesce: [trace.trace_id, actor.subject, net.ip]}]}
---
{schema: rule/v1, id: CG-03, name: g.c, title: C, severity: low, match: {type: tool_call}, group_by: [{coalesce: [actor.subject, actor.client_id]}, {coalesce: [mcp.tool, mcp.session]}, io.args_digest]}
---
{schema: rule/v1, id: CG-04, name: g.d, title: D, severity: low, match: {type: tool_call}, group_by: [{coalesce: [server.name, labels.team]}, net.ip_prefix]}
---
{schema: rule/v1, id: CG-05, name: g.e, title: E, severity: low, match: {type: tool_call}, group_by: [labels.team]}
---
{schema: rule/v1, id: CG-06, name: g.f, title: F, severity: low, match: {type: tool_call}, distinct: {field: actor.client_id, count: {gte: 2}, window: 5m, group_by: [net.ip_prefix]}}
`)
	r := rand.New(rand.NewPCG(1, 2))
	event := func(i int) *Event {
		ev := &Event{Offset: int64(i), Append: TestStart.Add(time.Duration(i) * time.Millisecond)}
		ev.Time = ev.Append
		ev.Set(Type, "tool_call")
		ev.Set(ID, fmt.Sprint("id", i))
		for _, f := range []Field{Tenant, MCPSession, ActorSubject, ActorClientID, ServerName, MCPTool, TraceID, IOArgsDigest, NetIP, NetIPPrefix} {
			switch r.IntN(3) {
			case 0:
				ev.Set(f, fmt.Sprint("v", r.IntN(2)))
			case 1:
				ev.Set(f, "")
			}
		}
		if r.IntN(2) == 0 {
			ev.Set(NetIP, fmt.Sprintf("10.0.%d.%d", r.IntN(2), r.IntN(3)))
			ev.Derive()
		}
		if r.IntN(2) == 0 {
			ev.SetLabel("team", fmt.Sprint("v", r.IntN(2)))
		}
		return ev
	}
	m, all := NewMatcher(rs), NewCollector(rs, plainHasher{})
	in := func(packs []Pack) (out []string) {
		for _, s := range signalsIn(t, packs) {
			for _, rp := range s.Rules {
				for _, p := range rp.Points {
					out = append(out, fmt.Sprintf("%x %v of rule %x, event %x, value %x", s.Group, s.Values, rp.Rule[:4], s.Events[p.Event].Identity, p.Value))
				}
			}
		}
		slices.Sort(out)
		return out
	}
	for batch := range 20 {
		var want []string
		for i := range 250 {
			ev := event(250*batch + i)
			matches := m.Match(nil, ev)
			ev.Redact(plainHasher{}, nil)
			alone := NewCollector(rs, plainHasher{})
			alone.Add(ev, matches)
			want = append(want, in(alone.Packs(0, 0, 1, 1))...)
			all.Add(ev, matches)
		}
		slices.Sort(want)
		packs := all.Packs(0, 0, 1, 3)
		if n := oneSignalEach(t, packs, rs.ByID("CG-01"), rs.ByID("CG-02")); n == 0 {
			t.Fatalf("batch %d: no group of both coalesces: the test shows nothing", batch)
		}
		if got := in(packs); !slices.Equal(got, want) || len(want) < 500 {
			t.Fatalf("batch %d: %d points in groups, want %d; or they are in others", batch, len(got), len(want))
		}
	}
}

// oneSignalEach holds packs to one signal a group, whichever field of a coalesce it is of, and counts
// those that two rules meet in.
func oneSignalEach(t *testing.T, packs []Pack, a, b *Rule) (both int) {
	t.Helper()
	seen := map[string]bool{}
	for _, s := range signalsIn(t, packs) {
		name := fmt.Sprint(s.Tenant, s.Values)
		if seen[name] {
			t.Fatalf("two signals of %s", name)
		}
		seen[name] = true
		has := func(r *Rule) bool {
			return slices.ContainsFunc(s.Rules, func(rp RulePoints) bool { return rp.Rule == r.Hash })
		}
		if has(a) && has(b) {
			both++
		}
	}
	return both
}

// What an event is called comes back letter by letter, also where it only looks like a UUID.
func TestIDsComeBackAsTheyWere(t *testing.T) {
	c, _ := collectGroup(t, "{schema: rule/v1, id: ID-01, name: i.a, title: A, severity: low, match: {type: tool_call}, group_by: [net.ip]}", len(oddIDs), func(ev *Event, i int) {
		ev.Set(ID, oddIDs[i])
	})
	var got []string
	for _, s := range signalsIn(t, c.Packs(0, 0, 10, 1)) {
		for _, e := range s.Evidence {
			got = append(got, e.EventID)
		}
	}
	if want := oddIDs[:maxEvidence]; !slices.Equal(got, want) {
		t.Errorf("ids %q, want %q", got, want)
	}
}

var oddIDs = []string{
	"0192f0c1-2b3c-7def-8123-0123456789ab", "0192f0c1-2b3c-7def-8123-0123456789AB", "0192f0c1-2b3c-7def-8123-0123456789ag",
	"0192f0c1-2b3c-7def-81-3-0123456789ab", "0192f0c12-b3c-7def-8123-0123456789ab",
}
