package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const coveredRule = `match: {type: tool_call, mcp.tool: [rm, 'del*'], not: {env: [test, lab]}}
threshold: {count: {gte: 3}, window: 5m, group_by: [actor.client_id]}
where: http.status < 500
exceptions: [{name: ci, match: {actor.client_id: ci}, reason: nightly, expires: 2030-01-01}]
tests:
  - {name: rm, expect: {alerts: 1}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: rm, http.status: 200, actor.client_id: c}}]}
  - {name: delete, expect: {alerts: 1}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: delete, http.status: 200, actor.client_id: c}}]}
  - {name: two, expect: {alerts: 0}, events: [{repeat: 2, event: {type: tool_call, mcp.tool: rm, http.status: 200, actor.client_id: c}}]}
  - {name: other type, expect: {alerts: 0}, events: [{repeat: 3, event: {type: discovery, mcp.tool: rm, http.status: 200, actor.client_id: c}}]}
  - {name: other tool, expect: {alerts: 0}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: ls, http.status: 200, actor.client_id: c}}]}
  - {name: test, expect: {alerts: 0}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: rm, http.status: 200, actor.client_id: c, env: test}}]}
  - {name: lab, expect: {alerts: 0}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: rm, http.status: 200, actor.client_id: c, env: lab}}]}
  - {name: failed, expect: {alerts: 0}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: rm, http.status: 500, actor.client_id: c}}]}
  - {name: excepted, expect: {alerts: 0}, events: [{repeat: 3, event: {type: tool_call, mcp.tool: rm, http.status: 200, actor.client_id: ci}}]}
  - {name: slow, expect: {alerts: 0}, events: [{repeat: 3, every: 4m, event: {type: tool_call, mcp.tool: rm, http.status: 200, actor.client_id: c}}]}
`

// TestCoverage has a rule whose tests decide every part; each test that is taken away leaves a
// part undecided, and just the one that it was for.
func TestCoverage(t *testing.T) {
	undecided := func(body string) (out []string) {
		for _, p := range ruleSet(t, body).Coverage(nil)[0].Parts {
			if !p.Decided {
				out = append(out, strings.TrimSpace(p.Text+" "+p.Value+" "+p.Instead))
			}
		}
		return out
	}
	c := ruleSet(t, coveredRule).Coverage(nil)[0]
	if c.Fire != 2 || c.Quiet != 8 || c.Failed != 0 || len(c.Parts) < 11 {
		t.Errorf("%+v", c)
	}
	if left := undecided(coveredRule); left != nil {
		t.Errorf("undecided: %q", left)
	}
	for name, want := range map[string][]string{
		"delete": {"mcp.tool del*"}, "rm": {"mcp.tool rm"}, "other type": {"type: tool_call"},
		"other tool": {"mcp.tool: [rm, 'del*']"}, "lab": {"not env lab"}, "failed": {"http.status < 500"}, "excepted": {"actor.client_id: ci"},
		"slow": {"window 5m  10m"},
	} {
		var lines []string
		for line := range strings.Lines(coveredRule) {
			if !strings.Contains(line, "{name: "+name+",") || strings.Contains(line, "exceptions:") {
				lines = append(lines, line)
			}
		}
		if got := undecided(strings.Join(lines, "")); !slices.Equal(got, want) {
			t.Errorf("without the test %q: %q are undecided, want %q", name, got, want)
		}
	}
}

// TestCoverageOfFailingTests asks nothing of a rule whose tests fail, and takes rules with steps
// of others and findings in their stride.
func TestCoverageOfFailingTests(t *testing.T) {
	rs := ruleSet(t, "match: {type: tool_call}\ntests: [{name: x, expect: {alerts: 2}, events: [{event: {type: tool_call}}]}]")
	if c := rs.Coverage(nil)[0]; c.Failed != 1 || c.Parts != nil {
		t.Errorf("%+v", c)
	}
	several := func(r *Rule) bool { return len(r.streams) > 1 || r.streams[0].finding != nil }
	for _, c := range pack(t).Coverage(func(r *Rule) bool {
		return several(r) && (!testing.Short() || strings.HasPrefix(r.Info.ID, "AU"))
	}) {
		if c.Failed > 0 || len(c.Parts) == 0 {
			t.Errorf("%s: %d tests fail, %d parts", c.Rule.Info.ID, c.Failed, len(c.Parts))
		}
	}
}

// TestVariantsAreLooserOrStricter draws conditions and events: what a variant says of itself
// is what it does.
func TestVariantsAreLooserOrStricter(t *testing.T) {
	changed := 0
	rapid.Check(t, func(t *rapid.T) {
		rs := rapidRuleSet(t, []string{"match: " + drawCondition(t, 3)})
		m, p := NewMatcher(rs), rs.Rules()[0].program.base
		for range 5 {
			ev := drawEvent(t)
			m.epoch, m.steps = m.epoch+1, maxRuleSteps
			held := p.eval(m, ev)
			for _, v := range rs.Rules()[0].said.without(p, nil) {
				m.epoch, m.steps = m.epoch+1, maxRuleSteps
				holds := v.pred.eval(m, ev)
				if held != holds {
					changed++
				}
				if v.looser && held && !holds || !v.looser && holds && !held {
					t.Fatalf("%s without %s %s: %v, then %v\n%s", predText(p), v.text, v.value, held, holds, fmt.Sprint(v.looser))
				}
			}
		}
	})
	if changed == 0 {
		t.Error("no variant ever differed: the test shows nothing")
	}
}

// TestDistinctLists has scopes as one value: in whatever order, and all of them.
func TestDistinctLists(t *testing.T) {
	rs := ruleSet(t, `match: {type: token}
distinct: {field: actor.scopes, count: {gte: 2}, window: 5m, group_by: [actor.client_id]}
tests:
  - {name: one more, expect: {alerts: 1}, events: [{event: {type: token, actor.client_id: c, actor.scopes: [a]}}, {event: {type: token, actor.client_id: c, actor.scopes: [a, b]}}]}
  - {name: other order, expect: {alerts: 0}, events: [{event: {type: token, actor.client_id: c, actor.scopes: [b, a]}}, {event: {type: token, actor.client_id: c, actor.scopes: [a, b]}}]}
  - {name: absent, expect: {alerts: 0}, events: [{event: {type: token, actor.client_id: c, actor.scopes: [b]}}, {event: {type: token, actor.client_id: c}}]}`)
	for _, r := range rs.RunTests(nil) {
		if r.Failed != "" {
			t.Errorf("%s: %s", r.Case.Name, r.Failed)
		}
	}
}

// An event without a field of group_by is skipped anyway, so no test can decide that it is asked for.
func TestCoverageOfWhatGroupingAsks(t *testing.T) {
	for _, p := range ruleSet(t, `match: {type: tool_call, actor.client_id|exists: true}
group_by: [actor.client_id]
tests:
  - {name: fires, expect: {alerts: 1}, events: [{event: {type: tool_call, actor.client_id: c}}]}
  - {name: quiet, expect: {alerts: 0}, events: [{event: {type: discovery, actor.client_id: c}}]}
`).Coverage(nil)[0].Parts {
		if !p.Decided {
			t.Errorf("%s is undecided", p.Text)
		}
	}
}

// Parts are named as the rule writes them, so that they are found there.
func TestCoverageSaysWhatTheRuleSays(t *testing.T) {
	got := map[string]bool{}
	for _, p := range ruleSet(t, `match:
  any:
    - {mcp.tool|startswith|cased: [Pay, Send], mcp.is_error: false}
    - {io.findings: [{cat: sqli, score|gte: 0.7}, {cat: cmdi}], net.ip|exists: true}
  not: {net.host|exists: false}
exceptions: [{name: x, reason: r, expires: 2030-01-01, match: {http.status|gte: 500}}]
tests: [{name: quiet, expect: {alerts: 0}, events: [{event: {type: discovery}}]}]
`).Coverage(nil)[0].Parts {
		got[strings.TrimSpace(p.Text+" "+p.Value)] = true
	}
	for _, want := range []string{
		"mcp.tool|startswith|cased: [Pay, Send]", "mcp.tool|startswith|cased Pay", "mcp.is_error: false", "io.findings: {cat: sqli, score|gte: 0.7}",
		"io.findings: {score|gte: 0.7}", "any: [{io.findings: {cat: sqli, score|gte: 0.7}}, {io.findings: {cat: cmdi}}]", "net.ip|exists: true",
		"not: {net.host|exists: false}", "http.status|gte: 500",
	} {
		if !got[want] {
			t.Errorf("no part %s of %q", want, slices.Sorted(maps.Keys(got)))
		}
	}
}
