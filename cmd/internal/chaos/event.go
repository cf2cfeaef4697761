//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// source is every record of a run as a function of its number: what is in Kafka can be made
// again from the seed, without remembering it.
type source struct {
	seed uint64
	base time.Time // events lie in the 90 minutes before
}

// event is what one record says.
type event struct {
	id       string
	time     time.Time // whole milliseconds
	tenant   string
	server   string
	tool     string
	outcome  string
	severity string
	client   string
	ip       string
	session  string
	in, out  uint64
	ms       float64
}

// hostileEvery is how many records one unreadable one is among.
const hostileEvery = 97

// hostile reports whether record n cannot be read.
func (s source) hostile(n uint64) bool { return (n+s.seed)%hostileEvery == 0 }

func (s source) random(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, n)) }

// event makes record n.
func (s source) event(n uint64) event {
	r := s.random(n)
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	return event{
		id:       fmt.Sprintf("c-%x-%d", s.seed, n),
		time:     s.base.Add(-time.Duration(r.IntN(90*60*1000)) * time.Millisecond),
		tenant:   pick("acme", "globex"),
		server:   pick("files", "mail", "billing"),
		tool:     pick("read", "write", "search", "send"),
		outcome:  pick("success", "success", "failure", "denied", "error"),
		severity: pick("info", "low", "high"),
		client:   fmt.Sprintf("client-%d", r.IntN(20)),
		ip:       fmt.Sprintf("203.0.113.%d", 1+r.IntN(30)),
		session:  fmt.Sprintf("session-%d", r.IntN(300)),
		in:       r.Uint64N(1 << 20),
		out:      r.Uint64N(1 << 30),
		ms:       float64(r.IntN(1_000_000)) / 8,
	}
}

// value is the bytes of record n.
func (s source) value(n uint64) []byte {
	if s.hostile(n) {
		return s.damaged(n)
	}
	e := s.event(n)
	return fmt.Appendf(nil, `{"schema":"picket.event/1","id":%q,"time":%q,"type":"tool_call","outcome":%q,"severity":%q,"tenant":%q,`+
		`"server":{"name":%q,"instance":"chaos"},"actor":{"client_id":%q},"net":{"ip":%q},"mcp":{"tool":%q,"session":%q},`+
		`"io":{"args_bytes":%d,"result_bytes":%d,"duration_ms":%g}}`,
		e.id, e.time.UTC().Format("2006-01-02T15:04:05.000Z"), e.outcome, e.severity, e.tenant, e.server, e.client, e.ip, e.tool, e.session, e.in, e.out, e.ms)
}

// damaged is bytes that no reader may take for an event.
func (s source) damaged(n uint64) []byte {
	r := s.random(n)
	switch r.IntN(6) {
	case 0:
		return fmt.Appendf(nil, `{"schema":"picket.event/1","id":"cut-%d","time":"2026-`, n)
	case 1:
		b := make([]byte, 1+r.IntN(400))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return append([]byte{0xff, 0xfe}, b...)
	case 2:
		return []byte{}
	case 3:
		return []byte(strings.Repeat(`{"a":[`, 200))
	case 4: // one key twice
		return fmt.Appendf(nil, `{"schema":"picket.event/1","id":"a-%d","id":"b","time":"2026-01-01T00:00:00Z","type":"tool_call","outcome":"success","server":{"name":"x","instance":"y"}}`, n)
	default: // nothing that has to be there
		return fmt.Appendf(nil, `{"schema":"picket.event/1","id":"c-%d"}`, n)
	}
}
