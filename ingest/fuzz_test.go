package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"picket/detect"
)

func fuzzSeeds(f *testing.F) {
	f.Helper()
	for _, line := range logLines(f) {
		f.Add([]byte(line))
	}
	for _, m := range []string{
		`"a":"b"`, `"io":{"args":{"a":[1,"x\u0000",{"$ne":null}]},"result":"r"}`, `"labels":{"\ud83d\ude00":"ſ"}`,
		`"net":{"ip":{"h":"abcdefghijklmnopqrstuvwxyz","k":"k"}}`, `"actor":{"delegation":["x"],"scopes":[]}`, `"seq":1e3`,
		`"io":{"findings":[{"cat":"sqli","rule":"r","dir":"input","at":"/a"}]}`,
	} {
		f.Add([]byte(with(m)))
	}
	for _, s := range []string{"", "{", `{"a":1}`, "[1]", "\ufeff{}", `{"schema":"picket.event/2"}`, "WARNING:x:{}"} {
		f.Add([]byte(s))
	}
}

func FuzzDecode(f *testing.F) {
	fuzzSeeds(f)
	known := map[Class]bool{}
	for _, c := range Classes() {
		known[c] = true
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		d := NewDecoder(Options{KeepLabels: []string{"a"}})
		ev := &detect.Event{}
		err := d.Decode(ev, record(string(value)))
		if err != nil {
			var r *Reject
			if !errors.As(err, &r) || !known[r.Class] || r.Msg == "" || r.Offset < 0 || r.Offset > len(value) {
				t.Fatalf("a refusal without its parts: %#v", err)
			}
			return
		}
		// What is accepted is a text that others read too, and within the limits.
		text := value
		if i := bytes.IndexByte(value, '{'); firstByte(value) != '{' {
			text = value[i:]
		}
		if !json.Valid(text) || !utf8.Valid(value) || len(value) > MaxBytes {
			t.Fatalf("accepted, and not JSON: %q", value)
		}
		var any map[string]any
		if err := json.Unmarshal(text, &any); err != nil {
			t.Fatalf("accepted, and encoding/json says: %v", err)
		}
		if again, err := json.Marshal(any); err != nil || !json.Valid(again) {
			t.Fatalf("cannot be encoded again: %v", err)
		}
		if !ev.Has(detect.Type) || !ev.Has(detect.Outcome) || !ev.Has(detect.ID) || !ev.Has(detect.ServerName) || !ev.Has(detect.Tenant) || ev.NumLabels() > maxLabels {
			t.Fatal("an event lacks what every event has")
		}
		ev.Redact(plainHash{}, d.KeepLabel)
		if ev.Time.IsZero() {
			t.Fatal("an event without time")
		}
	})
}

// FuzzScan holds the scanner against encoding/json on any text.
func FuzzScan(f *testing.F) {
	fuzzSeeds(f)
	f.Add([]byte(`{"a":{"b":[1,2.5e-3,"\u00e9\n"]},"A2":null}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if !utf8.Valid(value) {
			return // Decode refuses it before
		}
		var tp tape
		r := tp.scan(value, string(value), 0)
		var want any
		dec := json.NewDecoder(bytes.NewReader(value))
		err := dec.Decode(&want)
		if r == nil {
			if !json.Valid(value) || err != nil {
				t.Fatalf("accepted %q; encoding/json: %v", value, err)
			}
			if got := rebuild(&tp, 0); !same(got, want) {
				t.Fatalf("%q: %v, encoding/json has %v", value, got, want)
			}
			return
		}
		if json.Valid(value) && err == nil && r.Class == ClassNotJSON {
			t.Fatalf("refused as no JSON, and it is: %q: %v", value, r)
		}
	})
}

// rebuild makes Go values from the tape, as encoding/json does.
func rebuild(t *tape, i int32) any {
	n := &t.nodes[i]
	switch n.kind {
	case kindNull:
		return nil
	case kindTrue, kindFalse:
		return n.kind == kindTrue
	case kindString:
		return n.val
	case kindNumber:
		var x float64
		if json.Unmarshal([]byte(n.val), &x) != nil {
			return "not a number"
		}
		return x
	case kindArray:
		out := []any{}
		for j := i + 1; j < n.next; j = t.nodes[j].next {
			out = append(out, rebuild(t, j))
		}
		return out
	}
	out := map[string]any{}
	for j := i + 1; j < n.next; j = t.nodes[j].next {
		out[t.nodes[j].key] = rebuild(t, j)
	}
	return out
}

func same(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// FuzzNoCanary puts a canary into an event's text, wherever a quoted text is, and looks
// for it in what leaves.
func FuzzNoCanary(f *testing.F) {
	f.Add(uint16(0), uint8(0))
	f.Add(uint16(7), uint8(1))
	f.Add(uint16(40), uint8(2))
	k := testKeys(f, 1)
	canaries := []string{"canary@example.org", "198.51.100.77", "AKIACANARYCANARYCAN7", "ghp_canaryCANARY0123456789canary", "4929000000000001"}
	f.Fuzz(func(t *testing.T, at uint16, which uint8) {
		c := canaries[int(which)%len(canaries)]
		full := with(`"env":"_","tenant":"_","reason":"_","actor":{"subject":"_","token":"_","issuer":"_","scopes":["_"],"audience":["_"],"delegation":["_"]},` +
			`"client":{"name":"_","version":"_","user_agent":"_"},"net":{"ip":"_","ip_prefix":"_","country":"_","tls":"_","origin":"_","host":"_"},` +
			`"mcp":{"method":"_","request_id":"_","tool":"_","prompt":"_","resource":"_","session":"_","handle":"_","result_type":"_"},` +
			`"http":{"path":"_"},"perm":{"resource":"_","action":"_","policy":"_","required":["_"]},"io":{"args":{"a":"_"},"result":"_","egress_hosts":["_"]},` +
			`"limit":{"name":"_"},"src":{"producer":"_"},"labels":{"a":"_","b":"_"},"unknown":"_"`)
		full = strings.Replace(full, `"reason":"_",`, "", 1)
		parts := strings.Split(full, `"_"`)
		n := int(at) % (len(parts) - 1)
		value := strings.Join(parts[:n+1], `"x"`) + `"x ` + c + ` y"` + strings.Join(parts[n+1:], `"x"`)
		if at&0x8000 != 0 {
			value = strings.Join(parts[:n+1], `"x"`) + `"` + c + `"` + strings.Join(parts[n+1:], `"x"`)
		}
		ev := &detect.Event{}
		d := NewDecoder(Options{KeepLabels: []string{"a"}})
		if err := d.Decode(ev, record(value)); err != nil {
			if strings.Contains(err.Error(), c) {
				t.Fatalf("the error tells: %v", err)
			}
			return
		}
		ev.Redact(k.Hasher(), d.KeepLabel)
		if told := tell(ev); strings.Contains(told, c) {
			t.Fatalf("canary %d leaves at text %d: %s", which, n, told)
		}
	})
}
