package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// canary is a raw value, with all forms in which it could leak, in lower case.
type canary struct {
	name  string
	forms [][]byte
}

// newCanary takes the fragments that give a value away: an excerpt need not be whole.
func newCanary(name, value string, fragments ...string) canary {
	c := canary{name: name}
	add := func(s string) { c.forms = append(c.forms, bytes.ToLower([]byte(s))) }
	for _, v := range append(fragments, value) {
		for _, s := range []string{v, strings.ToUpper(v), strings.ToLower(v)} {
			add(hex.EncodeToString([]byte(s)))
			add(base32.StdEncoding.EncodeToString([]byte(s[:len(s)/5*5])))
			add(url.QueryEscape(s))
			add(url.PathEscape(s))
			add(html.EscapeString(s))
			add(reversed(s))
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				add(string(utf16Of(s, order)))
				add(reversed(string(utf16Of(s, order))))
			}
			for shift := range 3 {
				add(inBase64(base64.StdEncoding, s, shift))
				add(inBase64(base64.URLEncoding, s, shift))
			}
			quoted, _ := json.Marshal(s)
			add(strings.Trim(string(quoted), `"`))
			add(s)
		}
	}
	// A hash without a key is reversible: all of IPv4 in minutes. Loggers cut it to 12.
	for _, s := range []string{value, strings.ToLower(value)} {
		for _, sum := range sums(s) {
			add(hex.EncodeToString(sum)[:12])
			add(base64.StdEncoding.EncodeToString(sum)[:12])
			add(base32.StdEncoding.EncodeToString(sum)[:12])
		}
	}
	slices.SortFunc(c.forms, bytes.Compare)
	c.forms = slices.CompactFunc(c.forms, bytes.Equal)
	return c
}

// in finds the canary and returns what is around it; folded is in lower case.
func (c canary) in(folded []byte) (around string, found bool) {
	for _, f := range c.forms {
		if i := bytes.Index(folded, f); i >= 0 {
			return string(folded[max(0, i-80):min(len(folded), i+len(f)+40)]), true
		}
	}
	return "", false
}

func sums(s string) [][]byte {
	a, b, c := md5.Sum([]byte(s)), sha1.Sum([]byte(s)), sha256.Sum256([]byte(s))
	return [][]byte{a[:], b[:], c[:]}
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

func utf16Of(s string, order binary.AppendByteOrder) (out []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		out = order.AppendUint16(out, u)
	}
	return out
}

// inBase64 is the part of s's encoding that does not depend on what stands before and
// after it, when it begins at byte shift of a group of three.
func inBase64(enc *base64.Encoding, s string, shift int) string {
	e := enc.EncodeToString([]byte(strings.Repeat("\x00", shift) + s))
	from := []int{0, 2, 3}[shift]
	return e[from : (shift+len(s))*8/6]
}

// texts is a value as it is, and every string in it when it is JSON: escapes hide nothing.
func texts(value []byte) []byte {
	out := slices.Clone(value)
	dec := json.NewDecoder(bytes.NewReader(value))
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			break
		}
		if s, ok := tok.(string); ok {
			out = append(append(out, '\n'), s...)
		}
	}
	return out
}

func TestCanarySearch(t *testing.T) {
	c := newCanary("mail", "Ada.Lovelace+x'1@example.org")
	for name, text := range map[string]string{
		"plain":        "to Ada.Lovelace+x'1@example.org, by mail",
		"upper":        "ADA.LOVELACE+X'1@EXAMPLE.ORG",
		"hex":          hex.EncodeToString([]byte("<ada.lovelace+x'1@example.org>")),
		"base64":       base64.StdEncoding.EncodeToString([]byte("mail Ada.Lovelace+x'1@example.org!")),
		"base64url":    base64.RawURLEncoding.EncodeToString([]byte("to: Ada.Lovelace+x'1@example.org!")),
		"query":        url.Values{"to": {"Ada.Lovelace+x'1@example.org"}}.Encode(),
		"html":         html.EscapeString("Ada.Lovelace+x'1@example.org"),
		"reversed":     reversed("Ada.Lovelace+x'1@example.org"),
		"utf16":        string(utf16Of("Ada.Lovelace+x'1@example.org", binary.LittleEndian)),
		"utf16 back":   reversed(string(utf16Of("Ada.Lovelace+x'1@example.org", binary.LittleEndian))),
		"json escapes": string(texts([]byte(`{"a":[{"to":"\u0041da.Lovelace+x\u00271@example.org"}]}`))),
		"json key":     string(texts([]byte(`{"\u0041da.Lovelace+x'1@example.org":1}`))),
		"sha256-12":    hex.EncodeToString(sums("Ada.Lovelace+x'1@example.org")[2])[:12],
	} {
		if _, ok := c.in(bytes.ToLower([]byte(text))); !ok {
			t.Errorf("%s: not found in %q", name, text)
		}
	}
	for _, text := range []string{"", "ada.l@example.org", "example.org", `{"to":"Ada"}`} {
		if around, ok := c.in(bytes.ToLower([]byte(text))); ok {
			t.Errorf("found in %q: %q", text, around)
		}
	}
}
