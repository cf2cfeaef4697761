package ingest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

// plainHash shows the raw value: tests see through it what a field holds.
type plainHash struct{}

func (plainHash) Pseudonym(_, class, value string, _ time.Time) (string, string) {
	return class + "=" + value, "k1"
}

func record(value string) Record {
	return Record{Topic: "mcp.events", Partition: 3, Offset: 42, Append: day, Value: []byte(value)}
}

// decode gives the public forms of a record's event, with raw values where a pseudonym would be.
func decode(t testing.TB, opt Options, value string) *detect.Event {
	t.Helper()
	ev := &detect.Event{}
	d := NewDecoder(opt)
	if err := d.Decode(ev, record(value)); err != nil {
		t.Fatalf("%v\n%s", err, value)
	}
	ev.Redact(plainHash{}, d.KeepLabel)
	return ev
}

const minimal = `{"schema":"picket.event/1","id":"e-1","time":"2026-11-22T14:29:59Z","type":"tool_call","outcome":"success","server":{"name":"files"}`

func with(members string) string { return minimal + "," + members + "}" }

func TestDecodeFull(t *testing.T) {
	b, err := os.ReadFile("testdata/native-full.json")
	if err != nil {
		t.Fatal(err)
	}
	ev := decode(t, Options{KeepLabels: []string{"region"}}, string(b))
	for f, want := range map[detect.Field]string{
		detect.ID: "0192f0c1-2b3c-7def-8123-456789abcdef", detect.Type: "tool_call", detect.Outcome: "denied",
		detect.Reason: "path_outside_root", detect.Tenant: "acme", detect.ServerName: "files",
		detect.ServerTransport: "stdio", detect.ActorSubject: "subject=ann@example.com",
		detect.ActorClientID: "client=abcdefghijklmnopqrstuvwxyz", detect.NetIP: "ip=203.0.113.9",
		detect.NetIPPrefix: "203.0.113.0/24", detect.NetIPClass: "public", detect.MCPTool: "read_text_file",
		detect.MCPResource: "file:/3/*.md", detect.PermResource: "/1/passwd", detect.SrcFormat: "native",
		detect.MCPSession: "session=s-1", detect.TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		if got := ev.Public(f).Value; got != want {
			t.Errorf("%s: %q, want %q", f, got, want)
		}
	}
	for f, want := range map[detect.Field]float64{
		detect.Seq: 7, detect.NetPort: 51234, detect.IODurationMS: 12.5, detect.MCPErrorCode: -32602,
		detect.ActorTokenExp: 1795361400, detect.IOArgsDepth: 2, detect.LimitObserved: 61,
	} {
		if got, ok := ev.Num(f); !ok || got != want {
			t.Errorf("%s: %v %v, want %v", f, got, ok, want)
		}
	}
	if !ev.Flag(detect.MCPIsError) || ev.Flag(detect.SrcLoop) || !ev.Has(detect.SrcLoop) {
		t.Error("flags are wrong")
	}
	if got := fmt.Sprint(ev.PublicList(detect.ActorScopes)); !strings.Contains(got, "read:files") {
		t.Errorf("scopes: %s", got)
	}
	if !ev.Time.Equal(time.Date(2026, 11, 22, 14, 29, 59, 123e6, time.UTC)) || ev.Late || ev.TimeFlagged {
		t.Errorf("time %s late %v flagged %v", ev.Time, ev.Late, ev.TimeFlagged)
	}
	if f := ev.Findings(); len(f) != 1 || f[0].Cat != "path_traversal" || f[0].Score != 0.9 || f[0].Excerpt != "" {
		t.Errorf("findings: %+v", f)
	}
	labels := fmt.Sprint(ev.PublicLabels())
	for _, want := range []string{"{region {emea", "{net.custom {label:net.custom=1", "{extra {label:extra=true", "{privileged {label:privileged=true"} {
		if !strings.Contains(labels, want) {
			t.Errorf("labels %s lack %s", labels, want)
		}
	}
	if ev.Topic != "mcp.events" || ev.Partition != 3 || ev.Offset != 42 || !ev.Append.Equal(day) {
		t.Error("coordinates were lost")
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat("[", 33) + strings.Repeat("]", 33)
	var keys []string
	for i := range 520 {
		keys = append(keys, fmt.Sprintf(`"k%d":1`, i))
	}
	var many []string
	for i := range 33 {
		many = append(many, fmt.Sprintf(`"l%d":"v"`, i))
	}
	for _, c := range []struct {
		name, value string
		want        Class
	}{
		{"nothing", "", ClassEmpty},
		{"prose", "hello there", ClassNotJSON},
		{"cut short", minimal, ClassNotJSON},
		{"trailing", minimal + "} x", ClassTrailingData},
		{"two values", minimal + "}{}", ClassTrailingData},
		{"byte order mark", "\ufeff" + minimal + "}", ClassBOM},
		{"too large", with(`"labels":{"x":"` + strings.Repeat("a", MaxBytes) + `"}`), ClassTooLarge},
		{"too deep", with(`"io":{"args":{"a":` + deep + `}}`), ClassTooDeep},
		{"too many keys", with(`"io":{"args":{` + strings.Join(keys, ",") + `}}`), ClassTooManyKeys},
		{"duplicate key", with(`"type":"token"`), ClassDuplicateKey},
		{"duplicate key by escape", with(`"ty\u0070e":"token"`), ClassDuplicateKey},
		{"duplicate key in arguments", with(`"io":{"args":{"path":"/ok","path":"/etc/passwd"}}`), ClassDuplicateKey},
		{"case variant", with(`"Type":"token"`), ClassCaseVariantKey},
		{"case variant in arguments", with(`"io":{"args":{"q":[{"path":"/ok","PATH":"/etc/passwd"}]}}`), ClassCaseVariantKey},
		{"Kelvin sign", with(`"labels":{"kelvin":"a","\u212aelvin":"b"}`), ClassCaseVariantKey},
		{"long s", with(`"labels":{"size":"a","ſize":"b"}`), ClassCaseVariantKey},
		{"lone case variant of a field", with(`"Actor":{"subject":"x"}`), ClassCaseVariantKey},
		{"lone case variant in a group", with(`"net":{"IP":"203.0.113.9"}`), ClassCaseVariantKey},
		{"bad UTF-8", with("\"env\":\"\xff\""), ClassBadUTF8},
		{"overlong UTF-8", with("\"env\":\"\xc0\xaf\""), ClassBadUTF8},
		{"surrogate in UTF-8", with("\"env\":\"\xed\xa0\x80\""), ClassBadUTF8},
		{"lone high surrogate", with(`"env":"\ud800"`), ClassBadEscape},
		{"lone low surrogate", with(`"env":"\udc00"`), ClassBadEscape},
		{"high and no low surrogate", with(`"env":"\ud800\u0041"`), ClassBadEscape},
		{"unknown escape", with(`"env":"\x41"`), ClassBadEscape},
		{"control character", with("\"env\":\"a\nb\""), ClassNotJSON},
		{"leading zero", with(`"seq":01`), ClassBadNumber},
		{"plus", with(`"seq":+1`), ClassNotJSON},
		{"bare point", with(`"seq":1.`), ClassBadNumber},
		{"beyond float", with(`"io":{"args":{"n":1e999}}`), ClassBadNumber},
		{"NaN", with(`"seq":NaN`), ClassNotJSON},
		{"negative seq", with(`"seq":-1`), ClassBadValue},
		{"fraction of an integer", with(`"seq":1.5`), ClassBadValue},
		{"integer beyond 2^53", with(`"seq":9007199254740993000`), ClassBadValue},
		{"port", with(`"net":{"port":65536}`), ClassBadValue},
		{"comma", `{"schema":"picket.event/1",}`, ClassNotJSON},
		{"comment", "// x\n" + minimal + "}", ClassNotJSON},
		{"array", `[1,2]`, ClassUnknownFormat},
		{"number", `7`, ClassUnknownFormat},
		{"other JSON", `{"hello":"world"}`, ClassUnknownFormat},
		{"next version", `{"schema":"picket.event/2","id":"1"}`, ClassUnknownFormat},
		{"no id", `{"schema":"picket.event/1","time":"2026-11-22T14:29:59Z","type":"token","outcome":"success","server":{"name":"f"}}`, ClassMissingField},
		{"no time", `{"schema":"picket.event/1","id":"1","type":"token","outcome":"success","server":{"name":"f"}}`, ClassMissingField},
		{"empty server", `{"schema":"picket.event/1","id":"1","time":"2026-11-22T14:29:59Z","type":"token","outcome":"success","server":{"name":""}}`, ClassMissingField},
		{"type not listed", strings.Replace(minimal, "tool_call", "toolcall", 1) + "}", ClassBadValue},
		{"group of another type", with(`"net":"x"`), ClassBadType},
		{"null", with(`"env":null`), ClassBadType},
		{"reason", with(`"reason":"Not A Code"`), ClassBadValue},
		{"time", with(`"observed":"yesterday"`), ClassBadValue},
		{"31 February", strings.Replace(minimal, "2026-11-22", "2026-02-31", 1) + "}", ClassBadValue},
		{"long tool", with(`"mcp":{"tool":"` + strings.Repeat("x", 257) + `"}`), ClassTooLong},
		{"flat field", with(`"net.ip":"203.0.113.9"`), ClassUnknownField},
		{"unknown object", with(`"extra":{"a":1}`), ClassUnknownField},
		{"unknown array in a group", with(`"net":{"hops":[1]}`), ClassUnknownField},
		{"label that is an object", with(`"labels":{"a":{}}`), ClassBadType},
		{"33 labels", with(`"labels":{` + strings.Join(many, ",") + `}`), ClassTooManyLabels},
		{"long label", with(`"labels":{"a":"` + strings.Repeat("x", 257) + `"}`), ClassTooLong},
		{"label twice", with(`"extra":"1","labels":{"extra":"2"}`), ClassDuplicateKey},
		{"pseudonym without key", with(`"net":{"ip":{"h":"abcdefghijklmnopqrstuvwxyz"}}`), ClassMissingField},
		{"pseudonym that is none", with(`"net":{"ip":{"h":"203.0.113.9","k":"k1"}}`), ClassBadValue},
		{"pseudonym with more", with(`"net":{"ip":{"h":"abcdefghijklmnopqrstuvwxyz","k":"k1","raw":"203.0.113.9"}}`), ClassUnknownField},
		{"object for a plain field", with(`"mcp":{"tool":{"h":"abcdefghijklmnopqrstuvwxyz","k":"k1"}}`), ClassBadType},
		{"arguments that are a number", with(`"io":{"args":7}`), ClassBadType},
		{"finding", with(`"io":{"findings":[{"cat":"sqli","rule":"r"}]}`), ClassMissingField},
		{"65 scopes", with(`"actor":{"scopes":["` + strings.Repeat(`a","`, 64) + `b"]}`), ClassTooManyValues},
		{"unknown log event", `{"event_type":"coffee","timestamp":"2026-11-22T14:30:12"}`, ClassUnknownFormat},
		{"log line with prose", "2026-11-22 14:30:12,123 - mcp_security - WARNING - nothing structured", ClassNotJSON},
		{"log line case variant", `{"event_type":"authentication","success":true,"Source_IP":"203.0.113.9"}`, ClassCaseVariantKey},
	} {
		ev := &detect.Event{}
		err := NewDecoder(Options{}).Decode(ev, record(c.value))
		var r *Reject
		if !errors.As(err, &r) {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		if r.Class != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		for _, raw := range []string{"203.0.113.9", "/etc/passwd", "world", "yesterday", "coffee"} {
			if strings.Contains(r.Error(), raw) {
				t.Errorf("%s: the message tells a value: %v", c.name, r)
			}
		}
	}
}

func TestDecodeAccepts(t *testing.T) {
	for name, value := range map[string]string{
		"spaces":                "  \n" + minimal + "\t}\n",
		"naive time":            strings.Replace(minimal, "59Z", "59", 1) + "}",
		"offset":                strings.Replace(minimal, "59Z", "59+01:00", 1) + "}",
		"surrogate pair":        with(`"labels":{"x":"\ud83d\ude00"}`),
		"NUL in arguments":      with(`"io":{"args":{"a":"x\u0000y"}}`),
		"arguments as a string": with(`"io":{"args":"1' OR '1'='1"}`),
		"arguments as an array": with(`"io":{"args":[1,"x"],"result":["y"]}`),
		"equal keys apart":      with(`"io":{"args":{"a":{"x":1},"b":{"x":1,"X1":2}}}`),
		"32 deep":               with(`"io":{"args":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `}`),
		"integral float":        with(`"seq":1.0e3`),
		"big in arguments":      with(`"io":{"args":{"n":123456789012345678901234567890}}`),
	} {
		if err := NewDecoder(Options{}).Decode(&detect.Event{}, record(value)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rawArgs shows what rules see of the arguments. Only reflection reads raw values from here.
func rawArgs(t *testing.T, value string) []string {
	t.Helper()
	ev := &detect.Event{}
	if err := NewDecoder(Options{}).Decode(ev, record(value)); err != nil {
		t.Fatal(err)
	}
	list := reflect.ValueOf(ev).Elem().FieldByName("lists").Index(int(detect.IOArgs - detect.ActorAudience))
	out := []string{}
	for i := range list.Len() {
		out = append(out, list.Index(i).String())
	}
	return out
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args        string
		want        []string
		size, depth float64
	}{
		{`"1' OR '1'='1"`, []string{"1' OR '1'='1"}, 12, 0},
		{`{"path":"/etc/passwd","n":1,"deep":[{"q":"a\u0041"}]}`, []string{"/etc/passwd", "aA"}, 53, 3},
		{`{"user":{"$ne":null},"$where":"x"}`, []string{"$ne", `{"$ne":null}`, "$where", "x", `{"user":{"$ne":null},"$where":"x"}`}, 34, 2},
		{`{"__proto__":{"admin":true}}`, []string{"__proto__"}, 28, 2},
		{`{}`, []string{"{}"}, 2, 1},
	} {
		value := with(`"io":{"args":` + c.args + `}`)
		if got := rawArgs(t, value); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
		ev := decode(t, Options{}, value)
		size, _ := ev.Num(detect.IOArgsBytes)
		depth, _ := ev.Num(detect.IOArgsDepth)
		if size != c.size || depth != c.depth {
			t.Errorf("%s: %v bytes, %v deep", c.args, size, depth)
		}
	}
	digest := func(args string) string {
		return decode(t, Options{}, with(`"io":{`+args+`}`)).Public(detect.IOArgsDigest).Value
	}
	if a, b := digest(`"args":{"a":1}`), digest(`"args":{"a":2}`); a == b || len(a) != len("digest=")+32 {
		t.Errorf("digests %q %q", a, b)
	}
	for _, args := range []string{`"args_digest":"mine","args":{"a":1}`, `"args":{"a":1},"args_digest":"mine"`} {
		if got := digest(args); got != "digest=mine" {
			t.Errorf("%s: digest %q", args, got)
		}
	}
}

func TestTenantComesFromTheTopic(t *testing.T) {
	opt := Options{Tenant: "house", TopicTenants: map[string]string{"mcp.events": "acme"}}
	if got := decode(t, opt, with(`"tenant":"evil"`)).Public(detect.Tenant).Value; got != "acme" {
		t.Errorf("tenant %q", got)
	}
	if got := decode(t, Options{Tenant: "house"}, minimal+"}").Public(detect.Tenant).Value; got != "house" {
		t.Errorf("tenant %q", got)
	}
}

func TestEventsOutliveTheRecord(t *testing.T) {
	rec := record(with(`"mcp":{"tool":"read_file"}`))
	ev := &detect.Event{}
	if err := NewDecoder(Options{}).Decode(ev, rec); err != nil {
		t.Fatal(err)
	}
	for i := range rec.Value {
		rec.Value[i] = 'x'
	}
	ev.Redact(plainHash{}, nil)
	if got := ev.Public(detect.MCPTool).Value; got != "read_file" {
		t.Errorf("tool %q", got)
	}
}

func TestDecoderForgetsBetweenRecords(t *testing.T) {
	d := NewDecoder(Options{})
	ev := &detect.Event{}
	if err := d.Decode(ev, record(with(`"mcp":{"tool":"a"},"labels":{"x":"1"},"net":{"ip":"203.0.113.9"},"io":{"args":{"q":"x"}}`))); err != nil {
		t.Fatal(err)
	}
	ev.Redact(plainHash{}, nil)
	if err := d.Decode(ev, record(minimal+"}")); err != nil {
		t.Fatal(err)
	}
	ev.Redact(plainHash{}, nil)
	if ev.Has(detect.MCPTool) || ev.NumLabels() != 0 || ev.Has(detect.IOArgs) || ev.Public(detect.NetIP).Value != "" || ev.Has(detect.NetIPPrefix) {
		t.Error("the event before is still there")
	}
}

func TestDeadRecord(t *testing.T) {
	rec := record("hello")
	rec.Key = []byte("its key")
	err := NewDecoder(Options{}).Decode(&detect.Event{}, rec)
	var r *Reject
	if !errors.As(err, &r) {
		t.Fatal(err)
	}
	dead := NewDeadLetter(rec, r)
	if string(dead.Value) != "hello" || string(dead.Key()) != "mcp.events:3:42" {
		t.Errorf("%q %q", dead.Key(), dead.Value)
	}
	got := fmt.Sprintf("%s", dead.Headers())
	for _, want := range []string{"{picket-class not_json}", "{picket-stage decode}", "{picket-offset 42}", "{picket-append 2026-11-22T14:30:00Z}", "{picket-key its key}"} {
		if !strings.Contains(got, want) {
			t.Errorf("headers %s lack %s", got, want)
		}
	}
	dead.Redrive = []byte("mcp.events:3:7")
	if got := fmt.Sprintf("%s", dead.Headers()); !strings.HasSuffix(got, "{picket-redrive mcp.events:3:7}]") {
		t.Errorf("headers of a redrive that failed again: %s", got)
	}
	rec.Key = nil
	if got := fmt.Sprintf("%s", NewDeadLetter(rec, r).Headers()); strings.Contains(got, "picket-key") {
		t.Errorf("a record without a key has none in its headers: %s", got)
	}
}

// The canary property: whatever raw field a canary is in, no public form holds it.
func TestNoCanaryLeaves(t *testing.T) {
	b, err := os.ReadFile("testdata/canary.json")
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKeyring(rand.NewChaCha8([32]byte{1}), day)
	if err != nil {
		t.Fatal(err)
	}
	ev := &detect.Event{}
	d := NewDecoder(Options{KeepLabels: []string{"kept"}})
	if err := d.Decode(ev, record(string(b))); err != nil {
		t.Fatal(err)
	}
	ev.Redact(k.Hasher(), d.KeepLabel)
	told := tell(ev)
	canaries := []string{"canaryuser", "canary@example.org", "198.51.100.77", "2001:db8:ca:11", "canaryfile", "canaryargument", "canarysecret", "canarylabel", "canarytoken", "canarysession", "canaryresult", "canaryhandle"}
	for _, c := range canaries {
		if !strings.Contains(string(b), c) {
			t.Errorf("the fixture lacks %q: the test could not fail", c)
		}
		if strings.Contains(told, c) {
			t.Errorf("%q leaves: %s", c, told)
		}
	}
	for f := range detect.NumFields {
		if f.Info().Privacy != detect.Plain && f.Kind() <= detect.List && !ev.Has(f) {
			t.Errorf("the fixture lacks %s", f)
		}
	}
}

// tell gives every public form of an event as one text.
func tell(ev *detect.Event) string {
	var s strings.Builder
	for f := range detect.NumFields {
		switch f.Kind() {
		case detect.Text:
			fmt.Fprintf(&s, "%s=%+v\n", f, ev.Public(f))
		case detect.List:
			fmt.Fprintf(&s, "%s=%+v\n", f, ev.PublicList(f))
		}
	}
	fmt.Fprintf(&s, "%+v\n%+v\n%s", ev.PublicLabels(), ev.Findings(), ev.KeyID())
	return s.String()
}

// Hexadecimal texts are read by words; a wrong byte is found wherever it stands.
func TestLowerHexSeesEachByte(t *testing.T) {
	for n := range 70 {
		s := []byte(strings.Repeat("0123456789abcdef", 5)[:n])
		if !lowerHex(string(s)) {
			t.Fatalf("%q is hexadecimal", s)
		}
		for i := range s {
			was := s[i]
			for b := range 256 {
				s[i] = byte(b)
				if want := strings.IndexByte("0123456789abcdef", byte(b)) >= 0; lowerHex(string(s)) != want {
					t.Fatalf("%q with %#x at %d: %t", s, b, i, !want)
				}
			}
			s[i] = was
		}
	}
}
