package detect

import (
	"strings"
	"testing"
	"time"
)

// Evidence shows the finding that the rule asked for, not a stronger one of the event.
func TestEvidenceShowsTheFindingAskedFor(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: TF-01, name: t.sqli, match: {io.findings: {cat: sqli}}, group_by: [server.name]}
{id: TF-02, name: t.either, match: {any: [{io.findings: [{cat: xss}, {cat: sqli, score|gte: 0.9}]}, {mcp.tool: other}]}, group_by: [server.name], alert: {context: [mcp.tool]}}
{id: TF-03, name: t.score, match: {type: tool_call}, score: {gte: 2, of: [{name: p, add: 1, match: {io.findings: {cat: path}}}, {name: q, add: 1, match: {mcp.tool: q}}]}, group_by: [server.name]}
{id: TF-04, name: t.without, match: {type: tool_call, not: {io.findings: {cat: pii}}}, group_by: [server.name]}
{id: TF-05, name: t.any, match: {"io.findings|exists": true}, group_by: [server.name]}
`))
	m, c := NewMatcher(rs), NewCollector(rs, plainHasher{})
	w := NewWindows(rs, plainHasher{}, testLateness, WindowOptions{})
	at := TestStart // where a bucket begins: of a rule without a window too
	ev := &Event{Claimed: at, Append: at}
	ev.Set(ID, "e1")
	ev.Set(Type, "tool_call")
	ev.Set(ServerName, "a")
	ev.Set(MCPTool, "q")
	for cat, score := range map[string]float64{"ssrf": 0.9, "sqli": 0.4, "xss": 0.3, "path": 0.2} {
		ev.AddFinding(Finding{Cat: cat, Rule: cat, Dir: "input", Score: score})
	}
	ev.Stamp(testLateness)
	ev.Redact(plainHasher{}, nil)
	c.Add(ev, m.Match(nil, ev))
	var said []Alert
	for _, s := range signalsOf(t, c, 0, 1) {
		said = append(said, w.Observe(nil, s)...)
	}
	said = append(said, w.Settle(nil, TestStart.Add(time.Hour))...)
	want := map[string]string{"TF-01": "sqli", "TF-02": "xss", "TF-03": "path", "TF-04": "ssrf", "TF-05": "ssrf"}
	seen := map[string]bool{}
	for _, a := range said {
		seen[a.Rule.ID] = true
		if len(a.Evidence) != 1 {
			t.Errorf("%s shows %v", a.Rule.ID, a.Evidence)
			continue
		}
		e := a.Evidence[0]
		if e.Finding != want[a.Rule.ID] || len(e.Context) != map[bool]int{true: 1}[a.Rule.ID == "TF-02"] {
			t.Errorf("%s shows the finding %q, not %q, and beside it %v", a.Rule.ID, e.Finding, want[a.Rule.ID], e.Context)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("fired: %v", seen)
	}
}

// "since" is when it began, not when the bucket did.
func TestWhySaysWhenItBegan(t *testing.T) {
	r := loadText(t, ruleLines(`
{id: TF-01, name: t.one, match: {type: tool_call}, group_by: [server.name]}
`)).Rules()[0]
	a := Alert{Count: 2, BucketStart: TestStart, First: TestStart.Add(7 * time.Minute)}
	if said := why(r, &a); !strings.HasSuffix(said, a.First.Format("since 15:04 UTC")) {
		t.Error(said)
	}
}
