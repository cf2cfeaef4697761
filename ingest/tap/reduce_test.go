package tap

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/quick"
)

func TestReduce(t *testing.T) {
	for in, want := range map[string]string{
		`{ "a" : [1, "x", null, true] }`:     `{"a":[1,"x",null,true]}`,
		`{"path":"a","path":"b","PATH":"c"}`: `{"path":"a","path#2":"b","PATH#3":"c"}`,
		`{"a":{"b":{"c":[1]}}}`:              `{"a":{"b":"{\"c\":[1]}"}}`, // too deep: still there, as text
		`{"n":1e999}`:                        `{"n":"1e999"}`,
		"{\"s\":\"\xff\"}":                   "{\"s\":\"\ufffd\"}",
		`{"s":"\ud800"}`:                     "{\"s\":\"\ufffd\"}",
		`"text"`:                             `"text"`,
	} {
		if r := reduce([]byte(in), limits{bytes: 1000, depth: 2, keys: 10}); string(r.raw) != want {
			t.Errorf("%s\n got %s\nwant %s", in, r.raw, want)
		}
	}
	if r := reduce([]byte(`{"a":1,"b":2,"c":3,"d":4}`), limits{bytes: 1000, depth: 9, keys: 2}); string(r.raw) != `{"a":1,"b":2,"…":",\"c\":3,\"d\":4"}` || !r.cut {
		t.Errorf("too many keys: %s", r.raw)
	}
}

// Padding must not push what comes after it, or its own end, out of sight.
func TestReduceKeepsWhatFollowsALongText(t *testing.T) {
	in := `{"pad":"` + strings.Repeat("x", 500<<10) + `END","path":"../../etc/passwd"}`
	r := reduce([]byte(in), argLimits)
	if s := string(r.raw); !strings.Contains(s, `"path":"../../etc/passwd"`) || !strings.Contains(s, `END"`) || !r.cut || len(s) > argLimits.bytes {
		t.Errorf("%d bytes, cut %v", len(r.raw), r.cut)
	}
}

func TestReduceStaysWithinLimits(t *testing.T) {
	l := limits{bytes: 500, depth: 4, keys: 6}
	for _, in := range []string{
		`["` + strings.Repeat(`\u0001`, 5000) + `"]`, strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"[" + strings.Repeat("{},", 5000) + "0]", "{" + strings.Repeat(`"k":1,`, 5000) + `"z":0}`, "[" + strings.Repeat("1", 5000) + "]",
	} {
		r := reduce([]byte(in), l)
		var v any
		if err := json.Unmarshal(r.raw, &v); err != nil || !r.cut && len(in) > 10_000 || len(r.raw) > l.bytes+600 || depthOf(r.raw) > l.depth || keysOf(v) > l.keys+1 {
			t.Errorf("%.40s: %d bytes, depth %d, keys %d, cut %v, %v", in, len(r.raw), depthOf(r.raw), keysOf(v), r.cut, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	// The number samples are those of RFC 8785, appendix B and section 3.2.2.
	for in, want := range map[string]string{
		`[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]`: `[333333333.3333333,1e+30,4.5,0.002,1e-27]`,
		`[-0, 1e21, 1e-7, 9007199254740993]`:                                    `[0,1e+21,1e-7,9007199254740992]`,
		`{"b":1,"a":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\/"}`:               `{"a":"€$\u000f\nA'B\"\\/","b":1}`,
		"{\"\\ufb33\":1,\"\\ud83d\\ude00\":2,\"\\u20ac\":3,\"1\":4}":            "{\"1\":4,\"€\":3,\"😀\":2,\"\ufb33\":1}",
	} {
		if got, err := canonical([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s\n got %s, %v\nwant %s", in, got, err, want)
		}
	}
	stable := func(m map[string]float64, s []string) bool {
		raw, _ := json.Marshal(map[string]any{"m": m, "s": s})
		one, err := canonical(raw)
		two, err2 := canonical(one)
		return err == nil && err2 == nil && string(one) == string(two)
	}
	if err := quick.Check(stable, nil); err != nil {
		t.Error(err)
	}
}

func TestDigestIsKeyed(t *testing.T) {
	a, b := digest([]byte("k1"), []byte(`{"x": 1}`)), digest([]byte("k2"), []byte(`{"x":1}`))
	if a == b || a != digest([]byte("k1"), []byte(`{"x":1.0}`)) || digest(nil, []byte(`{}`)) != "" {
		t.Errorf("%s %s", a, b)
	}
}

// However a call is padded, doubled or nested, its event is one that the consumer takes.
func TestHostileArgumentsStillMakeAnEvent(t *testing.T) {
	for _, args := range []string{
		`{"path":"a","path":"../../etc/passwd"}`, `{"a":` + strings.Repeat(`{"a":`, 200) + `"../../etc/passwd"` + strings.Repeat("}", 200) + `}`,
		`{"pad":"` + strings.Repeat("p", 900<<10) + `","path":"../../etc/passwd"}`, `{` + manyKeys(2000) + `"path":"../../etc/passwd"}`,
	} {
		l := newLines(t, nil)
		l.client(`{"id":1,"method":"tools/call","params":{"name":"x","arguments":` + args + `}}`)
		l.server(`{"id":1,"result":` + args + `}`)
		list := l.events()
		if len(list) != 1 || !strings.Contains(string(list[0].IO.Args), "../../etc/passwd") {
			t.Errorf("%.40s: %d events", args, len(list))
		}
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"k` + strings.Repeat("k", i%7) + string(rune('a'+i%26)) + strings.Repeat("i", i/26) + `":1,`)
	}
	return b.String()
}
