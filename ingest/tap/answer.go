package tap

import (
	"bytes"
	"encoding/json"
	"time"
)

// answered makes the events of a call that came to an end.
func (o *observer) answered(c *call, a *answer) {
	result, _ := object(a.result)
	if a.err == nil && result != nil {
		o.learn(c, result)
	}
	if o.greeting && o.server.Name != "" { // an error, or an answer without a name, ends no wait
		o.greeted()
	}
	e := o.callEvent(c)
	e.Outcome = "success"
	e.IO.DurationMS = ptr(float64(a.at.Sub(c.at).Microseconds()) / float64(time.Millisecond/time.Microsecond))
	e.IO.Truncated = e.IO.Truncated || a.cut

	if a.err != nil {
		rpc, _ := object(a.err)
		text := o.rpcError(e, a, rpc)
		if reason, ok := refusal(text); ok {
			e.Outcome, e.Reason = "denied", reason
			o.emit(e)
			o.denied(c, e, text, c.uri)
			return
		}
		if c.method != "tools/call" && c.kind == "discovery" {
			e.Type = "error"
		}
		o.emit(e)
		return
	}

	e.MCP.ResultType = clip(str(result["resultType"]), 64)
	if s := str(result["cacheScope"]); s == "public" || s == "private" {
		e.MCP.CacheScope = s
	}
	switch c.kind {
	case "":
		return
	case "tool_call":
		o.toolResult(c, e, a, result)
		return
	case "elicitation":
		if action := str(result["action"]); action == "decline" || action == "cancel" {
			e.Outcome, e.Reason = "failure", action
		}
	}
	o.quoteResult(e, a.result, a.bytes)
	o.emit(e)
	if c.method == "tools/list" {
		o.definitions(c, e, result["tools"])
	}
	o.asked(c, result["inputRequests"])
}

// toolResult looks at what a tool said: isError, and its words.
func (o *observer) toolResult(c *call, e *event, a *answer, result map[string]json.RawMessage) {
	if e.MCP.ResultType == "" && result["task"] != nil {
		e.MCP.ResultType = "task"
	}
	o.quoteResult(e, a.result, a.bytes)
	if a.cut {
		e.Outcome = "unknown" // whether it is an error stands in the part that was not kept
		e.Reason = "too_large"
		o.emit(e)
		return
	}
	isError := bytes.Equal(bytes.TrimSpace(result["isError"]), []byte("true"))
	e.MCP.IsError = &isError
	if !isError {
		o.emit(e)
		if c.name == "read_multiple_files" {
			paths, reason := partial(c.name, c.args.raw, contentText(result["content"], 1<<20))
			for _, p := range paths {
				o.authorization(c, e, reason, p)
			}
		}
		o.asked(c, result["inputRequests"])
		return
	}
	text := contentText(result["content"], maxErrorText)
	e.Outcome, e.Reason = "failure", "tool_error"
	e.MCP.ErrorCode = errorCode(text)
	if reason, ok := refusal(text); ok {
		e.Outcome, e.Reason = "denied", reason
		o.emit(e)
		o.denied(c, e, text, refusedResource(c.args.raw, text))
		return
	}
	if r := failure(text); r != "" {
		e.Reason = r
	}
	o.emit(e)
}

func (o *observer) denied(c *call, of *event, text, resource string) {
	if resource == "" {
		resource = refusedResource(c.args.raw, text)
	}
	o.authorization(c, of, of.Reason, resource)
}

// authorization reports a refusal beside the call that met it.
func (o *observer) authorization(c *call, of *event, reason, resource string) {
	e := o.newEvent("authorization", c.at)
	e.Outcome, e.Reason = "denied", reason
	m := *of.MCP
	e.MCP = &m
	e.Perm = &permFields{Resource: clip(resource, maxURI), Action: c.method, Source: "tool_text"}
	if c.name != "" {
		e.Perm.Action = c.name
	}
	o.emit(e)
}

// learn takes from a result what later events say about the server.
func (o *observer) learn(c *call, result map[string]json.RawMessage) {
	if c.dir != toServer {
		return
	}
	switch c.method {
	case "initialize":
		o.introduce(nil, str(result["protocolVersion"]))
		o.meetServer(result["serverInfo"])
	case "server/discover":
		o.meetServer(result["serverInfo"])
	}
	if meta, err := object(result["_meta"]); err == nil && meta != nil {
		o.meetServer(meta["io.modelcontextprotocol/serverInfo"])
	}
}

// definitions reports every tool of a list, with a hash of what it says.
func (o *observer) definitions(c *call, of *event, tools json.RawMessage) {
	var list []json.RawMessage
	if json.Unmarshal(tools, &list) != nil {
		return
	}
	for _, raw := range list {
		tool, err := object(raw)
		if err != nil || tool == nil {
			o.count.parseErrors.Add(1)
			continue
		}
		hash, err := definitionHash(tool)
		if err != nil {
			o.count.parseErrors.Add(1)
			continue
		}
		e := o.newEvent("tool_definition", c.at)
		e.Outcome = "success"
		e.MCP = &mcpFields{
			Method: c.method, RequestID: c.id, ProtocolVersion: of.MCP.ProtocolVersion,
			Tool: clip(str(tool["name"]), maxName), DefinitionHash: hash,
		}
		e.IO = &ioFields{}
		o.quoteResult(e, raw, int64(len(raw)))
		o.emit(e)
	}
}

// asked reports what a server wants to know from the user before it goes on
// (results of the stateless protocol carry their questions).
func (o *observer) asked(c *call, requests json.RawMessage) {
	list, err := object(requests)
	if err != nil {
		return
	}
	n := 0
	for _, raw := range list {
		if n++; n > 16 {
			return
		}
		req, err := object(raw)
		if err != nil || req == nil {
			continue
		}
		method := clip(str(req["method"]), 128)
		if kindOf(method) != "elicitation" {
			continue
		}
		r := reduceArgs(req["params"])
		e := o.callEvent(&call{kind: "elicitation", method: method, id: c.id, at: c.at, args: r, argsBytes: int64(len(req["params"])), cut: r.cut})
		e.Outcome = "unknown"
		o.emit(e)
	}
}
