package main

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonTo is an encoder of what strangers wrote, for a terminal too: encoding/json leaves DEL, the controls
// behind it and marks that turn text around as they are.
func jsonTo(out io.Writer) *json.Encoder { return json.NewEncoder(plainJSON{out}) }

// plainJSON escapes what acts on a terminal. An Encoder writes each value at once, and all such
// characters are in strings.
type plainJSON struct{ out io.Writer }

func (p plainJSON) Write(b []byte) (int, error) {
	var s []byte
	for rest := b; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == '\n' || unicode.IsPrint(r):
			s = append(s, rest[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			s = fmt.Appendf(s, `\u%04x\u%04x`, high, low)
		default:
			s = fmt.Appendf(s, `\u%04x`, r)
		}
		rest = rest[n:]
	}
	_, err := p.out.Write(s)
	return len(b), err
}
