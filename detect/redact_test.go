package detect

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// testHash is a Pseudonymizer whose values are as opaque as the real one's.
type testHash struct{}

func (testHash) Pseudonym(tenant, class, value string, _ time.Time) (string, string) {
	sum := sha256.Sum256([]byte(tenant + "|" + class + "|" + value))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26], "k1"
}

func TestPlainText(t *testing.T) {
	for _, c := range []struct {
		f    Field
		s    string
		want bool
	}{
		{MCPTool, "read_text_file", true},
		{MCPTool, "crm.find", true},
		{MCPTool, "@modelcontextprotocol/server-filesystem", true},
		{MCPTool, "server-filesystem@1.2.3", true},
		{MCPMethod, "tools/call", true},
		{MCPTool, "x'; DROP TABLE users", false},
		{MCPTool, "ann@example.com", false},
		{MCPTool, "ann@10.0.0.1", false},
		{MCPTool, "host_203.0.113.9", false},
		{MCPTool, "fe80::1", false},
		{MCPTool, "std::string", true},
		{MCPTool, "aa:bb:cc:0d:ee:ff", false},
		{MCPTool, "urn:a:b:c1", true},
		{MCPTool, "/home/ann/x", false},
		{MCPTool, "ghp_abcdefghijklmnop0123456789", false},
		{MCPTool, "tool_AKIAIOSFODNN7EXAMPLE", false},
		{ID, "0-ghp_abcdefghijklmnop0123456789", false},
		{MCPTool, "list_pk_constraints_of", true},
		{MCPTool, "d41d8cd98f00b204e9800998ecf8427e", false},
		{MCPDefinitionHash, "d41d8cd98f00b204e9800998ecf8427e", true},
		{ID, "0192f0c1-2b3c-7def-8123-456789abcdef", true},
		{MCPTool, "Xk29sLq8Zp3mNv7Rt5Wd", false},
		{MCPTool, "tool\x1b[31m", false},
		{MCPTool, "my tool", false},
		{ServerName, "My Files", true},
		{ServerName, "Ann's files", false},
		{ServerAddress, "files-1.internal:8080", true},
		{ServerAddress, "10.0.0.5:8080", false},
		{NetIPPrefix, "203.0.113.0/24", true},
		{NetIPPrefix, "203.0.113.9/32", false},
		{NetIPPrefix, "203.0.113.9/24", false},
		{NetIPPrefix, "2001:db8:1::/48", true},
		{ActorScopes, "token:read", true},
		{ActorScopes, "https://www.googleapis.com/auth/drive", true},
		{ServerVersion, "1.2.3+20261122", true},
		{MCPTool, strings.Repeat("a", 257), false},
	} {
		if got := plainText(c.f, c.s); got != c.want {
			t.Errorf("plainText(%s, %q) = %v", c.f, c.s, got)
		}
	}
}

func TestFreeText(t *testing.T) {
	for s, want := range map[string]bool{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36": true,
		"claude-code/2.0.14 (external, cli)":         true,
		"python-httpx/0.27.0":                        true,
		"example-client":                             true,
		"https://app.example.com":                    true,
		"https://app.example.com/?t=1":               false,
		"https://u:p$@app.example.com/":              false,
		"bot (+mailto:ann@example.com)":              false,
		"Ann's laptop":                               false,
		"client 203.0.113.9":                         false,
		"v203.0.113.9":                               false,
		"[2001:db8::1]:443":                          false,
		"127.0.0.1:8080":                             false,
		"Bearer abc":                                 false,
		"password: x":                                false,
		"x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc": false,
		"tel +49 171 2345678":                        false,
		"card 4111111111111111":                      false,
		`C:\Users\ann\app`:                           false,
		"app in /Users/ann":                          false,
		"line\nbreak":                                false,
		"Zoë":                                        false,
		"<script>alert(1)</script>":                  true, // neither personal nor secret: escaping is the reader's duty
		strings.Repeat("x ", 200):                    false,
		"0192f0c1-2b3c-7def-8123-456789abcdef":       true,
		"id d41d8cd98f00b204e9800998ecf8427e":        false,
		"key=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA":         false,
		"AKIAIOSFODNN7EXAMPLE":                       false,
		"sk-ant-REDACTED":                            false,
		"120.0.0.0":                                  true,
	} {
		if got := freeText(s); got != want {
			t.Errorf("freeText(%q) = %v", s, got)
		}
	}
}

func TestRedactByPrivacy(t *testing.T) {
	e := &Event{Time: time.Unix(1e9, 0)}
	e.Set(Type, "tool_call")
	e.Set(Tenant, "acme")
	e.Set(ActorSubject, "Ann@Example.com")
	e.Set(NetIP, "::ffff:203.0.113.9")
	e.Set(MCPTool, "read_file")
	e.Set(MCPResource, "file:///home/ann/plan.md")
	e.Set(ClientUserAgent, "x (ann@example.com)")
	e.SetHashed(ActorClientID, "0123456789ab")
	e.Add(ActorScopes, "read:files")
	e.Add(IOArgs, "rm -rf /")
	e.SetLabel("region", "emea")
	e.SetLabel("owner", "ann")
	e.SetLabel("a b", "x")
	e.AddFinding(Finding{Cat: "secret", Rule: "r1", Dir: "input", At: "/users/ann@example.com/0/na me", Digest: "raw", Excerpt: "raw"})
	e.Derive()
	e.Redact(testHash{}, func(k string) bool { return k == "region" })

	h := func(class, v string) string { s, _ := testHash{}.Pseudonym("acme", class, v, e.Time); return s }
	for f, want := range map[Field]Public{
		Type:            {Value: "tool_call"},
		ActorSubject:    {Value: h("subject", "ann@example.com"), Key: "k1"},
		NetIP:           {Value: h("ip", "203.0.113.9"), Key: "k1"},
		NetIPPrefix:     {Value: "203.0.113.0/24"},
		NetIPClass:      {Value: "public"},
		MCPTool:         {Value: "read_file"},
		MCPResource:     {Value: "file:/2/*.md", Hash: h("path", "file:///home/ann/plan.md")},
		ClientUserAgent: {Value: h("text", "x (ann@example.com)"), Key: "k1"},
		ActorClientID:   {Value: h("client", "0123456789ab"), Key: "k1", Up: true},
	} {
		if got := e.Public(f); got != want {
			t.Errorf("%s: %+v, want %+v", f, got, want)
		}
	}
	if got := e.PublicList(IOArgs); len(got) != 0 {
		t.Errorf("arguments have a public form: %v", got)
	}
	if got := e.PublicList(ActorScopes); len(got) != 1 || got[0].Value != "read:files" {
		t.Errorf("scopes: %v", got)
	}
	labels := []PublicLabel{
		{Key: "region", Public: Public{Value: "emea"}},
		{Key: "owner", Public: Public{Value: h("label:owner", "ann"), Key: "k1"}},
		{Key: "h:" + h("label", "a b"), Public: Public{Value: h("label:a b", "x"), Key: "k1"}},
	}
	if got := e.PublicLabels(); !reflect.DeepEqual(got, labels) {
		t.Errorf("labels: %+v", got)
	}
	want := Finding{Cat: "secret", Rule: "r1", Dir: "input", At: "/*/*/0/*", Digest: h("digest", "raw")}
	e.Redact(testHash{}, nil) // a second time: nothing is hashed twice
	if got := e.Findings()[0]; got != want {
		t.Errorf("finding: %+v", got)
	}
	if e.KeyID() != "k1" {
		t.Errorf("key id %q", e.KeyID())
	}
	e.DropRaw()
	if s := fmt.Sprintf("%+v", e.text) + fmt.Sprintf("%+v %+v", e.lists, e.labels); strings.Contains(s, "203.0.113.9") || strings.Contains(s, "ann") || strings.Contains(s, "rm -rf") {
		t.Errorf("raw values are left: %s", s)
	}
	if e.Enum(Type) != "tool_call" || !e.Has(ActorSubject) {
		t.Error("closed values or presence were lost")
	}
	e.Reset()
	e.Set(ActorSubject, "bob")
	e.Set(NetIPPrefix, "203.0.113.9/32") // not ours, and a whole address
	e.Derive()
	e.Redact(testHash{}, nil)
	if got := e.Public(NetIPPrefix); got.Key == "" {
		t.Errorf("an address leaves as a network: %+v", got)
	}
	if e.Public(ActorSubject).Value == "" {
		t.Error("an event that is used again is not redacted")
	}
}

// Whoever asks for few forms is told the same, in whatever order; before Redact and after Reset nothing is.
func TestFormsMadeLaterAreThoseMadeAtOnce(t *testing.T) {
	fill := func(e *Event) {
		e.Time = time.Unix(1e9, 0)
		for f := range firstNumber {
			switch {
			case f == NetIP:
				e.Set(f, "::ffff:203.0.113.9")
			case f == ActorClientID:
				e.SetHashed(f, "0123456789ab")
			case f < firstList:
				e.Set(f, "canary.user@example.org")
			default:
				e.Add(f, "/home/canaryuser/")
				e.Add(f, "read")
			}
		}
		e.SetLabel("owner", "canaryuser")
		e.AddFinding(Finding{Cat: "canaryuser 1", Digest: "canaryuser"})
		e.Derive()
		e.SetDigestOf(IOArgsDigest, "canaryuser")
	}
	form := func(e *Event, f Field) any {
		switch {
		case f == firstNumber:
			return e.PublicLabels()
		case f >= firstList:
			return append([]Public(nil), e.PublicList(f)...)
		}
		return e.Public(f)
	}
	nothing := func(e *Event, when string) {
		t.Helper()
		for f := range firstList {
			if p := e.Public(f); p != (Public{}) {
				t.Errorf("%s there is a form of %s: %+v", when, f, p)
			}
		}
		for f := firstList; f < firstNumber; f++ {
			if p := e.PublicList(f); len(p) > 0 {
				t.Errorf("%s there is a form of %s: %+v", when, f, p)
			}
		}
		if len(e.PublicLabels()) > 0 || e.KeyID() != "" {
			t.Errorf("%s there are labels %v, key %q", when, e.PublicLabels(), e.KeyID())
		}
	}
	once, later := &Event{}, &Event{}
	fill(once)
	once.Redact(testHash{}, nil)
	for round := range 3 {
		fill(later)
		nothing(later, "before Redact")
		later.RedactLater(testHash{}, nil)
		if !reflect.DeepEqual(later.Findings(), once.Findings()) {
			t.Errorf("findings: %+v, want %+v", later.Findings(), once.Findings())
		}
		for _, i := range rand.New(rand.NewPCG(1, uint64(round))).Perm(int(firstNumber) + 1) {
			for range 2 {
				got, want := form(later, Field(i)), form(once, Field(i))
				if !reflect.DeepEqual(got, want) || strings.Contains(fmt.Sprint(got), "canary") {
					t.Errorf("%s: %+v, want %+v", Field(i), got, want)
				}
			}
		}
		if later.KeyID() != "k1" {
			t.Errorf("key %q", later.KeyID())
		}
		later.Reset()
		nothing(later, "after Reset")
	}
	fill(later)
	later.RedactLater(testHash{}, nil)
	later.DropRaw()
	if got := later.Public(ActorSubject); got != once.Public(ActorSubject) || later.KeyID() != "k1" {
		t.Errorf("the forms went with the raw values: %+v", got)
	}
}

// canaries are values that must never leave, whatever they are put into.
var canaries = []string{"canary.user@example.org", "198.51.100.77", "2001:db8:ca:11::99", "/home/canaryuser/", "AKIACANARYCANARYCAN7", "ghp_canaryCANARY0123456789canary"}

func FuzzRedact(f *testing.F) {
	f.Add("", "", uint8(0), uint8(0))
	f.Add("x (", ")", uint8(MCPTool), uint8(0))
	f.Add("file:///etc/", ".txt", uint8(MCPResource), uint8(3))
	f.Add("Mozilla/5.0 ", " like Gecko", uint8(ClientUserAgent), uint8(1))
	f.Fuzz(func(t *testing.T, before, after string, field, which uint8) {
		c := canaries[int(which)%len(canaries)]
		if n := len(before); n > 0 && byteClass[before[n-1]]&isAlnum != 0 {
			before += " " // glued to a letter or digit it is another word
		}
		if after != "" && (byteClass[after[0]]&isAlnum != 0 || after[0] == ':' || after[0] == '.') {
			after = " " + after
		}
		s := before + c + after
		e := &Event{}
		e.Set(Tenant, "t")
		fl := Field(field) % firstNumber
		if fl.Kind() == List {
			e.Add(fl, s)
		} else {
			e.Set(fl, s)
		}
		e.SetLabel("k", s)
		e.SetLabel(s, "v")
		e.AddFinding(Finding{Cat: s, Rule: s, Dir: s, At: "/" + s, Digest: s, Excerpt: s})
		e.Derive()
		e.Redact(testHash{}, func(string) bool { return true })
		var texts []Public
		for f := range firstList {
			texts = append(texts, e.Public(f))
		}
		told := fmt.Sprintf("%+v %+v %+v %+v %+v", texts, e.forms.text, e.forms.lists, e.forms.ofKeys, e.finds)
		if strings.Contains(told, c) {
			t.Fatalf("%s with %q tells the canary: %s", fl, s, told)
		}
		for _, p := range texts {
			if strings.ContainsFunc(p.Value, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
				t.Fatalf("control characters leave: %q", p.Value)
			}
		}
	})
}

// A random text of hexadecimal digits and dashes is not looked at again, which must not show.
func TestHexNeedsNoSecondLook(t *testing.T) {
	const all = "-0123456789abcdef"
	for n := 8; n < 40; n++ {
		s := []byte(strings.Repeat(all, 3)[:n])
		for i := range s {
			was := s[i]
			for b := range 256 {
				s[i] = byte(b)
				hex := hexOrDash(string(s))
				if want := strings.IndexByte(all, byte(b)) >= 0; hex != want {
					t.Fatalf("%q with %#x at %d: %t", s, b, i, hex)
				}
				if hex && personal(string(s), true) {
					t.Fatalf("%q is personal", s)
				}
			}
			s[i] = was
		}
	}
}
