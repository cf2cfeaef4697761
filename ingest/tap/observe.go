package tap

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"
)

// counters are written by any goroutine and read by Stats.
type counters struct {
	messages, events, dropped, shipped, parseErrors, retries atomic.Uint64
}

// observer turns messages into events. One goroutine runs it and owns all of it.
type observer struct {
	opt    *Options
	actor  actorFields
	log    *slog.Logger
	count  *counters
	inbox  *queue[message]
	outbox *queue[[]byte]
	room   <-chan struct{} // the sink took something

	seq      uint64
	unseen   uint64 // part of count.dropped that seq already has gaps for
	reported uint64 // count.dropped when it was last told
	panics   int
	noisy    int // events about unreadable lines since the last heartbeat

	server   serverFields
	fallback string   // server name where the server never tells its own
	greeting bool     // the server may still tell its name
	early    []*event // of that time, without a name
	client   *clientFields
	protocol string
	calls    *pending
	orphans  *orphans
	inFlight *atomic.Int64 // requests of the client that have no response yet
	lost     *atomic.Uint64
}

const (
	maxNoise    = 10 // events about unreadable lines between two heartbeats
	maxEarly    = 32 // events that wait for the server's name
	maxGreeting = 10 * time.Second
)

// run works until stop is closed and everything that was put before is done.
func (o *observer) run(ctx context.Context, stop <-chan struct{}) {
	beat := time.NewTicker(o.opt.Heartbeat)
	defer beat.Stop()
	sweep := time.NewTicker(time.Second)
	defer sweep.Stop()
	for {
		select {
		case m := <-o.inbox.ch:
			o.observe(m)
		case <-beat.C:
			o.heartbeat("")
		case <-sweep.C:
			o.sweep(o.opt.Now())
		case <-o.room:
			if o.count.dropped.Load() != o.reported {
				o.heartbeat("events_dropped")
			}
		case <-stop:
			for len(o.inbox.ch) > 0 {
				o.observe(<-o.inbox.ch)
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// finish tells what never got an answer, and that the tap ends.
func (o *observer) finish(exitCode int) {
	o.greeted()
	for _, c := range o.calls.drain() {
		o.unanswered(c, "server_exit")
	}
	o.inFlight.Store(0)
	e := o.beat("server_exit")
	e.label("exit_code", strconv.Itoa(exitCode))
	o.emit(e)
}

func (o *observer) sweep(now time.Time) {
	if len(o.early) > 0 && now.Sub(o.early[0].at) > maxGreeting {
		o.greeted()
	}
	for _, c := range o.calls.expire(now) {
		reason := "timeout"
		if !c.cancelled.IsZero() {
			reason = "cancelled"
		}
		o.unanswered(c, reason)
	}
	o.orphans.expire(now)
	o.setInFlight()
}

func (o *observer) setInFlight() { o.inFlight.Store(int64(o.calls.order.Len())) }

func (o *observer) observe(m message) {
	defer o.inbox.done(m.held())
	// A parser that fails costs one message, never the server.
	defer func() {
		if r := recover(); r != nil {
			o.panics++
			o.count.parseErrors.Add(1)
			o.log.Error("tap: message not understood", "bytes", m.size, "from", m.dir.String())
		}
	}()
	o.count.messages.Add(1)
	if m.cut() {
		o.large(&m)
		return
	}
	line := bytes.TrimSpace(m.head)
	if line[0] != '[' {
		o.one(&m, line)
		return
	}
	list, more, err := elements(line, 1000)
	if err != nil {
		o.unreadable(&m)
		return
	}
	for _, raw := range list {
		o.one(&m, raw)
	}
	if more > 0 {
		o.lost.Add(uint64(more))
		o.count.dropped.Add(uint64(more))
	}
}

// one handles one JSON-RPC message.
func (o *observer) one(m *message, raw []byte) {
	env, err := object(raw)
	if err != nil {
		o.unreadable(m)
		return
	}
	if method := str(env["method"]); method != "" {
		params, _ := object(env["params"])
		id, key, ok := requestID(m.dir, env["id"])
		if !ok {
			o.notification(m, method, params)
			return
		}
		c := o.newCall(m, method, env["params"], params)
		c.id, c.key = id, key
		o.request(c)
		return
	}
	if _, isResult := env["result"]; isResult || env["error"] != nil {
		o.response(&answer{dir: m.dir, at: m.at, id: env["id"], result: env["result"], err: env["error"], bytes: int64(len(env["result"]))})
		return
	}
	o.unreadable(m)
}

// large handles a message of which only the ends are known.
func (o *observer) large(m *message) {
	env, name, uri := glimpse(m)
	if method := str(env["method"]); method != "" {
		id, key, ok := requestID(m.dir, env["id"])
		c := &call{
			dir: m.dir, id: id, key: key, method: method, kind: kindOf(method), at: m.at,
			name: clip(name, maxName), uri: uri, cut: true, argsBytes: m.size,
		}
		if ok {
			o.request(c)
		} else {
			// Its id may be in the part that was not kept: told now, as nothing can be matched to it.
			o.unanswered(c, "too_large")
		}
		return
	}
	if _, isResult := env["result"]; isResult && env["id"] != nil {
		o.response(&answer{dir: m.dir, at: m.at, id: env["id"], bytes: m.size, cut: true})
		return
	}
	o.unreadable(m)
}

func (o *observer) request(c *call) {
	if c.method == "subscriptions/listen" { // answered for as long as it is open
		e := o.callEvent(c)
		e.Outcome = "unknown"
		o.emit(e)
		return
	}
	for _, old := range o.calls.add(c) {
		o.unanswered(old, "untracked")
	}
	if a := o.orphans.take(c.key, c.at); a != nil {
		o.response(a)
	}
	o.setInFlight()
}

func (o *observer) response(a *answer) {
	// A response travels against its request.
	id, key, ok := requestID(1-a.dir, a.id)
	if !ok {
		o.refusedMessage(a, id)
		return
	}
	c := o.calls.take(key, a.at)
	if c == nil {
		a.key = key
		o.orphans.add(a)
		return
	}
	o.setInFlight()
	o.answered(c, a)
}

// unreadable reports a line that is no JSON-RPC; a server that logs to its stdout makes many.
func (o *observer) unreadable(m *message) {
	o.count.parseErrors.Add(1)
	if o.noisy++; o.noisy > maxNoise {
		return
	}
	e := o.newEvent("error", m.at)
	e.Outcome, e.Reason = "error", "malformed_message"
	e.IO = &ioFields{Truncated: m.cut()}
	if m.dir == toServer {
		e.IO.ArgsBytes = &m.size
	} else {
		e.IO.ResultBytes = &m.size
	}
	e.label("from", m.dir.String())
	o.emit(e)
}

// notification handles what has no response.
func (o *observer) notification(m *message, method string, params map[string]json.RawMessage) {
	switch method {
	case "notifications/cancelled":
		if _, key, ok := requestID(m.dir, params["requestId"]); ok {
			if c := o.calls.find(key); c != nil {
				c.cancelled = m.at
			}
		}
	case "notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed":
		e := o.newEvent("discovery", m.at)
		e.Outcome, e.Reason = "success", "list_changed"
		e.MCP = &mcpFields{Method: method, ProtocolVersion: o.protocol}
		o.emit(e)
	}
}

func (o *observer) newEvent(kind string, at time.Time) *event {
	return &event{Type: kind, at: at, Tenant: o.opt.Tenant, Env: o.opt.Env, Server: o.server, Actor: o.actor, Client: o.client}
}

// greeted lets go of the events that waited for the server's name: it is known now, or will
// hardly come.
func (o *observer) greeted() {
	o.greeting = false
	early := o.early
	o.early = nil
	for _, e := range early {
		e.Server.Name, e.Server.Version = o.server.Name, o.server.Version
		o.emit(e)
	}
}

func (o *observer) heartbeat(reason string) { o.emit(o.beat(reason)) }

func (o *observer) beat(reason string) *event {
	e := o.newEvent("heartbeat", o.opt.Now())
	e.Outcome, e.Reason = "success", reason
	e.label("messages", strconv.FormatUint(o.count.messages.Load(), 10))
	e.label("events", strconv.FormatUint(o.count.events.Load(), 10))
	e.label("dropped", strconv.FormatUint(o.count.dropped.Load(), 10))
	e.label("parse_errors", strconv.FormatUint(o.count.parseErrors.Load(), 10))
	o.noisy = 0
	return e
}

// emit numbers the event and queues it. A dropped one keeps its number, and
// messages that never became events take one each: the gap is the loss.
func (o *observer) emit(e *event) {
	if e.Server.Name == "" && o.greeting {
		if o.early = append(o.early, e); len(o.early) == maxEarly {
			o.greeted()
		}
		return
	}
	e.Server.Name = cmp.Or(e.Server.Name, o.fallback)
	if n := o.lost.Load(); n > o.unseen {
		o.seq += n - o.unseen
		o.unseen = n
	}
	e.Seq = o.seq
	o.seq++
	told := o.count.dropped.Load()
	record, err := e.encode()
	if err != nil {
		o.count.dropped.Add(1)
		o.log.Error("tap: event not encoded", "type", e.Type)
		return
	}
	o.count.events.Add(1)
	if !o.outbox.put(record, int64(len(record))) {
		o.count.dropped.Add(1)
		return
	}
	if e.Type == "heartbeat" {
		o.reported = told
	}
}
