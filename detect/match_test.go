package detect

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

const ruleHead = "schema: rule/v1\nid: %s\nname: n%d\ntitle: A rule\nseverity: high\n"

// yamlFS has one rule per body, and two lists.
func yamlFS(bodies []string) fstest.MapFS {
	var b strings.Builder
	for i, body := range bodies {
		fmt.Fprintf(&b, "---\n"+ruleHead+"%s\n", fmt.Sprintf("AA-%03d", i), i, body)
	}
	return fstest.MapFS{"r.yaml": {Data: []byte(b.String())}, "lists/a.yaml": {Data: []byte("admin_tools: [rm, 'admin.*']\nbad_asn: [64500]\n")}}
}

// ruleSet loads one rule per body.
func ruleSet(t testing.TB, bodies ...string) *RuleSet {
	t.Helper()
	rs, err := Load(yamlFS(bodies))
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func event(set func(*Event)) *Event {
	ev := &Event{Time: TestStart}
	ev.Set(Type, "tool_call")
	ev.Set(Outcome, "success")
	set(ev)
	return ev
}

func sample() *Event {
	return event(func(ev *Event) {
		ev.Set(MCPTool, "Admin.Users*")
		ev.Set(NetIP, "203.0.113.9")
		ev.Set(NetHost, "STRASSE.example")
		ev.Set(NetOrigin, "straße.example")
		ev.Set(ServerName, "files")
		ev.Set(ServerInstance, "FILES")
		ev.SetNum(HTTPStatus, 429)
		ev.SetNum(IORows, 429)
		ev.SetFlag(MCPIsError, true)
		ev.Add(IOArgs, "first value")
		ev.Add(IOArgs, "Second VALUE with \u212aelvin and c2VjcmV0LXRleHQ=")
		ev.Add(ActorScopes, "read")
		ev.Add(ActorScopes, "admin:all")
		ev.SetLabel("team", "Blue-1")
		ev.AddFinding(Finding{Cat: "sqli", Rule: "sqli.libinjection", Dir: "input", Score: 0.4})
		ev.AddFinding(Finding{Cat: "ssrf", Rule: "ssrf.private", Dir: "input", Score: 0.8})
	})
}

func TestSelections(t *testing.T) {
	for _, tt := range []struct {
		match string
		want  bool
	}{
		{`{type: tool_call}`, true},
		{`{type: [discovery, tool_call], outcome: success}`, true},
		{`{type: tool_call, outcome: denied}`, false},
		{`[{type: discovery}, {outcome: success}]`, true},
		{`{any: [{type: discovery}, {outcome: success}]}`, true},
		{`{any: {type: discovery, outcome: success}}`, true},
		{`{all: [{type: tool_call}, {outcome: denied}]}`, false},
		{`{type: tool_call, not: {outcome: denied}}`, true},
		{`{type: tool_call, not: {outcome: success, http.status: 200}}`, true},
		{`{type: tool_call, not: [{outcome: success}, {http.status: 200}]}`, false},
		{`{mcp.tool: 'admin.users\*'}`, true},
		{`{mcp.tool: 'admin.users\?'}`, false},
		{`{mcp.tool|cased: 'admin.*'}`, false},
		{`{mcp.tool|cased: 'Admin.*'}`, true},
		{`{mcp.tool: 'a*n.us*rs*'}`, true},
		{`{mcp.tool: 'admin?users*'}`, true},
		{`{mcp.tool: '*users'}`, false},
		{`{mcp.tool: '*'}`, true},
		{`{mcp.prompt: '*'}`, false},
		{`{mcp.tool|startswith: ADMIN}`, true},
		{`{mcp.tool|endswith: 'users\*'}`, true},
		{`{mcp.tool|contains: [nope, MIN.U]}`, true},
		{`{io.args|contains|all: [first, second]}`, true},
		{`{io.args|contains|all: [first, third]}`, false},
		{`{io.args|contains: kelvin}`, true},
		{`{io.args|contains|cased: kelvin}`, false},
		{`{io.args|contains|cased: "Second VALUE"}`, true},
		{`{io.args|contains: 'fir*val'}`, true},
		{`{io.args: first value}`, true},
		{`{io.args|base64|contains: secret-text}`, true},
		{`{io.args|base64|contains: cret}`, true},
		{`{io.args|re: 'f\w+t v'}`, true},
		{`{io.args|re: 'F\w+T v'}`, false},
		{`{io.args|re: '(?i)second\s+value'}`, true},
		{`{io.args|re: '(absent|missing)+'}`, false},
		{`{net.host|fieldref: net.origin}`, false},
		{`{server.name|fieldref: server.instance}`, true},
		{`{server.name|fieldref|cased: server.instance}`, false},
		{`{server.name|fieldref|neq: server.instance}`, false},
		{`{http.status|fieldref: io.rows}`, true},
		{`{http.status|fieldref: net.port}`, false},
		{`{net.ip|cidr: [198.51.100.0/24, 203.0.113.0/24]}`, true},
		{`{net.ip|cidr|neq: 203.0.113.0/24}`, false},
		{`{net.ip|cidr: "2001:db8::/32"}`, false},
		{`{http.status: [429, 503]}`, true},
		{`{http.status|gte: 429, http.status|lt: 430}`, true},
		{`{http.status|gt: 429}`, false},
		{`{http.status|neq: 200}`, true},
		{`{net.port|neq: 200}`, false},
		{`{net.port|lt: 200}`, false},
		{`{mcp.is_error: true}`, true},
		{`{mcp.is_error: false}`, false},
		{`{io.truncated: false}`, false},
		{`{actor.scopes|contains: 'admin:'}`, true},
		{`{actor.scopes|neq: admin:all}`, false},
		{`{labels.team: blue-1}`, true},
		{`{labels.team|startswith: BLUE}`, true},
		{`{labels.team|contains: lue}`, true},
		{`{labels.team|re: '^Blue-\d$'}`, true},
		{`{labels.other: x}`, false},
		{`{labels.other|neq: x}`, false},
		{`{labels.team|exists: true, labels.other|exists: false}`, true},
		{`{mcp.prompt|exists: true}`, false},
		{`{mcp.tool|neq: rm}`, true},
		{`{mcp.prompt|neq: rm}`, false},
		{`{not: {mcp.prompt: rm}}`, true},
		{`{mcp.tool|list: admin_tools}`, true},
		{`{mcp.tool|list|neq: admin_tools}`, false},
		{`{net.asn|list: bad_asn}`, false},
		{`{io.findings: {cat: ssrf, score|gte: 0.7}}`, true},
		{`{io.findings: {cat: sqli, score|gte: 0.7}}`, false},
		{`{io.findings: [{cat: sqli, score|gte: 0.7}, {rule: 'ssrf.*'}]}`, true},
		{`{io.findings: {cat: [xss, SSRF], dir|neq: output}}`, true},
		{`{io.findings|exists: true}`, true},
		{`{io.findings: {rule|startswith: sqli., score|lt: 0.5}}`, true},
		{`{io.args|sqli: true}`, false},
		{`{io.args|xss: false}`, true},
	} {
		t.Run(tt.match, func(t *testing.T) {
			rs := ruleSet(t, "match: "+tt.match)
			m := NewMatcher(rs)
			for range 2 { // scratch of the first must not reach the second
				if got := len(m.Match(nil, sample())) == 1; got != tt.want {
					t.Errorf("got %v", got)
				}
			}
			// In company, with other literals in the automata and other rules in the index.
			rs = ruleSet(t, "match: {io.args|contains: [value, val, xyz]}", "match: {type: [discovery, error]}", "match: "+tt.match, "match: {mcp.tool|contains: min}")
			got := false
			for _, h := range NewMatcher(rs).Match(nil, sample()) {
				got = got || rs.Rules()[h.Rule].Info.ID == "AA-002"
			}
			if got != tt.want {
				t.Errorf("in company: got %v", got)
			}
		})
	}
}

func TestDetectorsAddWhatTheyMeasure(t *testing.T) {
	rs := ruleSet(t,
		"match: {type: tool_call}\nsum: {field: io.rows, gte: 10, window: 5m, group_by: [net.ip]}",
		"match: {type: tool_call}\nsum: {field: io.result_bytes, gte: 10, window: 5m}",
		"match: {type: tool_call}\ndistinct: {field: mcp.tool, count: {gte: 2}, window: 5m}",
		"match: {type: tool_call}\ndistinct: {field: mcp.prompt, count: {gte: 2}, window: 5m}",
		"match: {type: tool_call}\nscore:\n  gte: 5\n  of: [{name: a, add: 3, match: {http.status: 429}}, {name: b, add: 2.5, match: {mcp.is_error: true}}, {name: c, add: 9, match: {outcome: denied}}]",
		"match: {type: tool_call}\nscore:\n  gte: 5\n  of: [{name: a, add: 3, match: {http.status: 429}}, {name: c, add: 9, match: {outcome: denied}}]",
		"match: {type: tool_call}\nwhere: http.status >= 400 and http.status - io.rows == 0 and len(io.args) == 2 and any(actor.scopes, {# startsWith \"admin\"})",
		"match: {type: tool_call}\nwhere: net.port != 5",
		"match: {type: tool_call}\nwhere: mcp.tool matches \"^Admin\" and not (outcome in [\"denied\"])",
	)
	got := fmt.Sprint(NewMatcher(rs).Match(nil, sample()))
	if want := "[{0 429} {2 1} {4 5.5} {6 1} {8 1}]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestExceptionsEndByEventTime(t *testing.T) {
	rs := ruleSet(t, "match: {type: tool_call}\nexceptions: [{match: {net.ip|cidr: 203.0.113.0/24}, reason: scanner, expires: 2026-03-01}]")
	m := NewMatcher(rs)
	ev := sample()
	for _, tt := range []struct {
		at   string
		want int
	}{{"2026-02-01T00:00:00Z", 0}, {"2026-03-01T23:59:59Z", 0}, {"2026-03-02T00:00:00Z", 1}} {
		ev.Time, _ = time.Parse(time.RFC3339, tt.at)
		if got := len(m.Match(nil, ev)); got != tt.want {
			t.Errorf("%s: %d matches", tt.at, got)
		}
	}
	_, warnings, err := LoadWith(fstest.MapFS{"r.yaml": {Data: []byte(fmt.Sprintf(ruleHead, "AA-01", 1) + "match: {type: error}\nexceptions: [{name: x, match: {type: error}, reason: r, expires: 2020-01-01}]\n")}}, LoadOptions{Now: TestStart})
	if err != nil || len(warnings) != 1 || !strings.Contains(fmt.Sprint(warnings), "expired on 2020-01-01") {
		t.Errorf("%v, %v", warnings, err)
	}
}

func TestRulesNeverSeeOwnEvents(t *testing.T) {
	ev := sample()
	ev.SetFlag(SrcLoop, true)
	if got := NewMatcher(ruleSet(t, "match: {type: tool_call}")).Match(nil, ev); len(got) > 0 {
		t.Error(got)
	}
}

func TestHashIsOfTheMeaning(t *testing.T) {
	base := "match: {type: [tool_call, error], outcome: success, any: [{mcp.tool: A}, {reason: b}]}\nthreshold: {count: {gte: 3}, window: 5m, group_by: [net.ip]}\n"
	hash := func(body string) [16]byte { return ruleSet(t, body).Rules()[0].Hash }
	for _, same := range []string{
		base + "description: other words\nrunbook: more\ntags: [a.b]\n# comment\n",
		"threshold: {group_by: [net.ip], window: 300s, count: {gte: 3.0}}\nmatch: {any: [{reason: B}, {mcp.tool: a}], outcome: Success, type: [error, tool_call, error]}\n",
	} {
		if hash(same) != hash(base) {
			t.Errorf("the hash differs for\n%s", same)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "gte: 3", "gte: 4", 1), strings.Replace(base, "5m", "6m", 1), strings.Replace(base, "net.ip", "actor.client_id", 1),
		strings.Replace(base, "success", "denied", 1), strings.Replace(base, "any:", "all:", 1), base + "suppress: {for: 1h}\n",
		strings.Replace(base, "reason:", "reason|contains:", 1), strings.Replace(base, "mcp.tool: A", "mcp.tool|cased: A", 1),
	} {
		if hash(other) == hash(base) {
			t.Errorf("the hash is the same for\n%s", other)
		}
	}
}

// TestLiteralsAgreeWithContains compares the automaton with the obvious search.
func TestLiteralsAgreeWithContains(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.StringOfN(rapid.SampledFrom([]rune("abABkKſ\u212aßé.")), rapid.IntRange(1, 4).Draw(t, "least"), 8, -1)
		words := rapid.SliceOfN(letters, 1, 12).Draw(t, "words")
		text := rapid.StringOfN(rapid.SampledFrom([]rune("abABkKſ\u212aßéÉ. x")), 0, 40, -1).Draw(t, "text") + rapid.StringOfN(rapid.SampledFrom([]rune("abABkK. ")), 0, 200, -1).Draw(t, "more") // lanes
		l := &literals{}
		ids := make([]int, len(words))
		for i, w := range words {
			ids[i] = l.add(w)
		}
		l.build()
		hits := l.newHits()
		l.scan(text, &hits, nil)
		for i, w := range words {
			if want := strings.Contains(foldString(text), foldString(w)); hits.has(int32(ids[i])) != want {
				t.Fatalf("%q in %q: got %v", w, text, !want)
			}
		}
	})
}

// TestRegexLiteralsAreNecessary draws matching texts and asks whether the filter lets them through.
func TestRegexLiteralsAreNecessary(t *testing.T) {
	for _, re := range []string{`foo|ba+r`, `(?i)select\s+\w+ from`, `a(bc|de)+f`, `x*yz{2,3}`, `[ab]cd(e|f)g`, `(?:foo)?bar`, `ſtop|KELVIN`} {
		lits := regexLiterals(re)
		rapid.Check(t, func(t *rapid.T) {
			text := foldString(rapid.StringMatching(re).Draw(t, "text"))
			if lits == nil {
				return
			}
			for _, l := range lits {
				if strings.Contains(text, l) {
					return
				}
			}
			t.Fatalf("%s: none of %q in %q", re, lits, text)
		})
	}
}

func TestGreaterThanOnCountsAndSums(t *testing.T) {
	rs := ruleSet(t, "match: {type: error}\nthreshold: {count: {gt: 4}, window: 5m}", "match: {type: error}\nsum: {field: io.rows, gt: 4, window: 5m}")
	if a, b := rs.Rules()[0].Detector.Threshold, rs.Rules()[1].Detector.Threshold; a != 5 || b <= 4 || b > 4.0001 {
		t.Error(a, b)
	}
}

func TestRuleSetFindsAndGroups(t *testing.T) {
	rs := ruleSet(t, "match: {type: error}\ngroup_by: [net.ip]", "match: {type: token}\ngroup_by: [{coalesce: [actor.token, labels.team]}]", "match: {type: config}\nthreshold: {count: {gte: 2}, window: 7m, group_by: [net.ip]}")
	r := rs.ByID("AA-001")
	if r == nil || rs.ByHash(r.Hash) != r || len(rs.Groupings()) != 2 || rs.Rules()[0].Grouping != rs.Rules()[2].Grouping || rs.MaxWindow() != 7*time.Minute {
		t.Fatalf("%+v, %v", r, rs.Groupings())
	}
	if g := r.GroupBy[0]; g.Label != "team" || len(g.Fields) != 1 || r.Suppress != 10*time.Minute || rs.Rules()[2].Suppress != 7*time.Minute {
		t.Errorf("%+v", r)
	}
}
