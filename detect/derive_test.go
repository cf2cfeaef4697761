package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"testing"
)

func TestDeriveAddress(t *testing.T) {
	for _, c := range []struct{ raw, ip, prefix, class string }{
		{"203.0.113.9", "203.0.113.9", "203.0.113.0/24", "public"},
		{"::ffff:203.0.113.9", "203.0.113.9", "203.0.113.0/24", "public"},
		{" 203.0.113.9:4711 ", "203.0.113.9", "203.0.113.0/24", "public"},
		{"2001:DB8:1:2::3", "2001:db8:1:2::3", "2001:db8:1::/48", "public"},
		{"[2001:db8::1]:80", "2001:db8::1", "2001:db8::/48", "public"},
		{"fe80::1%eth0", "fe80::1", "fe80::/48", "link_local"},
		{"127.0.0.1", "127.0.0.1", "127.0.0.0/24", "loopback"},
		{"10.1.2.3", "10.1.2.3", "10.1.2.0/24", "private"},
		{"100.64.1.1", "100.64.1.1", "100.64.1.0/24", "private"},
		{"fd00::1", "fd00::1", "fd00::/48", "private"},
		{"0.0.0.0", "0.0.0.0", "0.0.0.0/24", "unknown"},
		{"not an address", "not an address", "", "unknown"},
	} {
		e := &Event{}
		e.Set(NetIP, c.raw)
		e.Set(NetIPPrefix, "192.0.2.0/24") // what a producer claims does not count
		e.Derive()
		if e.Has(NetIPPrefix) != (c.prefix != "") {
			t.Errorf("%q: presence of the prefix is wrong", c.raw)
		}
		if e.text[NetIP] != c.ip || e.text[NetIPPrefix] != c.prefix || e.text[NetIPClass] != c.class {
			t.Errorf("%q: %q %q %q", c.raw, e.text[NetIP], e.text[NetIPPrefix], e.text[NetIPClass])
		}
	}
}

func TestDeriveLeavesHashedAlone(t *testing.T) {
	e := &Event{}
	e.SetHashed(NetIP, "abcdefghijklmnopqrstuvwxyz")
	e.Set(NetIPPrefix, "192.0.2.0/24")
	e.Derive()
	if e.text[NetIPPrefix] != "192.0.2.0/24" || e.Has(NetIPClass) {
		t.Error("a hash was read as an address")
	}
}

func TestNormalizeIsIdempotent(t *testing.T) {
	for _, c := range []struct{ class, in, want string }{
		{"ip", "::FFFF:1.2.3.4", "1.2.3.4"},
		{"subject", "Ann@Example.COM", "ann@example.com"},
		{"subject", "auth0|AbC", "auth0|AbC"},
		{"path", "https://u:p@h/x?t=1#f", "https://h/x"},
		{"path", "/x?t=1", "/x"},
		{"text", "A", "A"},
	} {
		got := Normalize(c.class, c.in)
		if got != c.want || Normalize(c.class, got) != got {
			t.Errorf("Normalize(%s, %q) = %q", c.class, c.in, got)
		}
	}
}

func TestReducePath(t *testing.T) {
	for in, want := range map[string]string{
		"file:///home/ann/notes/plan.md":        "file:/3/*.md",
		"/home/ann/.ssh/id_rsa":                 "/3/id_rsa",
		"../../etc/passwd":                      "../1/passwd",
		"/srv/data/..":                          "/../2/",
		"%2e%2e%2fetc/shadow":                   "../1/shadow",
		"https://u:p@host/v1/users/42?t=1":      "https:/2/*",
		"https://host":                          "https:",
		`C:\Users\ann\x.docx`:                   "/2/*.docx",
		"tickets":                               "*",
		"ann.secretname":                        "*",
		"/srv/app/.env":                         "/2/.env",
		"/srv/app/.env.production":              "/2/.env",
		"data:text/plain;base64,QQ==":           "data:1/*",
		"ann:notes":                             "other:*",
		"postgres://ann:pw@db.internal/crm/row": "postgres:/1/*",
		"/mcp":                                  "/0/mcp",
		"/messages/?session_id=1":               "/1/",
		"":                                      "",
	} {
		if got := reducePath(in); got != want {
			t.Errorf("reducePath(%q) = %q, want %q", in, got, want)
		}
	}
}

// Derived texts of many events lie in one piece of memory; none may change when another is made,
// also by a copy of the event.
func TestDerivedTextsStay(t *testing.T) {
	var e Event
	got, want := []string{}, []string{}
	for i := range 500 {
		e.Reset()
		twin := e
		for j, ev := range []*Event{&e, &twin} {
			raw := strconv.Itoa(2*i + j)
			ev.Set(NetIP, fmt.Sprintf("203.%d.%d.9", j, i%250))
			ev.SetDigestOf(IOArgsDigest, raw)
			ev.Derive()
			if !ev.Has(NetIPPrefix) || !ev.Has(IOArgsDigest) {
				t.Fatal("nothing is derived")
			}
			sum := sha256.Sum256([]byte(raw))
			got = append(got, ev.text[NetIPPrefix], ev.text[IOArgsDigest])
			want = append(want, fmt.Sprintf("203.%d.%d.0/24", j, i%250), hex.EncodeToString(sum[:16]))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("texts changed: %q", got)
	}
}
