package tap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// limits of one quoted value. The consumer takes events up to 256 KiB, 32 deep
// and 512 keys; arguments and result together stay below that.
type limits struct{ bytes, depth, keys int }

var (
	argLimits        = limits{bytes: 96 << 10, depth: 24, keys: 200}
	resultLimits     = limits{bytes: 64 << 10, depth: 24, keys: 200}
	definitionLimits = limits{bytes: 64 << 10, depth: 24, keys: 350}
)

// reduced is a value made safe to quote in an event.
type reduced struct {
	raw       json.RawMessage
	cut       bool // something was left out or flattened
	ambiguous bool // a key stood twice in an object, or in two cases; the later ones are named key#2, key#3
}

// reduce rewrites valid JSON within limits. What is too deep or has too many
// keys becomes a string of its own JSON text, so that matchers still see it;
// long strings keep their head and tail.
func reduce(raw []byte, l limits) reduced {
	r := reducer{raw: raw, dec: json.NewDecoder(bytes.NewReader(raw)), left: l.bytes, keys: l.keys, deepest: l.depth}
	r.dec.UseNumber()
	r.value(1)
	if r.failed {
		return reduced{}
	}
	return reduced{raw: r.out, cut: r.cut, ambiguous: r.ambiguous}
}

// reduceArgs gives the object that io.args has to be.
func reduceArgs(raw []byte) reduced {
	r := reduce(raw, argLimits)
	if len(r.raw) > 0 && r.raw[0] != '{' {
		r.raw = append(append(json.RawMessage(`{"value":`), r.raw...), '}')
	}
	return r
}

type reducer struct {
	raw     []byte
	dec     *json.Decoder
	out     []byte
	left    int // bytes
	keys    int
	deepest int

	cut, ambiguous, failed bool
}

func (r *reducer) token() json.Token {
	t, err := r.dec.Token()
	if err != nil {
		r.failed = true
	}
	return t
}

func (r *reducer) write(b ...byte) {
	r.out = append(r.out, b...)
	r.left -= len(b)
}

// full reports that the budget is used up; callers then close what they opened.
func (r *reducer) full() bool {
	r.cut = r.cut || r.left <= 0
	return r.left <= 0 || r.failed
}

func (r *reducer) value(depth int) {
	switch t := r.token().(type) {
	case json.Delim:
		start := int(r.dec.InputOffset()) - 1
		if depth > r.deepest || r.keys <= 0 {
			r.rest()
			r.text(string(r.raw[start:r.dec.InputOffset()]))
			r.cut = true
			return
		}
		if t == '{' {
			r.object(depth)
		} else {
			r.array(depth)
		}
	case string:
		r.text(t)
	case json.Number:
		if _, err := strconv.ParseFloat(t.String(), 64); err != nil || len(t) > 64 {
			r.text(t.String()) // no reader could hold it as a number
			return
		}
		r.write([]byte(t)...)
	case bool:
		r.write(strconv.AppendBool(nil, t)...)
	case nil:
		r.write([]byte("null")...)
	}
}

func (r *reducer) object(depth int) {
	r.write('{')
	seen := map[string]bool{}
	for first := true; !r.failed && r.dec.More() && !r.full(); first = false {
		if !first {
			r.write(',')
		}
		if r.keys <= 0 {
			r.cut = true
			start := int(r.dec.InputOffset())
			r.rest()
			r.text(r.key(seen, "\u2026"))
			r.write(':')
			r.text(string(r.raw[start : r.dec.InputOffset()-1]))
			r.write('}')
			return
		}
		k, _ := r.token().(string)
		r.keys--
		if seen[strings.ToLower(k)] {
			r.ambiguous = true
		}
		r.text(r.key(seen, clip(k, 256)))
		r.write(':')
		r.value(depth + 1)
	}
	if !r.full() {
		r.token()
	}
	r.write('}')
}

// key makes k unlike every key before it, in any case.
func (r *reducer) key(seen map[string]bool, k string) string {
	name := k
	for n := 2; seen[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s#%d", k, n)
	}
	seen[strings.ToLower(name)] = true
	return name
}

func (r *reducer) array(depth int) {
	r.write('[')
	for first := true; !r.failed && r.dec.More() && !r.full(); first = false {
		if !first {
			r.write(',')
		}
		r.value(depth + 1)
	}
	if !r.full() {
		r.token()
	}
	r.write(']')
}

// rest passes over what is left of the container that was opened last.
func (r *reducer) rest() {
	for depth := 1; depth > 0 && !r.failed; {
		switch r.token() {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// text writes a string in at most half of what is left, so that one long
// string does not hide those after it.
func (r *reducer) text(s string) {
	most := max(64, r.left/2)
	b := appendString(nil, clip(s, most))
	if len(s) > most {
		r.cut = true
	}
	if len(b) > 2*most { // mostly control characters, six bytes each
		b = appendString(nil, clip(s, most/6))
		r.cut = true
	}
	r.write(b...)
}

const gap = " \u2026 "

// clip keeps the head and the tail of a long text.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	if n <= 4*len(gap) {
		return strings.ToValidUTF8(s[:n], "")
	}
	tail := n / 4
	return strings.ToValidUTF8(s[:n-tail-len(gap)], "") + gap + strings.ToValidUTF8(s[len(s)-tail:], "")
}
