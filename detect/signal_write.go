package detect

import "encoding/binary"

// How the points of a rule are written: what is mostly the same is left out.
const (
	pointsInRow  = 1 << iota // one point of each event from the first one on
	pointsSteps              // not all are of step 0
	pointsValues             // not all add one
)

// AppendSignal appends the record form of s to dst.
func AppendSignal(dst []byte, s *Signal) []byte {
	var t textWriter
	dst = append(dst, signalVersion, kindSignal)
	dst = binary.AppendUvarint(dst, uint64(s.Source))
	dst = binary.AppendUvarint(dst, uint64(s.Begin))
	dst = binary.AppendUvarint(dst, uint64(s.End))
	dst = t.text(dst, s.Tenant)
	dst = append(dst, s.Group[:]...)
	dst = t.values(dst, s.Values)
	dst = binary.AppendUvarint(dst, uint64(len(s.Events)))
	var before SignalEvent
	for i := range s.Events {
		e := &s.Events[i]
		dst = binary.AppendVarint(dst, e.Time-before.Time)
		dst = binary.AppendVarint(dst, e.Offset-before.Offset)
		dst = binary.AppendVarint(dst, e.Append-e.Time)
		dst = binary.LittleEndian.AppendUint64(dst, e.Identity)
		before = *e
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Rules)))
	for i := range s.Rules {
		dst = append(dst, s.Rules[i].Rule[:]...)
		dst = appendPoints(dst, s.Rules[i].Points)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Evidence)))
	for i := range s.Evidence {
		e := &s.Evidence[i]
		dst = binary.AppendUvarint(dst, uint64(e.Event))
		dst = appendString(dst, e.EventID)
		dst = t.text(dst, e.Server)
		dst = t.name(dst, e.Type)
		dst = t.name(dst, e.Outcome)
		dst = t.text(dst, e.Tool)
		dst = t.text(dst, e.Finding)
		dst = binary.AppendUvarint(dst, uint64(len(e.Rules)))
		for j := range e.Rules {
			dst = binary.AppendUvarint(dst, uint64(e.Rules[j].Rule))
			dst = t.values(dst, e.Rules[j].Context)
		}
	}
	return dst
}

func appendPoints(dst []byte, points []Point) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(points)))
	if len(points) == 0 {
		return dst
	}
	form := byte(pointsInRow)
	for i := range points {
		p := &points[i]
		if p.Event != points[0].Event+uint32(i) {
			form &^= pointsInRow
		}
		if p.Step != 0 {
			form |= pointsSteps
		}
		if p.Value != addsOne {
			form |= pointsValues
		}
	}
	dst = append(dst, form)
	if form&pointsInRow != 0 {
		dst = binary.AppendUvarint(dst, uint64(points[0].Event))
	} else {
		before := int64(0)
		for i := range points {
			dst = binary.AppendVarint(dst, int64(points[i].Event)-before)
			before = int64(points[i].Event)
		}
	}
	if form&pointsSteps != 0 {
		for i := range points {
			dst = append(dst, points[i].Step)
		}
	}
	if form&pointsValues != 0 {
		for i := range points {
			dst = binary.LittleEndian.AppendUint64(dst, points[i].Value)
		}
	}
	return dst
}

// addsOne are the bits of 1.0, which is what most points add.
const addsOne = 0x3ff0000000000000

// AppendProgress appends the record form of p to dst.
func AppendProgress(dst []byte, p Progress) []byte {
	dst = append(dst, signalVersion, kindProgress)
	for _, x := range []int64{int64(p.Source), int64(p.Sources), p.Begin, p.End} {
		dst = binary.AppendUvarint(dst, uint64(x))
	}
	return binary.AppendVarint(dst, p.Passed.UnixMilli())
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// wireNames are texts that have a number in every record. They are a part of the version: none
// may be moved, and none added but at the end of another version.
var wireNames = [...]string{
	"", "authentication", "authorization", "token", "tool_call", "resource_read", "prompt_get", "discovery", "tool_definition",
	"elicitation", "rate_limit", "config", "error", "suspicious_activity", "heartbeat", "success", "failure", "denied", "unknown",
	"actor.client_id", "actor.subject", "actor.token", "client.user_agent", "http.status", "io.args_bytes", "io.args_digest",
	"io.duration_ms", "io.egress_hosts", "io.result_bytes", "limit.name", "mcp.error_code", "mcp.handle", "mcp.method",
	"mcp.resource", "mcp.session", "mcp.tool", "net.country", "net.host", "net.ip", "net.ip_prefix", "net.origin", "outcome",
	"perm.action", "perm.resource", "reason", "server.instance", "server.name", "src.producer", "tool.name", "trace.trace_id", "default",
}

var wireNumbers = func() map[string]uint64 {
	numbers := make(map[string]uint64, len(wireNames))
	for i, name := range wireNames {
		numbers[name] = uint64(i) + 1
	}
	return numbers
}()

// maxTexts is how many texts of one record have a number there.
const maxTexts = 64

// textWriter writes a text once in a record, and then its number: 0 is before a text that has
// none, then come those of wireNames, then those of the record in the order of their first use.
type textWriter struct {
	texts [maxTexts]string
	n     int
}

// name writes what is mostly one of wireNames.
func (t *textWriter) name(dst []byte, s string) []byte {
	if n, ok := wireNumbers[s]; ok {
		return append(dst, byte(n))
	}
	return t.text(dst, s)
}

func (t *textWriter) text(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, 1)
	}
	for i, known := range t.texts[:t.n] {
		if known == s {
			return append(dst, byte(1+len(wireNames)+i))
		}
	}
	if t.n < maxTexts {
		t.texts[t.n] = s
		t.n++
	}
	return appendString(append(dst, 0), s)
}

func (t *textWriter) values(dst []byte, values []GroupValue) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for i := range values {
		dst = t.name(dst, values[i].Field)
		dst = t.text(dst, values[i].Value)
		dst = t.text(dst, values[i].Key)
	}
	return dst
}
