package tap

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// kindOf is the event type of a method. Methods that are not known here are
// told as discovery, with their name; ping and the like only when they fail.
func kindOf(method string) string {
	switch method {
	case "tools/call", "tasks/result":
		return "tool_call"
	case "resources/read":
		return "resource_read"
	case "prompts/get":
		return "prompt_get"
	case "elicitation/create", "sampling/createMessage":
		return "elicitation"
	case "logging/setLevel":
		return "config"
	case "ping":
		return ""
	}
	return "discovery"
}

// answer is a response, or what is known of it.
type answer struct {
	dir    direction
	at     time.Time
	id     json.RawMessage
	result json.RawMessage
	err    json.RawMessage
	bytes  int64
	cut    bool

	key string
}

// orphans holds responses that were observed before their request, for a
// moment: the two directions are read by two goroutines.
type orphans struct{ list []*answer }

const (
	maxOrphans     = 64
	maxOrphanBytes = 64 << 10 // larger ones keep their size only
	orphanAge      = 2 * time.Second
)

func (p *orphans) add(a *answer) {
	if len(a.result)+len(a.err) > maxOrphanBytes {
		a.result, a.err, a.cut = nil, nil, true
	}
	if len(p.list) == maxOrphans {
		p.list = p.list[1:]
	}
	p.list = append(p.list, a)
}

// take returns the answer to a request that was read at that time, and not one to an earlier use of its id.
func (p *orphans) take(key string, at time.Time) *answer {
	for i, a := range p.list {
		if a.key == key && !a.at.Before(at) {
			p.list = append(p.list[:i:i], p.list[i+1:]...)
			return a
		}
	}
	return nil
}

func (p *orphans) expire(now time.Time) {
	for len(p.list) > 0 && now.Sub(p.list[0].at) > orphanAge {
		p.list = p.list[1:]
	}
}

// newCall keeps of a request what its event will need.
func (o *observer) newCall(m *message, method string, rawParams json.RawMessage, params map[string]json.RawMessage) *call {
	c := &call{dir: m.dir, method: clip(method, 128), kind: kindOf(method), at: m.at}
	args := rawParams
	switch method {
	case "initialize":
		o.introduce(params["clientInfo"], str(params["protocolVersion"]))
	case "tools/call", "prompts/get":
		c.name, args = clip(str(params["name"]), maxName), params["arguments"]
	case "tasks/result":
		c.name = clip(str(params["taskId"]), maxName)
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		c.uri = str(params["uri"])
	}
	if meta, err := object(params["_meta"]); err == nil && m.dir == toServer && meta != nil {
		// The stateless protocol says who and which version with every request.
		o.introduce(meta["io.modelcontextprotocol/clientInfo"], str(meta["io.modelcontextprotocol/protocolVersion"]))
	}
	if len(args) > 0 && string(args) != "null" {
		r := reduceArgs(args)
		c.argsBytes, c.argsDepth, c.digest = int64(len(args)), depthOf(args), digest(o.opt.DigestKey, args)
		c.ambiguous, c.cut = r.ambiguous, r.cut
		c.args = r
	}
	return c
}

func (o *observer) introduce(info json.RawMessage, version string) {
	if version != "" {
		o.protocol = clip(version, 64)
	}
	if i, err := object(info); err == nil && i != nil {
		o.client = &clientFields{Name: clip(str(i["name"]), maxName), Version: clip(str(i["version"]), maxName)}
	}
}

func (o *observer) meetServer(info json.RawMessage) {
	i, err := object(info)
	if err != nil || i == nil {
		return
	}
	if o.opt.ServerName == "" {
		o.server.Name = cmp.Or(clip(str(i["name"]), maxName), o.server.Name)
	}
	o.server.Version = clip(str(i["version"]), maxName)
}

// callEvent is what is known of a call by its request.
func (o *observer) callEvent(c *call) *event {
	kind := c.kind
	if kind == "" {
		kind = "error"
	}
	e := o.newEvent(kind, c.at)
	e.MCP = &mcpFields{Method: clip(c.method, 128), RequestID: c.id, ProtocolVersion: o.protocol}
	switch c.method {
	case "tools/call":
		e.MCP.Tool = c.name
	case "prompts/get":
		e.MCP.Prompt = c.name
	}
	e.MCP.Resource = stripURI(c.uri)
	e.IO = &ioFields{ArgsDigest: c.digest, Truncated: c.cut}
	if !o.opt.OmitArgs {
		e.IO.Args = c.args.raw
	}
	if c.argsBytes > 0 {
		e.IO.ArgsBytes = &c.argsBytes
	}
	if c.argsDepth > 0 {
		e.IO.ArgsDepth = &c.argsDepth
	}
	if c.ambiguous {
		e.label("args_ambiguous_keys", "true")
	}
	if c.reused {
		e.label("request_id_reused", "true")
	}
	return e
}

// unanswered reports a call whose outcome nobody will know.
func (o *observer) unanswered(c *call, reason string) {
	if c.kind == "" {
		return
	}
	e := o.callEvent(c)
	e.Outcome, e.Reason = "unknown", reason
	o.emit(e)
}

// refusedMessage reports an error response that names no request: the peer could not read what it got.
func (o *observer) refusedMessage(a *answer, id string) {
	rpc, err := object(a.err)
	if err != nil || rpc == nil {
		o.count.parseErrors.Add(1)
		return
	}
	e := o.newEvent("error", a.at)
	e.MCP = &mcpFields{RequestID: id, ProtocolVersion: o.protocol}
	e.IO = &ioFields{}
	o.rpcError(e, a, rpc)
	o.emit(e)
}

// rpcError fills in a JSON-RPC error and returns its text.
func (o *observer) rpcError(e *event, a *answer, rpc map[string]json.RawMessage) string {
	text := clip(str(rpc["message"]), maxErrorText)
	e.Outcome, e.Reason = "error", "protocol_error"
	if code, err := strconv.ParseInt(string(rpc["code"]), 10, 64); err == nil {
		e.MCP.ErrorCode = &code
		if r, ok := codeReasons[code]; ok {
			e.Reason = r
		}
	}
	if r := failure(text); r != "" && e.Reason != "header_mismatch" {
		e.Reason = r
	}
	if e.Reason == "unknown_method" && e.MCP.Tool != "" {
		e.Reason = "unknown_tool" // tools/call is known to every server that has tools
	}
	o.quoteResult(e, a.err, int64(len(a.err)))
	return text
}

// quoteResult puts a result or error into the event, within limits.
func (o *observer) quoteResult(e *event, raw json.RawMessage, size int64) {
	if size > 0 {
		e.IO.ResultBytes = &size
	}
	if len(raw) == 0 {
		return
	}
	e.IO.ResultDigest = digest(o.opt.DigestKey, raw)
	if o.opt.OmitResults || e.MCP.Method == "tools/list" && e.Type == "discovery" && e.Outcome == "success" {
		return // each definition has an event of its own
	}
	l := resultLimits
	if e.Type == "tool_definition" {
		l = definitionLimits
	}
	r := reduce(raw, l)
	if r.raw != nil && r.raw[0] != '{' && r.raw[0] != '"' {
		r.raw = append(append(json.RawMessage(`{"value":`), r.raw...), '}')
	}
	e.IO.Result = r.raw
	e.IO.Truncated = e.IO.Truncated || r.cut
	if r.ambiguous {
		e.label("result_ambiguous_keys", "true")
	}
}

// stripURI takes user information, query and fragment out of a URI.
func stripURI(uri string) string {
	if uri == "" {
		return ""
	}
	if u, err := url.Parse(uri); err == nil && u.Scheme != "" {
		u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
		return clip(u.String(), maxURI)
	}
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		uri = uri[:i]
	}
	if i, j := strings.Index(uri, "://"), strings.LastIndexByte(uri, '@'); i >= 0 && j > i {
		uri = uri[:i+3] + uri[j+1:]
	}
	return clip(uri, maxURI)
}
