package ingest

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of one record.
const (
	MaxBytes = 256 << 10
	MaxDepth = 32
	MaxKeys  = 512
)

type kind uint8

const (
	kindNull kind = iota
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindObject
	kindArray
)

// node is one value on the tape. The children of a container follow it; next is
// the index after the last of them.
type node struct {
	key  string // of a member, unescaped; empty in arrays
	val  string // a string unescaped; the raw text of anything else
	off  int32  // of the value in the record
	next int32
	hash uint32 // of key, equal for keys that differ in case only
	kind kind
}

// tape scans a JSON text once, and strictly. It is reused from record to record.
type tape struct {
	src   []byte // the record's bytes
	text  string // a copy of them, which values are parts of
	nodes []node
	open  []uint32 // hashes of the keys of the objects being scanned, innermost last
	keyAt []int32  // node of each of them
	keys  int
	pos   int
	depth int
	err   *Reject
}

// scan fills the tape from src[from:]. text is a copy of src.
func (t *tape) scan(src []byte, text string, from int) *Reject {
	if cap(t.nodes) > 4096 { // one large record does not hold memory for ever
		t.nodes = nil
	}
	t.src, t.text, t.pos, t.keys, t.depth, t.err = src, text, from, 0, 0, nil
	t.nodes, t.open, t.keyAt = t.nodes[:0], t.open[:0], t.keyAt[:0]
	t.space()
	if !t.value("", 0) {
		return t.err
	}
	t.space()
	if t.pos != len(t.src) {
		return decodeErr(ClassTrailingData, t.pos, "something follows the JSON value")
	}
	return nil
}

func (t *tape) fail(c Class, msg string) bool {
	t.err = decodeErr(c, t.pos, msg)
	return false
}

func (t *tape) space() {
	if t.pos < len(t.src) && t.src[t.pos] > ' ' {
		return
	}
	t.spaces()
}

func (t *tape) spaces() {
	for t.pos < len(t.src) {
		switch t.src[t.pos] {
		case ' ', '\n', '\t', '\r':
			t.pos++
		default:
			return
		}
	}
}

func (t *tape) value(key string, hash uint32) bool {
	if t.pos >= len(t.src) {
		return t.fail(ClassNotJSON, "ends where a value is due")
	}
	i := t.push(key, hash)
	var k kind
	var val string
	start := t.pos
	switch c := t.src[t.pos]; c {
	case '{':
		if !t.object() {
			return false
		}
		k, val = kindObject, t.text[start:t.pos]
	case '[':
		if !t.array() {
			return false
		}
		k, val = kindArray, t.text[start:t.pos]
	case '"':
		s, ok := t.str()
		if !ok {
			return false
		}
		k, val = kindString, s
	case 't':
		if !t.word("true") {
			return false
		}
		k, val = kindTrue, "true"
	case 'f':
		if !t.word("false") {
			return false
		}
		k, val = kindFalse, "false"
	case 'n':
		if !t.word("null") {
			return false
		}
		k, val = kindNull, "null"
	default:
		if c != '-' && (c < '0' || c > '9') {
			return t.fail(ClassNotJSON, "no JSON value begins like this")
		}
		if !t.number() {
			return false
		}
		k, val = kindNumber, t.text[start:t.pos]
	}
	n := &t.nodes[i]
	n.kind, n.val, n.next = k, val, int32(len(t.nodes))
	return true
}

// push begins a node; kind, val and next follow when its value was read.
func (t *tape) push(key string, hash uint32) int {
	i := len(t.nodes)
	if i < cap(t.nodes) {
		t.nodes = t.nodes[:i+1] // in place: most of the cost of a node is to copy one
	} else {
		t.nodes = append(t.nodes, node{})
	}
	n := &t.nodes[i]
	n.key, n.hash, n.off = key, hash, int32(t.pos)
	return i
}

func (t *tape) word(w string) bool {
	if !strings.HasPrefix(t.text[t.pos:], w) {
		return t.fail(ClassNotJSON, "no JSON value begins like this")
	}
	t.pos += len(w)
	return true
}

func (t *tape) descend() bool {
	if t.depth++; t.depth > MaxDepth {
		return t.fail(ClassTooDeep, "nested deeper than "+strconv.Itoa(MaxDepth))
	}
	t.pos++
	t.space()
	return true
}

func (t *tape) at(c byte) bool { return t.pos < len(t.src) && t.src[t.pos] == c }

func (t *tape) object() bool {
	if !t.descend() {
		return false
	}
	base := len(t.open)
	if !t.at('}') {
		for {
			if !t.member(base) {
				return false
			}
			t.space()
			if t.at('}') {
				break
			}
			if !t.at(',') {
				return t.fail(ClassNotJSON, "a comma or } is due")
			}
			t.pos++
			t.space()
		}
	}
	t.pos++
	t.depth--
	t.open, t.keyAt = t.open[:base], t.keyAt[:base]
	return true
}

func (t *tape) member(base int) bool {
	if !t.at('"') {
		return t.fail(ClassNotJSON, "a key is due")
	}
	at := t.pos
	key, ok := t.str()
	if !ok {
		return false
	}
	if t.keys++; t.keys > MaxKeys {
		return t.fail(ClassTooManyKeys, "more than "+strconv.Itoa(MaxKeys)+" keys")
	}
	h := foldHash(key)
	for i, o := range t.open[base:] {
		if o == h {
			if prev := t.nodes[t.keyAt[base+i]].key; prev == key {
				t.pos = at
				return t.fail(ClassDuplicateKey, "a key appears twice in one object")
			} else if strings.EqualFold(prev, key) {
				t.pos = at
				return t.fail(ClassCaseVariantKey, "two keys of one object differ in case only")
			}
		}
	}
	t.open = append(t.open, h)
	t.keyAt = append(t.keyAt, int32(len(t.nodes)))
	t.space()
	if !t.at(':') {
		return t.fail(ClassNotJSON, "a colon is due")
	}
	t.pos++
	t.space()
	if !t.at('"') {
		return t.value(key, h)
	}
	i := t.push(key, h)
	val, ok := t.str()
	if !ok {
		return false
	}
	n := &t.nodes[i]
	n.kind, n.val, n.next = kindString, val, int32(i+1)
	return true
}

func (t *tape) array() bool {
	if !t.descend() {
		return false
	}
	if !t.at(']') {
		for {
			if !t.value("", 0) {
				return false
			}
			t.space()
			if t.at(']') {
				break
			}
			if !t.at(',') {
				return t.fail(ClassNotJSON, "a comma or ] is due")
			}
			t.pos++
			t.space()
		}
	}
	t.pos++
	t.depth--
	return true
}

// number reads a number.
func (t *tape) number() bool {
	end := numberEnd(t.text, t.pos)
	switch {
	case end < 0:
		return t.fail(ClassBadNumber, "not a number as JSON writes it")
	case !holds(t.text[t.pos:end]):
		return t.fail(ClassBadNumber, "a number beyond what 64 bits of float hold")
	}
	t.pos = end
	return true
}

// str scans the string at pos. The record is known to be valid UTF-8.
func (t *tape) str() (string, bool) {
	start := t.pos + 1
	end, _ := textEnd(t.text, start)
	switch {
	case end == len(t.text):
		t.pos = end
		return "", t.fail(ClassNotJSON, "ends within a string")
	case t.src[end] == '"':
		t.pos = end + 1
		return t.text[start:end], true
	case t.src[end] == '\\':
		return t.escaped(start, end)
	}
	t.pos = end
	return "", t.fail(ClassNotJSON, "a control character within a string")
}

// escaped goes on with a string whose first escape is at i.
func (t *tape) escaped(start, i int) (string, bool) {
	s := t.text
	out := append(make([]byte, 0, 64), s[start:i]...)
	for {
		if i >= len(s) {
			t.pos = i
			return "", t.fail(ClassNotJSON, "ends within a string")
		}
		switch c := s[i]; {
		case c == '"':
			t.pos = i + 1
			return string(out), true
		case c < 0x20:
			t.pos = i
			return "", t.fail(ClassNotJSON, "a control character within a string")
		case c != '\\':
			out = append(out, c)
			i++
		default:
			r, next := unescape(s, i)
			if next < 0 {
				t.pos = i
				return "", t.fail(ClassBadEscape, "an escape that JSON does not have, or half a surrogate pair")
			}
			out, i = utf8.AppendRune(out, r), next
		}
	}
}
