package ingest

import (
	"strings"

	"picket/detect"
)

// freeText names the fields that a free value fills.
type freeText struct {
	name         string
	text         detect.Field
	bytes, depth detect.Field // depth is NumFields where the format has none
	digest       detect.Field
}

var (
	ioArgs   = freeText{name: "io.args", text: detect.IOArgs, bytes: detect.IOArgsBytes, depth: detect.IOArgsDepth, digest: detect.IOArgsDigest}
	ioResult = freeText{name: "io.result", text: detect.IOResult, bytes: detect.IOResultBytes, depth: detect.NumFields, digest: detect.IOResultDigest}
)

// free reads tool arguments or a result: a string, or any object or array. What rules
// match is each string value; each key that is not a plain identifier, because operators
// ("$where", "__proto__") are keys; and, of an object that has a key with $, its raw text,
// because there the operator and its operand belong together. Sizes, depth and digest are
// filled from the raw text where the producer sent none (fields that come later win).
func (d *Decoder) free(ev *detect.Event, at int32, ft freeText) *Reject {
	n := &d.tape.nodes[at]
	depth := 0
	switch n.kind {
	case kindString:
		if n.val == "" {
			return nil
		}
		ev.Add(ft.text, n.val)
	case kindObject, kindArray:
		depth = d.freeStrings(ev, ft.text, at)
		if !ev.Has(ft.text) { // has a value, if without any string in it
			ev.Add(ft.text, n.val)
		}
	default:
		return invalid(ClassBadType, int(n.off), ft.name+" must be an object, an array or a string")
	}
	ft.fill(ev, n.val, depth) // a string unescaped: the same text has the same digest
	return nil
}

// fill gives the fields beside a free value what the producer did not send.
func (ft *freeText) fill(ev *detect.Event, raw string, depth int) {
	if !ev.Has(ft.bytes) {
		ev.SetNum(ft.bytes, float64(len(raw)))
	}
	if ft.depth != detect.NumFields && !ev.Has(ft.depth) {
		ev.SetNum(ft.depth, float64(depth))
	}
	if !ev.Has(ft.digest) {
		ev.SetDigestOf(ft.digest, raw)
	}
}

func (d *Decoder) freeStrings(ev *detect.Event, f detect.Field, at int32) (depth int) {
	t := &d.tape
	operator := false
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		if n.key != "" && !plainKey(n.key) {
			ev.Add(f, n.key)
			operator = operator || strings.HasPrefix(n.key, "$")
		}
		switch n.kind {
		case kindString:
			ev.Add(f, n.val)
		case kindObject, kindArray:
			depth = max(depth, d.freeStrings(ev, f, i))
		}
	}
	if operator {
		ev.Add(f, t.nodes[at].val)
	}
	return depth + 1
}

// plainKey reports whether a key is a letter followed by letters, digits, _ and -.
func plainKey(s string) bool {
	if len(s) > 64 || s[0]|0x20 < 'a' || s[0]|0x20 > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if !(c|0x20 >= 'a' && c|0x20 <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
