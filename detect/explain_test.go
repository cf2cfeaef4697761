package detect

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestExplain(t *testing.T) {
	rs := ruleSet(t,
		"match: {type: tool_call, outcome|neq: error, mcp.tool|startswith: admin, io.args|re: '(?i)drop\\s+table', not: {http.status: 200}}\nwhere: len(mcp.tool) > 3\nexceptions: [{name: x, match: {actor.client_id: ci}, reason: nightly job, expires: 2030-01-01}]",
		"match: {type: token}")
	e := rs.Explain(rs.Rules()[0])
	if e.Weak || !slices.Equal(e.Atoms, []string{"io.args ~table"}) && !slices.Equal(e.Atoms, []string{"mcp.tool ~admin"}) {
		t.Errorf("stands under %q", e.Atoms)
	}
	if !slices.Equal(e.Closed, []string{"type is tool_call", "outcome is any other, success, failure, denied, unknown"}) {
		t.Errorf("closed sets: %q", e.Closed)
	}
	if e.Literals != 2 || e.Regexps != 1 || e.Where == 0 || len(e.Exceptions) != 1 {
		t.Errorf("%+v", e)
	}
	var b strings.Builder
	e.Write(&b)
	for _, want := range []string{
		"type is tool_call  [mask]", "io.args matches /(?i)drop\\s+table/  [literal pass, regular expression to confirm]",
		"mcp.tool starts with \"admin\"", "[index]", "not\n", "http.status is 200  [comparison]", "excepted by x, expires 2030-01-01: nightly job\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if weak := rs.Explain(rs.Rules()[1]); !weak.Weak || weak.Atoms != nil {
		t.Errorf("%+v", weak)
	}
}

// People read low, medium, high, critical; the alphabet has critical first.
func TestExplainKeepsTheOrderOfClosedSets(t *testing.T) {
	rs := ruleSet(t, "match: {severity: [high, low, critical, medium], outcome: [unknown, error, denied, failure], mcp.tool: [b, a]}")
	e := rs.Explain(rs.Rules()[0])
	var b strings.Builder
	e.Write(&b)
	for _, want := range []string{"  severity is low, medium, high, critical  [", "  outcome is failure, denied, error, unknown  [", "  mcp.tool is a, b  ["} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestSummary(t *testing.T) {
	const match, grouped = "match: {type: tool_call}\n", "\ngroup_by: [net.ip, actor.client_id]"
	for body, want := range map[string]string{
		match: "every matching event",
		match + "threshold: {count: {gte: 5}, window: 5m}" + grouped:                               "5 or more events within 5m, for each net.ip and actor.client_id",
		match + "distinct: {field: mcp.tool, count: {gte: 3}, window: 5m}":                         "3 or more different mcp.tool within 5m",
		match + "sum: {field: io.duration_ms, gte: 5, window: 5m}":                                 "io.duration_ms summing to 5 within 5m",
		match + "absence: {window: 5m}":                                                            "a matching event that no other follows within 5m",
		match + "ratio: {of: {outcome: error}, gte: 0.05, count: {gte: 20}, window: 5m}" + grouped: "20 or more events that are at least 5 % of the events within 5m, for each net.ip and actor.client_id",
	} {
		if got := ruleSet(t, body).Rules()[0].Summary(); got != want {
			t.Errorf("%s\n%q, want %q", body, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 500 * time.Millisecond: "500ms", 10 * time.Second: "10s", 15 * time.Minute: "15m",
		time.Hour: "1h", 90 * time.Minute: "1h30m", 72 * time.Hour: "3d", 36 * time.Hour: "36h", 61 * time.Second: "1m1s", time.Hour + time.Second: "1h0m1s",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}

func TestExplainEvent(t *testing.T) {
	rs := ruleSet(t,
		"match: {type: tool_call, mcp.tool: [rm, 'admin.users*'], net.host|contains: strasse}\nwhere: http.status > 400\nexceptions: [{name: x, match: {server.name: files}, reason: r, expires: 2030-01-01}, {name: y, match: {type: tool_call}, reason: r, expires: 2020-01-01}]",
		"match: {type: tool_call}\nwhere: io.duration_ms > 5",
		"match: {type: tool_call}\nsum: {field: io.duration_ms, gte: 5, window: 5m}")
	m, ev := NewMatcher(rs), sample()
	tr := m.ExplainEvent(rs.Rules()[0], ev)
	if tr.Matched || !tr.Condition.Holds || !tr.Candidate || !tr.Where.Holds || tr.Where.Raw["http.status"] != "429" {
		t.Errorf("%+v", tr)
	}
	if !tr.Exceptions[0].Applies || tr.Exceptions[1].Applies || !tr.Exceptions[1].Holds || !tr.Exceptions[1].Over {
		t.Errorf("exceptions: %+v", tr.Exceptions)
	}
	ev.Set(ServerName, "other")
	if tr = m.ExplainEvent(rs.Rules()[0], ev); !tr.Matched || tr.Add != 1 {
		t.Errorf("%+v", tr)
	}
	ev.Set(MCPTool, "Harmless")
	tr = m.ExplainEvent(rs.Rules()[0], ev)
	i := slices.IndexFunc(tr.Condition.Parts, func(n Node) bool { return strings.HasPrefix(n.Text, "mcp.tool") })
	if n := tr.Condition.Parts[i]; tr.Matched || n.Holds || !slices.Equal(n.Raw, []string{"Harmless"}) {
		t.Errorf("%+v", n)
	}
	var b strings.Builder
	tr.Write(&b)
	if s := b.String(); !strings.Contains(s, "does not match (raw values") || !strings.Contains(s, `raw: ["Harmless"]`) || !strings.Contains(s, "no  mcp.tool") {
		t.Error(s)
	}
	if tr = m.ExplainEvent(rs.Rules()[1], ev); tr.Matched || !slices.Equal(tr.Where.Absent, []string{"io.duration_ms"}) {
		t.Errorf("%+v", tr.Where)
	}
	if tr = m.ExplainEvent(rs.Rules()[2], ev); tr.Matched || tr.FieldThere || tr.Field != "io.duration_ms" {
		t.Errorf("%+v", tr)
	}
	ev.SetFlag(SrcLoop, true)
	if tr = m.ExplainEvent(rs.Rules()[0], ev); !tr.Loop || tr.Matched {
		t.Errorf("%+v", tr)
	}
}

// TestTraceAgreesWithMatch draws rules and events: the trace's condition is what decides, the
// index leads to every rule whose condition holds, and a trace leaves the matcher as it was.
func TestTraceAgreesWithMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bodies := []string{"match: " + drawCondition(t, 3), "match: " + drawCondition(t, 2)}
		rs := rapidRuleSet(t, bodies)
		m, ev := NewMatcher(rs), drawEvent(t)
		before := m.Match(nil, ev)
		for i, r := range rs.Rules() {
			tr := m.ExplainEvent(r, ev)
			if tr.Matched != tr.Condition.Holds || tr.Condition.Holds && !tr.Candidate {
				t.Fatalf("rule %d: %+v\n%s", i, tr, strings.Join(bodies, "\n"))
			}
			rs.Explain(r)
		}
		if after := m.Match(nil, ev); !slices.Equal(before, after) {
			t.Fatalf("%v, then %v", before, after)
		}
	})
}
