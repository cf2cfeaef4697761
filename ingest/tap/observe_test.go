package tap

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"desk","version":"3"}}}`

const helloBack = `{"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"notes","version":"1.2"}},"jsonrpc":"2.0","id":0}`

func TestToolCall(t *testing.T) {
	l := newLines(t, func(o *Options) { o.Tenant, o.Env, o.DigestKey = "acme", "prod", []byte("k") })
	l.client(hello)
	l.server(helloBack)
	l.client(`{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"read","arguments":{"path":"/n/1","deep":{"x":[1]}}}}`)
	l.server(`{"jsonrpc":"2.0","id":"a-1","result":{"content":[{"type":"text","text":"hi"}]}}`)
	list := l.events()
	if len(list) != 2 || list[0].Type != "discovery" {
		t.Fatalf("events: %+v", list)
	}
	e := list[1]
	if e.Type != "tool_call" || e.Outcome != "success" || e.Tenant != "acme" || e.Env != "prod" || e.Seq != 1 {
		t.Errorf("head: %+v", e)
	}
	if e.Server != (serverFields{Name: "notes", Version: "1.2", Instance: "desk:1:00", Transport: "stdio"}) {
		t.Errorf("server: %+v", e.Server)
	}
	if e.Actor != (actorFields{ClientID: "local:ann@desk", AuthMethod: "env"}) || *e.Client != (clientFields{Name: "desk", Version: "3"}) {
		t.Errorf("who: %+v %+v", e.Actor, e.Client)
	}
	if m := e.MCP; m.Method != "tools/call" || m.Tool != "read" || m.RequestID != "a-1" || m.ProtocolVersion != "2025-06-18" || m.IsError == nil || *m.IsError {
		t.Errorf("mcp: %+v", m)
	}
	if o := e.IO; string(o.Args) != `{"path":"/n/1","deep":{"x":[1]}}` || *o.ArgsDepth != 3 || *o.ArgsBytes != 32 || *o.DurationMS != 1 ||
		*o.ResultBytes != 41 || !strings.Contains(string(o.Result), `"hi"`) || len(o.ArgsDigest) != 32 || len(o.ResultDigest) != 32 || o.Truncated {
		t.Errorf("io: %+v", o)
	}
	if want := "2026-11-22T12:00:00.003Z"; e.Time != want {
		t.Errorf("time %s is not the request's %s", e.Time, want)
	}
}

func TestNothingRawWhenOmitted(t *testing.T) {
	l := newLines(t, func(o *Options) { o.OmitArgs, o.OmitResults = true, true })
	l.client(`{"id":1,"method":"tools/call","params":{"name":"read","arguments":{"path":"canary-a"}}}`)
	l.server(`{"id":1,"result":{"content":[{"type":"text","text":"canary-b"}]}}`)
	e := l.events()[0]
	if e.IO.Args != nil || e.IO.Result != nil || e.IO.ArgsDigest != "" || *e.IO.ArgsBytes == 0 {
		t.Errorf("io: %+v", e.IO)
	}
}

// What one exchange of lines becomes: type outcome reason of each event.
func TestOutcomes(t *testing.T) {
	call := `{"id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}`
	for name, c := range map[string]struct {
		lines []string // c: client, s: server
		want  string
	}{
		"tool says error":         {[]string{"c" + call, `s{"id":1,"result":{"isError":true,"content":[{"type":"text","text":"ENOENT: no such file"}]}}`}, "tool_call failure tool_error"},
		"tool unknown, by text":   {[]string{"c" + call, `s{"id":1,"result":{"isError":true,"content":[{"type":"text","text":"MCP error -32602: Tool x not found"}]}}`}, "tool_call failure unknown_tool"},
		"tool unknown, by code":   {[]string{"c" + call, `s{"id":1,"error":{"code":-32602,"message":"Unknown tool: x"}}`}, "tool_call error unknown_tool"},
		"bad params":              {[]string{"c" + call, `s{"id":1,"error":{"code":-32602,"message":"Invalid params"}}`}, "tool_call error invalid_params"},
		"refused by error":        {[]string{`c{"id":1,"method":"resources/read","params":{"uri":"file:///etc/shadow"}}`, `s{"id":1,"error":{"code":-32603,"message":"EACCES: permission denied"}}`}, "resource_read denied policy_denied; authorization denied policy_denied"},
		"method unknown":          {[]string{`c{"id":1,"method":"admin/reset"}`, `s{"id":1,"error":{"code":-32601,"message":"Method not found"}}`}, "error error unknown_method"},
		"tool unknown, by method": {[]string{"c" + call, `s{"id":1,"error":{"code":-32601,"message":"Method not found"}}`}, "tool_call error unknown_tool"},
		"header mismatch":         {[]string{"c" + call, `s{"id":1,"error":{"code":-32020,"message":"header mismatch"}}`}, "tool_call error header_mismatch"},
		"rate limited":            {[]string{"c" + call, `s{"id":1,"result":{"isError":true,"content":[{"type":"text","text":"429 Too Many Requests"}]}}`}, "tool_call failure rate_limited"},
		"prompt":                  {[]string{`c{"id":1,"method":"prompts/get","params":{"name":"p"}}`, `s{"id":1,"result":{"messages":[]}}`}, "prompt_get success "},
		"ping is nothing":         {[]string{`c{"id":1,"method":"ping"}`, `s{"id":1,"result":{}}`}, ""},
		"elicitation":             {[]string{`s{"id":1,"method":"elicitation/create","params":{"message":"your password?"}}`, `c{"id":1,"result":{"action":"decline"}}`}, "elicitation failure decline"},
		"sampling":                {[]string{`s{"id":1,"method":"sampling/createMessage","params":{"messages":[]}}`, `c{"id":1,"result":{"role":"assistant"}}`}, "elicitation success "},
		"roots":                   {[]string{`s{"id":1,"method":"roots/list"}`, `c{"id":1,"result":{"roots":[]}}`}, "discovery success "},
		"ids of both sides":       {[]string{"c" + call, `s{"id":1,"method":"roots/list"}`, `c{"id":1,"result":{"roots":[]}}`, `s{"id":1,"result":{}}`}, "discovery success ; tool_call success "},
		"number is not a string":  {[]string{"c" + call, `s{"id":"1","result":{}}`}, ""},
		"1.0 is 1":                {[]string{"c" + call, `s{"id":1.0,"result":{}}`}, "tool_call success "},
		"stray response is old":   {[]string{`c{"id":1,"method":"ping"}`, `s{"id":1,"result":{}}`, `s{"id":1,"result":{}}`, "c" + call}, ""},
		"batch":                   {[]string{`c[{"id":1,"method":"tools/call","params":{"name":"a"}},{"method":"notifications/x"},{"id":2,"method":"tools/call","params":{"name":"b"}}]`, `s[{"id":2,"result":{}},{"id":1,"result":{"isError":true,"content":[]}}]`}, "tool_call success ; tool_call failure tool_error"},
		"id used twice":           {[]string{"c" + call, "c" + call, `s{"id":1,"result":{}}`, `s{"id":1,"error":{"code":-32603,"message":"x"}}`}, "tool_call success ; tool_call error internal_error"},
		"garbage":                 {[]string{"snot json", "c{]"}, "error error malformed_message; error error malformed_message"},
		"empty batch":             {[]string{"c[]"}, ""},
		"scalar":                  {[]string{"c17", `c"x"`, "cnull", "c{}"}, "error error malformed_message; error error malformed_message; error error malformed_message; error error malformed_message"},
		"error without id":        {[]string{`s{"id":null,"error":{"code":-32700,"message":"Parse error"}}`}, "error error parse_error"},
		"list changed":            {[]string{`s{"method":"notifications/tools/list_changed"}`}, "discovery success list_changed"},
		"asks within a result":    {[]string{"c" + call, `s{"id":1,"result":{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"message":"m"}}}}}`}, "tool_call success ; elicitation unknown "},
		"case of keys counts":     {[]string{`c{"id":1,"METHOD":"x","method":"tools/call","params":{"name":"a"}}`, `s{"id":1,"result":{}}`}, "tool_call success "},
		"arguments are a list":    {[]string{`c{"id":1,"method":"tools/call","params":{"name":"a","arguments":[1,"x"]}}`, `s{"id":1,"result":[1]}`}, "tool_call success "},
		"params are a string":     {[]string{`c{"id":1,"method":"tools/call","params":"x"}`, `s{"id":1,"result":"done"}`}, "tool_call success "},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLines(t, nil)
			for _, line := range c.lines {
				if line[0] == 'c' {
					l.client(line[1:])
				} else {
					l.server(line[1:])
				}
			}
			var got []string
			for _, e := range l.events() {
				got = append(got, e.Type+" "+e.Outcome+" "+e.Reason)
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestResponseObservedBeforeItsRequest(t *testing.T) {
	l := newLines(t, nil)
	read := l.now
	l.server(`{"id":1,"result":{}}`)
	f := framer{dir: toServer, max: 1 << 20, emit: l.o.observe}
	f.feed([]byte(`{"id":1,"method":"tools/call","params":{"name":"x"}}`+"\n"), read)
	if list := l.events(); len(list) != 1 || list[0].Outcome != "success" || *list[0].IO.DurationMS != 1 {
		t.Fatalf("events: %+v", list)
	}
}

func TestPendingIsBounded(t *testing.T) {
	l := newLines(t, func(o *Options) { o.MaxCalls, o.CallTimeout = 2, time.Minute })
	for _, id := range []string{"1", "2", "3"} {
		l.client(`{"id":` + id + `,"method":"tools/call","params":{"name":"x"}}`)
	}
	if list := l.events(); len(list) != 1 || list[0].Reason != "untracked" || list[0].MCP.RequestID != "1" {
		t.Fatalf("events: %+v", list)
	}
	l.client(`{"method":"notifications/cancelled","params":{"requestId":2}}`)
	l.o.sweep(l.now.Add(31 * time.Second))
	l.o.sweep(l.now.Add(2 * time.Minute))
	list := l.events()[1:]
	if len(list) != 2 || list[0].Reason != "cancelled" || list[1].Reason != "timeout" || list[1].Outcome != "unknown" {
		t.Fatalf("events: %+v", list)
	}
	if n := l.tap.calls.Load(); n != 0 || len(l.o.calls.byKey) != 0 || l.o.calls.bytes != 0 {
		t.Errorf("left: %d calls, %d keys, %d bytes", n, len(l.o.calls.byKey), l.o.calls.bytes)
	}
}

func TestUnansweredAtServerExit(t *testing.T) {
	l := newLines(t, nil)
	l.client(`{"id":1,"method":"tools/call","params":{"name":"x"}}`)
	l.o.finish(3)
	list := l.events()
	if len(list) != 2 || list[0].Outcome != "unknown" || list[0].Reason != "server_exit" || list[1].Type != "heartbeat" || list[1].Labels["exit_code"] != "3" {
		t.Fatalf("events: %+v", list)
	}
}

func TestToolDefinitions(t *testing.T) {
	hash := func(tool string) string {
		l := newLines(t, nil)
		l.client(`{"id":1,"method":"tools/list"}`)
		l.server(`{"id":1,"result":{"tools":[` + tool + `]}}`)
		list := l.events()
		if len(list) != 2 || list[0].Type != "discovery" || list[0].IO.Result != nil || list[1].Type != "tool_definition" || list[1].MCP.Tool != "a" {
			t.Fatalf("events: %+v", list)
		}
		if !strings.Contains(string(list[1].IO.Result), "description") {
			t.Errorf("definition is not quoted: %s", list[1].IO.Result)
		}
		return list[1].MCP.DefinitionHash
	}
	first := hash(`{"name":"a","description":"reads","inputSchema":{"type":"object","x":1.0},"execution":{}}`)
	if again := hash(`{"inputSchema":{"x":1,"type":"object"},"description":"re\u0061ds", "name":"a"}`); again != first {
		t.Error("order, spelling or a member outside the definition changed the hash")
	}
	if other := hash(`{"name":"a","description":"reads ","inputSchema":{"type":"object","x":1.0}}`); other == first {
		t.Error("a changed description did not change the hash")
	}
}

func TestManyUnreadableLinesAreFewEvents(t *testing.T) {
	l := newLines(t, nil)
	for range 1000 {
		l.server("listening on stdio")
	}
	if n := len(l.events()); n != maxNoise {
		t.Errorf("%d events", n)
	}
	if st := l.tap.Stats(); st.ParseErrors != 1000 {
		t.Errorf("stats: %+v", st)
	}
}

func TestResourceURIHasNoSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"https://ann:pw@h.example/a?token=t#f": "https://h.example/a", "file:///etc/passwd": "file:///etc/passwd",
		"/a?b": "/a", "http://u:p@h:bad/x%zz?q": "http://h:bad/x%zz",
	} {
		if got := stripURI(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// Before initialize is answered the server has no name: what happens then waits for it, so that
// it is not told of a server called like the command.
func TestEventsWaitForTheName(t *testing.T) {
	names := func(l *lines) (out []string) {
		for len(l.o.outbox.ch) > 0 {
			_ = l.sink.Send(t.Context(), [][]byte{<-l.o.outbox.ch})
		}
		for i, e := range events(t, l.sink.all()) {
			if e.Seq != uint64(i) {
				t.Errorf("event %d has the number %d", i, e.Seq)
			}
			out = append(out, e.Type+" of "+e.Server.Name)
		}
		return out
	}
	want := func(l *lines, want ...string) {
		t.Helper()
		if got := names(l); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	l := newLines(t, nil)
	l.client(`{"id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`)
	l.server("starting up")
	l.o.heartbeat("")
	want(l)
	l.server(`{"id":1,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"notes","version":"2"}}}`)
	want(l, "error of notes", "heartbeat of notes", "discovery of notes")

	l = newLines(t, nil) // the client tries the stateless protocol first
	l.client(`{"id":0,"method":"server/discover","params":{"_meta":{}}}`)
	l.server(`{"id":0,"error":{"code":-32601,"message":"Method not found"}}`)
	l.client(`{"id":1,"method":"ping"}`)
	l.server(`{"id":1,"result":{}}`)
	l.client(`{"id":2,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`)
	want(l)
	l.server(`{"id":2,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"notes","version":"2"}}}`)
	want(l, "error of notes", "discovery of notes")
	l.client(`{"id":3,"method":"server/discover"}`)
	l.server(`{"id":3,"result":{"serverInfo":{"version":"3"}}}`) // no other name
	want(l, "error of notes", "discovery of notes", "discovery of notes")

	l = newLines(t, nil) // answers, and never a name
	l.client(`{"id":0,"method":"tools/list"}`)
	l.server(`{"id":0,"result":{"tools":[]}}`)
	l.o.sweep(l.now.Add(9 * time.Second))
	want(l)
	l.o.sweep(l.now.Add(11 * time.Second))
	want(l, "discovery of notes-server")

	l = newLines(t, nil) // nobody ever says a name
	l.server("starting up")
	l.o.sweep(l.now.Add(9 * time.Second))
	want(l)
	l.o.sweep(l.now.Add(11 * time.Second))
	l.o.heartbeat("")
	want(l, "error of notes-server", "heartbeat of notes-server")

	l = newLines(t, nil)
	for range maxEarly {
		l.o.heartbeat("")
	}
	if got := names(l); len(got) != maxEarly {
		t.Errorf("%d events were let go when the room was full", len(got))
	}

	l = newLines(t, func(o *Options) { o.ServerName = "given" })
	l.server("starting up")
	want(l, "error of given")
	l = newLines(t, nil)
	l.server("starting up")
	l.o.finish(1)
	want(l, "error of notes-server", "heartbeat of notes-server")
}
