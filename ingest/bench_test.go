package ingest

import (
	"encoding/json"
	"testing"

	"picket/detect"
)

// typical is a tool call as a gateway sends it, of about 700 bytes.
const typical = `{"schema":"picket.event/1","id":"0192f0c1-2b3c-7def-8123-456789abcdef","time":"2026-11-22T14:29:59.123Z","seq":4711,` +
	`"type":"tool_call","outcome":"success","tenant":"acme","server":{"name":"files","version":"1.2.3","instance":"files-7d9f","transport":"http"},` +
	`"actor":{"subject":"auth0|5f7c8ec7c33c6c004bbafe82","client_id":"claude-desktop","auth_method":"bearer"},` +
	`"client":{"name":"claude-desktop","user_agent":"claude-desktop/1.2.0"},"net":{"ip":"203.0.113.9","port":51234},` +
	`"mcp":{"method":"tools/call","session":"7f3c2b1a-0d4e","tool":"read_text_file","request_id":"17"},` +
	`"io":{"args":{"path":"/srv/projects/alpha/notes/plan.md","head":40},"result_bytes":2048,"duration_ms":12.5}}`

func BenchmarkDecode(b *testing.B) {
	d, ev, rec := NewDecoder(Options{}), &detect.Event{}, record(typical)
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(ev, rec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	var t tape
	src := []byte(typical)
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if r := t.scan(src, typical, 0); r != nil {
			b.Fatal(r)
		}
	}
}

func BenchmarkDecodeRedact(b *testing.B) {
	d, ev, rec, h := NewDecoder(Options{}), &detect.Event{}, record(typical), testKeys(b, 1).Hasher()
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(ev, rec); err != nil {
			b.Fatal(err)
		}
		ev.Redact(h, d.KeepLabel)
	}
}

func BenchmarkDecodeSecurityLogger(b *testing.B) {
	d, ev, rec := NewDecoder(Options{}), &detect.Event{}, record(logLines(b)[0])
	b.SetBytes(int64(len(rec.Value)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(ev, rec); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPseudonymCold is a value that no cache holds.
func BenchmarkPseudonymCold(b *testing.B) {
	h := testKeys(b, 1).Hasher()
	b.ReportAllocs()
	for b.Loop() {
		h.pseudonym(new([hashTextLen]byte), 0, "acme", "subject", "auth0|5f7c8ec7c33c6c004bbafe82")
	}
}

func BenchmarkPseudonymWarm(b *testing.B) {
	h := testKeys(b, 1).Hasher()
	b.ReportAllocs()
	for b.Loop() {
		h.Pseudonym("acme", "subject", "auth0|5f7c8ec7c33c6c004bbafe82", day)
	}
}

func BenchmarkGroupHash(b *testing.B) {
	h := testKeys(b, 1).Hasher()
	b.ReportAllocs()
	for b.Loop() {
		h.GroupHash("acme", "net.ip", "203.0.113.9")
	}
}

// BenchmarkEncodingJSON is what the standard library takes for the same text, unchecked.
func BenchmarkEncodingJSON(b *testing.B) {
	b.SetBytes(int64(len(typical)))
	b.ReportAllocs()
	for b.Loop() {
		var m map[string]any
		if err := json.Unmarshal([]byte(typical), &m); err != nil {
			b.Fatal(err)
		}
	}
}
