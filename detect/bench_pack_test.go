package detect

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// What the speed figures are measured on. Everything here is a function of its arguments: the
// same pack and the same events on every machine.

// BenchPack makes n rules: 70 % match (half of them substrings and regular expressions over n/2
// distinct literals), 20 % threshold or distinct, 10 % sum. Weak rules, which have no atom but
// an event type or an outcome, are 4 in 100 up to 1,000 rules and no more beyond.
func BenchPack(tb testing.TB, n int) *RuleSet {
	tb.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\nschema: rule/v1\nid: BP-%05d\nname: bench.n%d\ntitle: Rule %d\nseverity: medium\n%s\n", i, i, i, benchRule(i, n/2))
	}
	rs, err := Load(fstest.MapFS{"bench.yaml": {Data: []byte(b.String())}})
	if err != nil {
		tb.Fatal(err)
	}
	return rs
}

const (
	benchWindow = ", window: 5m, group_by: [net.ip]}"
	benchWeak   = 1000 // rules from this one on have a strong atom
)

func benchRule(i, literals int) string {
	lit := func(k int) string { return benchLiteral(i*7919%literals, k, literals) }
	weak := i < benchWeak
	switch k := i % 100; {
	case k < 25:
		return fmt.Sprintf("match: {type: tool_call, io.args|contains: [%q, %q]}", lit(0), lit(1))
	case k < 30:
		return fmt.Sprintf("match: {type: [tool_call, resource_read], any: [{io.args|contains: %q}, {io.args|contains|all: [%q, %q]}]}", lit(0), lit(1), lit(2))
	case k < 40:
		return fmt.Sprintf(`match: {type: tool_call, io.args|re: '(?i)%s\s+\w{2,8}[;=]'}`, regexp.QuoteMeta(lit(0)))
	case k < 42:
		return fmt.Sprintf(`match: {type: tool_call, io.args|re: '(?i)(?:%s|%s)\d+'}`, regexp.QuoteMeta(lit(0)), regexp.QuoteMeta(lit(1)))
	case k < 45:
		return fmt.Sprintf("match: {type: resource_read, mcp.resource|contains: %q}", lit(0))
	case k < 47:
		return fmt.Sprintf("match: {client.user_agent|startswith: %q}", lit(0))
	case k < 56:
		return fmt.Sprintf("match: {type: tool_call, mcp.tool: admin.%s-%d, outcome: success}", benchStems[i%len(benchStems)], i)
	case k < 60:
		return fmt.Sprintf("match: {reason: blocked_%d, outcome: [denied, failure]}", i)
	case k < 63:
		return fmt.Sprintf("match: {mcp.error_code: %d, server.name: [s-%d, s-%d]}", -33000-i, i, i+1)
	case k < 65 && weak:
		return fmt.Sprintf("match: {type: authentication, net.ip|cidr: [10.%d.0.0/16, 100.%d.4.0/24]}", i%200, i%60+64)
	case k < 67:
		return fmt.Sprintf("match: {actor.client_id: blocked-%d, not: {type: heartbeat}}", i)
	case k < 70:
		return fmt.Sprintf("match: {io.findings: {cat: [sqli, cmdi], score|gte: 0.7}, mcp.tool: report.%d}", i)
	case k < 76:
		return fmt.Sprintf("match: {type: authentication, outcome: failure, server.name: vault-%d}\nthreshold: {count: {gte: 5}%s", i, benchWindow)
	case k < 80:
		return fmt.Sprintf("match: {type: authorization, outcome: denied, perm.action: purge_%d}\nthreshold: {count: {gte: 3}%s", i, benchWindow)
	case k < 81 && weak:
		return fmt.Sprintf("match: {type: rate_limit, http.status: 429, limit.observed|gte: %d}\nthreshold: {count: {gte: 10}%s", 1_000_000+i, benchWindow)
	case k < 86:
		return fmt.Sprintf("match: {type: tool_call, mcp.tool: export.%d}\ndistinct: {field: mcp.resource, count: {gte: 5}%s", i, benchWindow)
	case k < 90:
		return fmt.Sprintf("match: {type: resource_read, outcome: [failure, denied], reason: path_%d}\ndistinct: {field: actor.client_id, count: {gte: 3}%s", i, benchWindow)
	case k < 91 && weak:
		return fmt.Sprintf("match: {type: resource_read, outcome: success, io.rows|gte: %d}\nsum: {field: io.result_bytes, gte: 1000000%s", 10_000_000+i, benchWindow)
	case k < 96:
		return fmt.Sprintf("match: {type: tool_call, server.name: warehouse-%d}\nsum: {field: io.result_bytes, gte: 50000000%s", i, benchWindow)
	}
	return fmt.Sprintf("match: {type: tool_call, mcp.tool: [dump.%d, copy.%d]}\nsum: {field: io.rows, gte: 100000%s", i, i+1, benchWindow)
}

// benchStems are words that attacks and ordinary arguments share, so that the automaton leaves
// its first state about as often as it does on real traffic.
var benchStems = strings.Fields("select union drop insert update delete table schema exec shell passwd shadow config secret token admin script eval system " +
	"import curl wget bash powershell chmod crontab sudo proc mount kernel backup dump export registry cookie session kube docker metadata payload")

// benchLiteral is the k-th literal of place i among n distinct ones.
func benchLiteral(i, k, n int) string {
	i = (i + k*n/3) % n
	s := len(benchStems)
	a, b := benchStems[i%s], benchStems[(i/s*7+i)%s]
	return a + [...]string{"_", "-", "/", "::", ".", "@@"}[i/s%6] + b + fmt.Sprintf("%x", i/s/6)
}

// benchField is one field of an event on its way into an Event or JSON.
type benchField struct {
	field Field
	text  []string
	num   float64
}

// BenchEvent is an event of the generator.
type BenchEvent []benchField

var benchWords = strings.Fields("quarterly report about the weather in May select the newest rows from orders where status is open please summarise " +
	"notes of the planning meeting update customer address delete temporary files import contacts table of contents export metadata " +
	"session timeout configuration readme project alpha beta release schedule token budget admin guide system overview script for movie")

// BenchEvents makes n events of mixed types with about 200 bytes of scanned text each; of a
// thousand, hits are built to match a rule of a BenchPack of that many rules.
func BenchEvents(n, hits, rules int) []BenchEvent {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]BenchEvent, n)
	for i := range out {
		out[i] = benchEvent(r, i)
		if i%1000*hits/1000 != (i%1000+1)*hits/1000 {
			out[i] = benchHit(r, out[i], rules)
		}
	}
	return out
}

func benchEvent(r *rand.Rand, i int) BenchEvent {
	var ev BenchEvent
	set := func(f Field, s ...string) { ev = append(ev, benchField{field: f, text: s}) }
	num := func(f Field, x int) { ev = append(ev, benchField{field: f, num: float64(x)}) }
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	prose := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(benchWords[r.IntN(len(benchWords))] + " ")
		}
		return strings.TrimSpace(b.String())
	}
	set(ID, fmt.Sprintf("0192f0c1-2b3c-7def-8123-%012x", i))
	num(Seq, i)
	set(Tenant, "acme")
	set(ServerName, fmt.Sprintf("files-%d", r.IntN(20)))
	set(ServerInstance, fmt.Sprintf("files-7d9f-%d", r.IntN(4)))
	set(ServerTransport, pick("http", "http", "stdio", "sse"))
	set(ActorSubject, fmt.Sprintf("auth0|5f7c8ec7c33c6c004bba%04x", r.IntN(500)))
	set(ActorClientID, fmt.Sprintf("client-%d", r.IntN(300)))
	set(ActorAuthMethod, pick("bearer", "oauth", "api_key"))
	set(ClientUserAgent, "claude-desktop/1.2."+fmt.Sprint(r.IntN(9)))
	set(NetIP, fmt.Sprintf("203.0.%d.%d", r.IntN(4)+110, r.IntN(250)+1))
	set(MCPSession, fmt.Sprintf("7f3c2b1a-%04x", r.IntN(1000)))
	typ := "heartbeat"
	switch k := r.IntN(100); {
	case k < 60:
		typ = "tool_call"
		set(MCPMethod, "tools/call")
		set(MCPTool, pick("read_text_file", "search.documents", "query_orders", "create_note", "list_issues"))
		set(IOArgs, fmt.Sprintf("/srv/projects/%s/notes/%s-%d.md", pick(benchWords...), pick(benchWords...), i), prose(120+r.IntN(60)))
		num(IODurationMS, r.IntN(400))
		num(IOResultBytes, r.IntN(20000))
	case k < 75:
		typ = "resource_read"
		set(MCPMethod, "resources/read")
		set(MCPResource, fmt.Sprintf("file:///srv/projects/%s/%s/%s-%d.md", pick(benchWords...), pick(benchWords...), pick(benchWords...), i))
		set(IOArgs, prose(130))
		num(IOResultBytes, r.IntN(20000))
	case k < 83:
		typ = "authentication"
		set(ActorIssuer, "https://login.example.com/")
		num(HTTPStatus, 200)
		set(IOArgs, prose(170))
	case k < 88:
		typ = "authorization"
		set(PermAction, pick("read", "write", "list"))
		set(PermResource, "files/"+pick(benchWords...))
		set(IOArgs, prose(170))
	case k < 93:
		typ = "discovery"
		set(MCPMethod, "tools/list")
		set(IOArgs, prose(160))
	case k < 97:
		typ = "prompt_get"
		set(MCPMethod, "prompts/get")
		set(MCPPrompt, pick("summary", "review"))
		set(IOArgs, prose(190))
	}
	set(Type, typ)
	set(Outcome, pick("success", "success", "success", "success", "success", "success", "failure", "denied", "error"))
	if r.IntN(3) == 0 {
		set(Reason, pick("timeout", "insufficient_scope", "expired", "policy_denied"))
	}
	return ev
}

// benchHit changes an event so that it matches a rule: by a literal, a tool, a reason or a client.
func benchHit(r *rand.Rand, ev BenchEvent, rules int) BenchEvent {
	put := func(f Field, s ...string) {
		for i := range ev {
			if ev[i].field == f {
				ev[i].text = s
				return
			}
		}
		ev = append(ev, benchField{field: f, text: s})
	}
	base := r.IntN(max(1, rules/100)) * 100
	switch r.IntN(4) {
	case 0:
		i := base
		put(Type, "tool_call")
		put(IOArgs, "/srv/projects/alpha/notes/plan.md", "some text before "+benchLiteral(i*7919%(rules/2), 0, rules/2)+" and text that goes on after it for a while, as it does")
	case 1:
		i := base + 47 + r.IntN(9)
		put(Type, "tool_call")
		put(Outcome, "success")
		put(MCPTool, fmt.Sprintf("admin.%s-%d", benchStems[i%len(benchStems)], i))
	case 2:
		put(Reason, fmt.Sprintf("blocked_%d", base+57))
		put(Outcome, "denied")
	case 3:
		put(Type, "tool_call")
		put(ActorClientID, fmt.Sprintf("blocked-%d", base+66))
	}
	return ev
}

// Event makes the event as a Decoder would: stamped, derived.
func (b BenchEvent) Event() *Event {
	ev := &Event{Append: TestStart, Claimed: TestStart}
	for _, f := range b {
		switch {
		case f.text == nil:
			ev.SetNum(f.field, f.num)
		case f.field.Kind() == List:
			for _, s := range f.text {
				ev.Add(f.field, s)
			}
		default:
			ev.Set(f.field, f.text[0])
		}
	}
	ev.Set(Schema, "picket.event/1")
	ev.Set(SrcFormat, "native")
	ev.Stamp(0)
	ev.Derive()
	return ev
}

// JSON writes the event as picket.event/1, padded with labels to about size bytes.
func (b BenchEvent) JSON(size int) []byte {
	top := map[string]any{"schema": "picket.event/1", "time": "2026-01-05T00:00:00.123Z"}
	for _, f := range b {
		at := top
		name := f.field.String()
		if group, key, ok := strings.Cut(name, "."); ok {
			if top[group] == nil {
				top[group] = map[string]any{}
			}
			at, name = top[group].(map[string]any), key
		}
		switch {
		case f.text == nil:
			at[name] = f.num
		case f.field == IOArgs:
			args := map[string]any{}
			for i, s := range f.text {
				args[[...]string{"path", "text", "more"}[i]] = s
			}
			at[name] = args
		default:
			at[name] = f.text[0]
		}
	}
	for k := 0; ; k++ {
		out, err := json.Marshal(top)
		if err != nil {
			panic(err)
		}
		missing := size - len(out)
		if missing < 30 {
			return out
		}
		if k == 0 {
			top["labels"] = map[string]any{}
		}
		top["labels"].(map[string]any)[fmt.Sprintf("label_%02d", k)] = strings.Repeat("region-north ", 9)[:min(missing-20, 60)]
	}
}

// BenchScanned is how many bytes of an event's texts the literals of a pack are looked for in.
func BenchScanned(rs *RuleSet, ev *Event) (n int) {
	for f := range firstNumber {
		if rs.literals[f] == nil {
			continue
		}
		for _, v := range valuesOf(ev, subject{field: f}, new([1]string)) {
			n += len(v)
		}
	}
	return n
}

// BenchCall is an ordinary tool call: of a person with one session and address, and a success.
func BenchCall(r *rand.Rand, i int) *Event {
	for {
		b := benchEvent(r, i)
		person := ""
		for _, f := range b {
			if f.field == ActorSubject {
				person = f.text[0]
			}
		}
		n := len(person)
		for j := range b {
			switch f := &b[j]; f.field {
			case MCPSession:
				f.text = []string{"7f3c2b1a-" + person[n-4:]}
			case NetIP:
				f.text = []string{fmt.Sprintf("203.0.%d.%d", 110+person[n-3]%4, person[n-1])}
			case Outcome:
				f.text = []string{"success"}
			}
		}
		ev := b.Event()
		if ev.Enum(Type) == "tool_call" {
			ev.Set(IOArgsDigest, fmt.Sprint("digest", i))
			return ev
		}
	}
}

// BenchUnredact makes an event as it was before Redact.
func BenchUnredact(ev *Event) { ev.forms.reset() }
