package ingest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"picket/detect"
)

// lineHeader is what Python's logging puts before a message.
type lineHeader struct {
	when  time.Time
	name  string // of the logger
	level string
}

// parseLineHeader reads "2026-11-22 14:30:12,123 - mcp_security - WARNING - {...}", the same
// with a few words before the object ("Failed login: {...}"), and logging's own default,
// "WARNING:mcp_security:{...}". It returns where the object begins.
func parseLineHeader(s string, h *lineHeader) (int, bool) {
	brace := strings.IndexByte(s, '{')
	if brace < 0 || brace > 512 {
		return 0, false
	}
	head := s[:brace]
	if parts := strings.SplitN(head, " - ", 4); len(parts) == 4 {
		when, ok := parseTime(strings.TrimSpace(parts[0]))
		if !ok || !isLevel(parts[2]) {
			return 0, false
		}
		*h = lineHeader{when: when, name: strings.TrimSpace(parts[1]), level: parts[2]}
		return brace, true
	}
	if parts := strings.SplitN(head, ":", 3); len(parts) == 3 && isLevel(parts[0]) {
		*h = lineHeader{name: parts[1], level: parts[0]}
		return brace, true
	}
	return 0, false
}

func isLevel(s string) bool {
	switch s {
	case "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL":
		return true
	}
	return false
}

func (d *Decoder) isSecurityLogger() bool {
	n := d.get("event_type")
	return n != nil && n.kind == kindString
}

// logField says where a key of a SecurityLogger line goes. Where several keys mean the
// same field, the first that has a value wins, in the order of the line; others are labels.
func logField(key string) (detect.Field, bool) {
	switch key {
	case "user", "user_id", "username", "email":
		return detect.ActorSubject, true
	case "client_id", "api_key_id":
		return detect.ActorClientID, true
	case "source_ip", "ip_address", "client_ip", "ip", "remote_addr":
		return detect.NetIP, true
	case "user_agent":
		return detect.ClientUserAgent, true
	case "resource":
		return detect.PermResource, true
	case "action":
		return detect.PermAction, true
	case "required_permission", "policy":
		return detect.PermPolicy, true
	case "session_id", "session":
		return detect.MCPSession, true
	case "tool", "tool_name":
		return detect.MCPTool, true
	case "method":
		return detect.MCPMethod, true
	case "request_id":
		return detect.MCPRequestID, true
	case "endpoint", "path":
		return detect.HTTPPath, true
	case "reason", "failure_reason", "activity_type", "activity":
		return detect.Reason, true
	case "limit":
		return detect.LimitLimit, true
	case "window", "window_s", "window_seconds":
		return detect.LimitWindowS, true
	case "count", "current_count", "request_count":
		return detect.LimitObserved, true
	case "server", "server_name":
		return detect.ServerName, true
	case "tenant":
		return detect.Tenant, true
	case "env", "environment":
		return detect.Env, true
	case "event_id":
		return detect.ID, true
	}
	return 0, false
}

// securityLogger reads the JSON object that a Python SecurityLogger writes as its message.
func (d *Decoder) securityLogger(ev *detect.Event, h lineHeader) *Reject {
	kind := d.get("event_type")
	typ, outcome, ok := logType(kind.val)
	if !ok {
		return invalid(ClassUnknownFormat, int(kind.off), "event_type is none of those that a SecurityLogger writes")
	}
	ev.Claimed = h.when
	severity := h.level
	t := &d.tape
	for i := int32(1); i < t.nodes[0].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		var r *Reject
		switch {
		case n.kind == kindNull || n.key == "event_type": // None is how Python says absent
		case n.key == "timestamp":
			ev.Claimed, r = logTime(n)
		case n.key == "success":
			outcome, r = logOutcome(typ, n)
		case n.key == "severity" || n.key == "level":
			if severity, r = textOf(n.key, n, 16); r == nil && logSeverity(severity) == "" {
				r = invalid(ClassBadValue, int(n.off), n.key+" is no level that is known")
			}
		case isLogText(n.key):
			r = d.logDetails(ev, i)
		default:
			r = d.logMember(ev, i)
		}
		if r != nil {
			return r
		}
	}
	ev.Set(detect.Schema, "picket.event/1")
	ev.Set(detect.SrcFormat, "security-logger")
	ev.Set(detect.Type, typ)
	ev.Set(detect.Outcome, outcome)
	if typ == "rate_limit" && !ev.Has(detect.Reason) {
		ev.Set(detect.Reason, "rate_limited")
	}
	if s := logSeverity(severity); s != "" {
		ev.Set(detect.Severity, s)
	}
	if !ev.Has(detect.ServerName) {
		name := h.name
		if name == "" || longer(name, detect.ServerName.Info().Limit()) {
			name = "security-logger"
		}
		ev.Set(detect.ServerName, d.own(name))
	}
	if !ev.Has(detect.ID) {
		ev.Set(detect.ID, coordinateID(d.rec))
	}
	return nil
}

// isLogText names what holds free text or arguments: it is matched in memory and dropped.
func isLogText(key string) bool {
	switch key {
	case "details", "parameters", "params", "arguments", "metadata", "context", "extra", "data",
		"message", "msg", "description", "error", "error_message":
		return true
	}
	return false
}

// logTime reads isoformat() as well as time.time().
func logTime(n *node) (time.Time, *Reject) {
	if n.kind != kindNumber {
		return timeOf("timestamp", n)
	}
	s, r := numberOf("timestamp", n, numeric{min: 0, max: 1e11})
	return time.UnixMicro(int64(s * 1e6)).UTC(), r
}

func (d *Decoder) logDetails(ev *detect.Event, at int32) *Reject {
	if k := d.tape.nodes[at].kind; k == kindString || k == kindObject || k == kindArray {
		return d.free(ev, at, ioArgs)
	}
	return d.unknown(ev, "", &d.tape.nodes[at])
}

func (d *Decoder) logMember(ev *detect.Event, at int32) *Reject {
	n := &d.tape.nodes[at]
	f, known := logField(n.key)
	if !known {
		if logVariant(n.key) {
			return invalid(ClassCaseVariantKey, int(n.off), "a key is a known one in another case")
		}
		return d.unknown(ev, "", n)
	}
	if n.kind == kindObject || n.kind == kindArray {
		return invalid(ClassBadType, int(n.off), n.key+" must be a string, number or boolean")
	}
	if ev.Has(f) {
		return d.label(ev, n.key, n)
	}
	switch {
	case f.Kind() == detect.Number:
		x, r := numberOf(n.key, n, numericOf(f))
		if r == nil {
			ev.SetNum(f, x)
		}
		return r
	case f == detect.Reason:
		code := strings.ReplaceAll(strings.ToLower(n.val), " ", "_")
		if n.kind != kindString || len(code) > 64 || !wellFormed(detect.Reason, code) {
			return d.label(ev, n.key, n)
		}
		ev.Set(f, d.own(code))
		return nil
	case longer(n.val, f.Info().Limit()):
		return invalid(ClassTooLong, int(n.off), n.key+" is too long")
	case n.val == "":
		return nil
	case f == detect.ActorClientID && len(n.val) == 12 && lowerHex(n.val):
		ev.SetHashed(f, d.own(n.val)) // the logger's own hash_sensitive(...)[:12]
		return nil
	}
	ev.Set(f, d.own(n.val)) // numbers too: user_id is often one
	return nil
}

// logType maps event_type to the event's type, and to the outcome where the line has no "success".
func logType(s string) (typ, outcome string, ok bool) {
	switch s {
	case "authentication", "authentication_attempt", "auth_attempt", "login", "login_attempt":
		return "authentication", "unknown", true
	case "authentication_success", "auth_success", "login_success":
		return "authentication", "success", true
	case "authentication_failure", "auth_failure", "login_failure", "failed_login":
		return "authentication", "failure", true
	case "permission_violation", "authorization_failure", "authorization_denied", "access_denied", "unauthorized_access":
		return "authorization", "denied", true
	case "authorization":
		return "authorization", "unknown", true
	case "suspicious_activity":
		return "suspicious_activity", "unknown", true
	case "rate_limit", "rate_limit_exceeded", "rate_limit_violation", "rate_limited":
		return "rate_limit", "denied", true
	case "tool_call", "tool_execution", "tool_invocation":
		return "tool_call", "unknown", true
	case "resource_access", "resource_read", "data_access":
		return "resource_read", "unknown", true
	case "token", "token_validation", "token_revoked":
		return "token", "unknown", true
	case "config_change", "configuration_change":
		return "config", "success", true
	case "error":
		return "error", "error", true
	}
	return "", "", false
}

func logOutcome(typ string, n *node) (string, *Reject) {
	switch {
	case n.kind == kindTrue:
		return "success", nil
	case n.kind == kindFalse && typ == "authorization":
		return "denied", nil
	case n.kind == kindFalse:
		return "failure", nil
	}
	return "", invalid(ClassBadType, int(n.off), "success must be true or false")
}

func logSeverity(level string) string {
	switch strings.ToLower(level) {
	case "debug":
		return "debug"
	case "info":
		return "info"
	case "warning", "low":
		return "low"
	case "error", "medium":
		return "medium"
	case "high":
		return "high"
	case "critical":
		return "critical"
	}
	return ""
}

// logVariant reports whether a key would be known in lower case.
func logVariant(key string) bool {
	for _, k := range [...]string{"event_type", "timestamp", "success", "severity", "level", "schema"} {
		if key != k && strings.EqualFold(key, k) {
			return true
		}
	}
	lower := strings.ToLower(strings.ReplaceAll(key, "ſ", "s"))
	if lower == key {
		return false
	}
	_, known := logField(lower)
	return known || isLogText(lower)
}

// coordinateID names an event that came without an id by where it lies, so that a replay
// gives the same id: a UUID of version 8.
func coordinateID(rec Record) string {
	b := append(make([]byte, 0, 64), rec.Topic...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(rec.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(rec.Offset))
	u := sha256.Sum256(b)
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	x := hex.EncodeToString(u[:16])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}
