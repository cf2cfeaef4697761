package detect

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// brute evaluates every rule's whole condition: no index, no guard.
func brute(rs *RuleSet, ev *Event) (out []Match) {
	if ev.Flag(SrcLoop) {
		return nil
	}
	m := NewMatcher(rs)
	m.epoch++
	for i, r := range rs.rules {
		m.steps = maxRuleSteps
		var terms []guarded
		for _, t := range r.program.score {
			terms = append(terms, guarded{anyGuard, t.match})
		}
		if !r.program.cond.eval(m, ev) {
			continue
		}
		if add, ok := r.program.match(m, ev, terms); ok {
			out = append(out, Match{Rule: i, Add: add})
		}
	}
	return out
}

// drawCondition draws one condition, or several inside each other.
func drawCondition(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "form") {
		case 0:
			return "{not: " + drawCondition(t, depth-1) + "}"
		case 1:
			return "{any: [" + drawCondition(t, depth-1) + ", " + drawCondition(t, depth-1) + "]}"
		case 2, 3:
			return "{all: [" + drawCondition(t, depth-1) + ", " + drawCondition(t, depth-1) + "]}"
		}
	}
	return "{" + rapid.SampledFrom([]string{
		"type: tool_call", "type: [token, error]", "type|neq: tool_call", "type|neq: [token, error]", "type: 't*'", "type|exists: true", "type|exists: false",
		"outcome: success", "outcome|neq: denied", "outcome: [success, denied]", "outcome|cased: success", "outcome|contains: fail",
		"mcp.is_error: true", "mcp.is_error: false", "mcp.is_error|neq: true", "mcp.is_error|exists: true",
		"severity: high", "server.transport: [http, sse]", "actor.auth_method|neq: none", "net.ip_class: public", "perm.source|exists: false",
		"mcp.tool: Admin.Users", "mcp.tool: [kube, 'a*s']", "mcp.tool|neq: kube", "mcp.tool|cased: Kube", "mcp.tool|startswith: adm", "mcp.tool|endswith: [users, be]",
		"mcp.tool: '*min*ers'", "mcp.tool: 'k?be'", "mcp.tool|exists: true", "mcp.tool|re: '^[ak]'", "mcp.tool|re: 'kube|admin'",
		"io.args|contains: select", "io.args|contains: [drop table, 'e']", "io.args|contains|all: [select, from]", "io.args|re: '(?i)select\\s+x'",
		"io.args|contains|cased: Select", "io.args: 'select*from'", "io.args|neq: select", "io.args|contains|neq: select", "io.args|startswith|cased: Sel", "io.args|all: [select, kube]",
		"http.status: 429", "http.status: [200, 500]", "http.status|neq: 200", "http.status|gte: 300", "net.ip|cidr: 203.0.113.0/24",
		"labels.team: blue", "labels.team|contains: lu", "labels.team|exists: false",
		"io.findings: {cat: sqli}", "io.findings: {cat: [sqli, ssrf], score|gte: 0.7}", "io.findings: {cat|startswith: s, dir|neq: output}", "io.findings|exists: true",
		"mcp.tool|fieldref: server.name",
	}).Draw(t, "condition") + "}"
}

func drawEvent(t *rapid.T) *Event {
	ev := &Event{Time: TestStart}
	text := func(f Field, of ...string) {
		if s := rapid.SampledFrom(append(of, "")).Draw(t, f.String()); s != "" {
			ev.Set(f, s)
		}
	}
	text(Type, "tool_call", "token", "error", "TOOL_CALL", "to\u212aen", "something")
	text(Outcome, "success", "denied", "failure", "Success")
	text(Severity, "high", "low")
	text(ServerTransport, "http", "stdio")
	text(ActorAuthMethod, "none", "bearer")
	text(NetIPClass, "public", "private")
	text(PermSource, "gateway")
	text(MCPTool, "admin.users", "ADMIN.Users", "kube", "Kube", "\u212aube", "admin\u017f", "bells")
	text(ServerName, "Kube", "files")
	text(NetIP, "203.0.113.9", "10.0.0.1", "x")
	for range rapid.IntRange(0, 2).Draw(t, "args") {
		ev.Add(IOArgs, rapid.SampledFrom([]string{"select", "Select", "SELECT  x from y", "drop table", "é \u212aube select" + strings.Repeat(" and more", 9) + " drop table", "kube"}).Draw(t, "arg"))
	}
	if n := rapid.SampledFrom([]float64{-1, 200, 429, 500}).Draw(t, "status"); n >= 0 {
		ev.SetNum(HTTPStatus, n)
	}
	switch rapid.IntRange(0, 2).Draw(t, "is_error") {
	case 0:
		ev.SetFlag(MCPIsError, false)
	case 1:
		ev.SetFlag(MCPIsError, true)
	}
	if rapid.Bool().Draw(t, "label") {
		ev.SetLabel("team", "Blue")
	}
	for range rapid.IntRange(0, 2).Draw(t, "findings") {
		ev.AddFinding(Finding{Cat: rapid.SampledFrom([]string{"sqli", "SSRF", "xss"}).Draw(t, "cat"), Dir: "input", Score: rapid.SampledFrom([]float64{0.4, 0.9}).Draw(t, "score")})
	}
	return ev
}

// TestIndexAgreesWithEveryRule draws rules and events, and holds what the index lets through and
// the guards decide against the evaluation of every rule.
func TestIndexAgreesWithEveryRule(t *testing.T) {
	matched, checked := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var bodies []string
		for range rapid.IntRange(1, 12).Draw(t, "rules") {
			bodies = append(bodies, "match: "+drawCondition(t, 3))
		}
		rs := rapidRuleSet(t, bodies)
		m := NewMatcher(rs)
		for range 8 {
			ev := drawEvent(t)
			got, want := m.Match(nil, ev), brute(rs, ev)
			if !slices.Equal(got, want) {
				t.Fatalf("got %v, every rule says %v\n%s", got, want, strings.Join(bodies, "\n"))
			}
			matched += len(want)
			checked += len(bodies)
		}
	})
	if matched < checked/10 || matched > checked*9/10 {
		t.Errorf("%d of %d rules matched: the drawn rules do not tell", matched, checked)
	}
}

func rapidRuleSet(t *rapid.T, bodies []string) *RuleSet {
	rs, err := Load(yamlFS(bodies))
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(bodies, "\n"))
	}
	return rs
}

// TestGuardsDecide asks the guards alone, of conditions that they decide.
func TestGuardsDecide(t *testing.T) {
	for _, match := range []string{
		"{type: tool_call}", "{type: [tool_call, token], outcome: success}", "{not: {type: token}}", "{any: [{type: token}, {type: error}]}",
		"{type|neq: token, mcp.is_error: true}", "{type|exists: true}", "{all: [{type: tool_call}, {not: {outcome: [denied, failure]}}]}",
	} {
		rs := ruleSet(t, "match: "+match)
		if e := rs.index.entries[0]; e.rest != nil || e.atoms != nil {
			t.Errorf("%s: the guard leaves %#v", match, e.rest)
		}
	}
	rs := ruleSet(t, "match: {type: 'tool*'}", "match: {any: [{type: token}, {outcome: success}]}", "match: {not: {all: [{type: token}, {outcome: success}]}}")
	for i, e := range rs.index.entries {
		if e.rest == nil {
			t.Errorf("rule %d: a guard cannot decide this", i)
		}
	}
}

// TestRarestAtom says which atom a rule stands under.
func TestRarestAtom(t *testing.T) {
	for match, want := range map[string]string{
		"{type: tool_call, mcp.tool: rm}":                                 "mcp.tool rm",
		"{type: tool_call, io.args|contains: xp_cmdshell}":                "io.args ~xp_cmdshell",
		"{server.name: files, io.args|re: '(?i)drop\\s+table'}":           "io.args ~table",
		"{mcp.tool|startswith: admin, actor.client_id: c}":                "actor.client_id c",
		"{io.findings: {cat: sqli, score|gte: 0.5}, env: prod}":           "finding sqli",
		"{http.status: 429}":                                              "http.status 429",
		"{any: [{mcp.tool: a}, {io.args|contains: needle}]}":              "mcp.tool a io.args ~needle",
		"{any: [{mcp.tool: a}, {io.duration_ms|gt: 5}]}":                  "",
		"{type: tool_call, not: {mcp.tool: a}}":                           "",
		"{io.args|contains|all: [ab, longer words], mcp.tool: 'x*long*'}": "io.args ~longer words",
	} {
		rs := ruleSet(t, "match: "+match)
		var got []string
		for _, a := range rs.index.entries[0].atoms {
			got = append(got, rs.atomText(a))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: stands under %q, want %q", match, s, want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	var bodies []string
	for i := range 100 {
		bodies = append(bodies, benchRule(i, 50))
	}
	pool := []*RuleSet{pack(f), ruleSet(f, bodies...), ruleSet(f, fuzzRules...)}
	s := NewScanner()
	f.Add("tool_call", "../../etc/passwd", "203.0.113.9", 200.0, false)
	f.Add("resource_read", "http://0xa9fea9fe/ \xff\xfe %zz%25", "::ffff:1.2.3.4%eth0", -1.0, true)
	f.Add("tool_definition", "\u202e\u200b\u200b\u200b<svg onload=", "x", 429.0, false)
	f.Add("to\u212aen", benchLiteral(3, 0, 50)+" "+strings.Repeat("word ", 30)+benchLiteral(7, 0, 50), "Blue", 1e300, true)
	f.Fuzz(func(t *testing.T, typ, text, ip string, num float64, flag bool) {
		ev := &Event{Time: TestStart}
		ev.Set(Type, typ)
		ev.Set(Outcome, "success")
		ev.Set(NetIP, ip)
		ev.Set(MCPTool, text)
		ev.Set(MCPResource, text)
		ev.Set(ClientUserAgent, ip+text)
		ev.Add(IOArgs, text)
		ev.Add(IOArgs, ip)
		ev.Add(IOResult, text)
		ev.SetNum(HTTPStatus, num)
		ev.SetFlag(MCPIsError, flag)
		ev.SetLabel("expects", ip)
		ev.Derive()
		s.Scan(ev)
		for i, rs := range pool {
			got := NewMatcher(rs).Match(nil, ev)
			if want := brute(rs, ev); !slices.Equal(got, want) {
				t.Fatalf("set %d: got %v, every rule says %v", i, got, want)
			}
		}
		for _, x := range ev.Findings() {
			if x.Score <= 0 || x.Score > 1 || x.Rule == "" {
				t.Fatalf("%+v", x)
			}
		}
	})
}

// fuzzRules have every kind of condition.
var fuzzRules = []string{
	"match: {type: token, mcp.is_error: true}", "match: {type|neq: tool_call, outcome: success}", "match: {type: 't*n'}", "match: {mcp.tool|cased: Ab}",
	"match: {mcp.tool: 'a?b*'}", "match: {io.args: '*a*b*'}", "match: {io.args|re: '(?i)a+b'}", "match: {io.args|re: '^\\s*x'}", "match: {io.args|contains|all: [ab, ba]}",
	"match: {io.args|contains|base64: secret}", "match: {http.status: [0, 429]}", "match: {http.status|gt: 500}", "match: {net.ip|cidr: 203.0.0.0/8}",
	"match: {labels.expects|contains: lu}", "match: {mcp.tool|fieldref: mcp.resource}", "match: {io.findings: {cat: sqli}}", "match: {io.args|patterns: path.sensitive}",
	"match: {client.user_agent|startswith: 'k'}", "match: {client.user_agent|endswith: [word, 'é']}", "match: {not: {io.args|contains: 'k'}}",
	"match: {type: tool_call}\nwhere: len(mcp.tool) > 3", "match: {mcp.tool|exists: true}\nexceptions: [{name: x, match: {http.status: 429}, reason: r, expires: 2030-01-01}]",
}
