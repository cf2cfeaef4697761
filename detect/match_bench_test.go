package detect

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// pack loads the rules that ship; the test reads them from their folder, since
// package rules imports nothing and this one must not import it.
func pack(t testing.TB) *RuleSet {
	t.Helper()
	rs, err := Load(os.DirFS("../rules"))
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func quietEvent() *Event {
	return event(func(ev *Event) {
		ev.Set(MCPTool, "search.documents")
		ev.Set(ActorClientID, "client-17")
		ev.Set(NetIP, "203.0.113.9")
		ev.Set(ServerName, "docs")
		ev.SetNum(HTTPStatus, 200)
		ev.SetNum(IODurationMS, 12)
		ev.Add(IOArgs, strings.Repeat("quarterly report about the weather in May ", 5))
	})
}

func TestQuietEventsAllocateNothing(t *testing.T) {
	rs := ruleSet(t, "match: {type: tool_call, io.args|contains: [xp_cmdshell, union select]}", "match: {type: tool_call, io.args|re: '(?i)drop\\s+table'}",
		"match: {mcp.tool|startswith: admin}", "match: {type: discovery}", "match: {net.ip|cidr: 10.0.0.0/8}")
	m, ev := NewMatcher(rs), quietEvent()
	dst := make([]Match, 0, 8)
	dst = m.Match(dst, ev)
	if n := testing.AllocsPerRun(200, func() { dst = m.Match(dst[:0], ev) }); n > 0 || len(dst) > 0 {
		t.Errorf("%v allocations, %v", n, dst)
	}
	m = NewMatcher(pack(t))
	if n := testing.AllocsPerRun(200, func() { dst = m.Match(dst[:0], ev) }); n > 0 {
		t.Errorf("pack: %v allocations", n)
	}
}

// hostileRules are conditions that read whole fields, each as bad as a rule may be.
var hostileRules = []string{
	"match: {io.args|re: '(a+)+b'}", "match: {io.args|re: '(x|xx)*yfoo'}", "match: {io.args|contains: [aaaaaaaaab, foo]}", "match: {io.args: '*a*a*a*a*b'}",
	"match: {io.args: 'a?a?a?*b'}", "match: {io.args|sqli: true}", "match: {io.args|xss: true}", "match: {io.args|startswith: 'aaab'}",
	"match: {io.args|re: ['[a-z ]*(a|b)+c{2,9}q', '(a|aa)+$w', '(\\w+\\s*)*!', '(\\S+ ?){9}Q', '.{1,99}Z', '(?i)(x+x+)+y', '(é|e)*zz', '\\bfoo\\b.*bar']}",
	"match: {type: tool_call}\nwhere: |\n  any(io.args, # matches '(a+)+b' or # matches '(x|xx)*y' or # matches '(foo ?)+z' or # matches '[^b]*bc')",
	"match: {io.args|re: '(a{0,30}){0,30}b'}", "match: {io.args|re: '.{1,99}Z'}", "match: {io.args|re: '(\\S+ ?){9}Q'}",
	"match: {any: [" + strings.Repeat("{io.args|re: '(\\S+ ?){9}Q'}, ", 60) + "{io.args|re: 'a.{200}z'}]}", "match: {io.args|fieldref: io.result}", "match: {io.args|fieldref|cased: io.result}",
	"match: {any: [" + strings.Repeat("{io.args: [one thing, 'another']}, ", 300) + "{io.args: [third]}]}", "match: {io.args|cidr: [" + manyOf("10.%d.0.0/16", 200) + "]}",
	"match: {io.args|contains|cased: [" + manyOf("'aaaaaaaaaaaaB%d'", 300) + "]}", "match: {io.args: [" + manyOf("'*a%d*a*a*b*c'", 300) + "]}", "match: {any: [" + strings.Repeat("{io.args|sqli: true}, {io.args|xss: true}, ", 5) + "{io.args|sqli: true}]}",
	"match: {io.args: ['" + strings.Repeat("a?", 200) + "*b']}", "match: {any: [" + strings.Repeat("{io.args: 'ab*', io.result|exists: true}, ", 300) + "{io.args: cd}]}",
	"match: {type: tool_call}\nwhere: |\n  any(io.args, # matches '(a|aa)+b' or # startsWith 'bb')",
	"match: {type: tool_call}\nwhere: |\n  all(io.args, len(lower(upper(lower(upper(lower(upper(#))))))) > 0) and any(io.args, # + # + # + # + # contains 'nothing of that')",
}

func manyOf(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+", ", i)
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// hostileEvents are events whose arguments are one text of 1 MiB, or as much in many texts.
func hostileEvents() (out []*Event) {
	for _, piece := range hostilePieces {
		out = append(out, hostileEvent(piece))
	}
	for _, size := range []int{1, 20, maxClassify} {
		out = append(out, event(func(ev *Event) {
			for i := range (1 << 20) / max(size, 8) {
				ev.Add(IOArgs, strings.Repeat("a", size))
				ev.Add(IOResult, strings.Repeat("b", size)[:max(1, i%max(size, 2))])
			}
			ev.Set(MCPResource, strings.Repeat("a", 4096))
		}))
	}
	return out
}

func hostileEvent(piece string) *Event {
	text := strings.Repeat(piece, (1<<20)/len(piece))
	return event(func(ev *Event) { ev.Add(IOArgs, text) })
}

var hostilePieces = []string{"a", "x", "foo ", "é", "\u212a", "' or ", "<a "}

func TestHostileFieldsAreBounded(t *testing.T) {
	sets := []*RuleSet{pack(t)}
	for _, body := range hostileRules {
		sets = append(sets, ruleSet(t, body))
	}
	worst := time.Duration(0)
	events := hostileEvents()
	for i, set := range sets {
		m := NewMatcher(set)
		for j, ev := range events {
			start := CPUTime()
			m.Match(nil, ev)
			// The promise is 100 ms for one rule; the slack is for a busy machine and the race detector.
			d := CPUTime() - start
			if d > 500*time.Millisecond {
				t.Errorf("event %d, set %d: %v for 1 MiB", j, i, d)
			}
			worst = max(worst, d)
		}
	}
	t.Logf("the slowest of %d rules and texts of 1 MiB took %v", len(sets)*len(events), worst)
}

// BenchmarkHostile is the promise of 100 ms for one rule and one field of 1 MiB.
func BenchmarkHostile(b *testing.B) {
	for i, body := range hostileRules {
		m := NewMatcher(ruleSet(b, body))
		b.Run(fmt.Sprintf("rule=%d/1MiB", i), func(b *testing.B) {
			events := hostileEvents()
			worst := time.Duration(0)
			for b.Loop() {
				for _, ev := range events {
					cpu := CPUTime()
					m.Match(nil, ev)
					worst = max(worst, CPUTime()-cpu)
				}
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-cpu-ms")
		})
	}
}

// FuzzWhere holds expressions that load to their bounds: no panic, no text of 1 MiB that takes long.
func FuzzWhere(f *testing.F) {
	for _, s := range []string{
		"http.status > 400", "any(io.args, # matches '(a+)+b')", "len(mcp.tool + mcp.tool) > 3 and not (mcp.tool contains 'x')", "io.args[0] == 'a' ? true : false",
		"int(mcp.tool) / 0 > 1", "count(io.args, lower(#) startsWith 'a') > 1", "mcp.tool in ['a', 'b']", "max(http.status, 3) ?? 4 > 2", "let x = mcp.tool; x == 'y'",
	} {
		f.Add(s)
	}
	ev := hostileEvent("a b")
	ev.Set(MCPTool, strings.Repeat("xa", 1<<10))
	ev.SetNum(HTTPStatus, 429)
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := json.Marshal(text)
		if err != nil {
			return
		}
		rs, err := Load(yamlFS([]string{"match: {type: tool_call}\nwhere: " + string(quoted)}))
		if err != nil {
			return
		}
		start := time.Now()
		NewMatcher(rs).Match(nil, ev)
		if d := time.Since(start); d > 2*time.Second {
			t.Fatalf("%q took %v", text, d)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	sets := map[string]*RuleSet{"pack": pack(b)}
	for _, n := range []int{1_000, 10_000} {
		bodies := make([]string, n)
		for i := range bodies {
			switch i % 4 {
			case 0:
				bodies[i] = fmt.Sprintf("match: {type: tool_call, mcp.tool: tool-%d}", i)
			case 1:
				bodies[i] = fmt.Sprintf("match: {reason: reason_%d, outcome: denied}", i)
			case 2:
				bodies[i] = fmt.Sprintf("match: {type: authentication, outcome: failure, server.name: s-%d}\nthreshold: {count: {gte: 5}, window: 5m, group_by: [net.ip]}", i)
			case 3:
				bodies[i] = fmt.Sprintf("match: {mcp.error_code: %d, io.args|contains: word%d}", -i, i%500)
			}
		}
		sets[fmt.Sprint(n)] = ruleSet(b, bodies...)
	}
	hit := quietEvent()
	hit.Set(Type, "authorization")
	hit.Set(Outcome, "denied")
	for _, name := range []string{"pack", "1000", "10000"} {
		for kind, ev := range map[string]*Event{"quiet": quietEvent(), "denied": hit} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				m := NewMatcher(sets[name])
				dst := make([]Match, 0, 16)
				b.ReportAllocs()
				for b.Loop() {
					dst = m.Match(dst[:0], ev)
				}
				b.ReportMetric(float64(len(dst)), "matches")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mevents/s")
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		pack(b)
	}
}

func FuzzLoad(f *testing.F) {
	files, _ := os.ReadDir("testdata/broken")
	for _, file := range files {
		data, err := os.ReadFile("testdata/broken/" + file.Name())
		if err == nil && strings.HasSuffix(file.Name(), ".yaml") {
			f.Add(data)
		}
	}
	f.Add([]byte(fmt.Sprintf(ruleHead, "AA-01", 1) + "match: {type: tool_call, io.args|re: 'a|b'}\nwhere: http.status > 5\ntests: [{name: x, events: [{repeat: 2, vary: {net.ip: '1.1.1.%d'}, event: {type: error}}], expect: {alerts: 0}}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rs, err := Load(fstest.MapFS{"r.yaml": {Data: data}})
		if (rs == nil) == (err == nil) {
			t.Fatal("neither rules nor an error, or both")
		}
		if err != nil {
			return
		}
		m := NewMatcher(rs)
		m.Match(nil, sample())
		for _, r := range rs.Rules() {
			for _, c := range r.Tests() {
				for _, e := range c.Events[:min(len(c.Events), 50)] {
					m.Match(nil, e.Event)
				}
			}
		}
	})
}
