package ingest

import (
	"fmt"
	"math"
	"strconv"

	"picket/detect"
)

// numeric says which numbers a field takes.
type numeric struct {
	integer  bool
	min, max float64
}

const maxExact = 1 << 53 // the greatest integer that a float holds exactly

func numericOf(f detect.Field) numeric {
	switch f {
	case detect.NetASN:
		return numeric{true, 0, math.MaxUint32}
	case detect.NetPort:
		return numeric{true, 0, 65535}
	case detect.HTTPStatus:
		return numeric{true, 0, 999}
	case detect.MCPErrorCode:
		return numeric{true, -maxExact, maxExact}
	case detect.IODurationMS:
		return numeric{false, 0, math.MaxFloat64}
	case detect.LimitLimit, detect.LimitWindowS, detect.LimitObserved:
		return numeric{false, -math.MaxFloat64, math.MaxFloat64}
	}
	return numeric{true, 0, maxExact}
}

// field reads the value at the tape's index into a field of the event.
func (d *Decoder) field(ev *detect.Event, f detect.Field, at int32) *Reject {
	n := &d.tape.nodes[at]
	switch f.Kind() {
	case detect.Number:
		if f == detect.ActorTokenExp {
			when, r := timeOf("actor.token_exp", n)
			if r == nil {
				ev.SetNum(f, float64(when.Unix()))
			}
			return r
		}
		x, r := numberOf(f.String(), n, numericOf(f))
		if r == nil {
			ev.SetNum(f, x)
		}
		return r
	case detect.Flag:
		if n.kind != kindTrue && n.kind != kindFalse {
			return invalid(ClassBadType, int(n.off), f.String()+" must be true or false")
		}
		ev.SetFlag(f, n.kind == kindTrue)
		return nil
	case detect.List:
		return d.list(ev, f, at)
	}
	info := f.Info()
	if info.Enum != nil {
		s, r := enumOf(f.String(), n, info.Enum)
		if r == nil {
			ev.Set(f, s)
		}
		return r
	}
	if n.kind == kindObject && info.Privacy == detect.Pseudo && f != detect.IOArgsDigest && f != detect.IOResultDigest {
		h, r := d.hashed(f.String(), at)
		if r == nil {
			ev.SetHashed(f, h)
		}
		return r
	}
	s, r := textOf(f.String(), n, info.Limit())
	if r != nil {
		return r
	}
	if !wellFormed(f, s) {
		return invalid(ClassBadValue, int(n.off), f.String()+" does not have the form that the schema asks for")
	}
	if s != "" { // an empty text is no value: it must not make a group
		ev.Set(f, d.own(s))
	}
	return nil
}

func (d *Decoder) list(ev *detect.Event, f detect.Field, at int32) *Reject {
	t := &d.tape
	if t.nodes[at].kind != kindArray {
		return invalid(ClassBadType, int(t.nodes[at].off), f.String()+" must be an array")
	}
	count := 0
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		if count++; count > maxListItems {
			return invalid(ClassTooManyValues, int(n.off), f.String()+" has more than 64 items")
		}
		var s string
		var r *Reject
		if n.kind == kindObject && f == detect.ActorDelegation {
			s, r = d.hashed(f.String(), i)
		} else {
			s, r = textOf(f.String(), n, f.Info().Limit())
		}
		if r != nil {
			return r
		}
		if s != "" {
			ev.Add(f, d.own(s))
		}
	}
	return nil
}

// hashed reads {h, k, up}: a pseudonym that a producer made. Its key id can never pass
// for one of ours: it is not kept, and Redact hashes h again under our key.
func (d *Decoder) hashed(name string, at int32) (string, *Reject) {
	t := &d.tape
	h, key := "", ""
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		var r *Reject
		switch n.key {
		case "h":
			if h, r = textOf(name+".h", n, 64); r == nil && !isHash(h) {
				r = invalid(ClassBadValue, int(n.off), name+".h must be 26 characters of base32, or 8 to 64 of hexadecimal")
			}
		case "k":
			if key, r = textOf(name+".k", n, 32); r == nil && !isKeyID(key) {
				r = invalid(ClassBadValue, int(n.off), name+".k must be 1 to 32 characters of a-z, A-Z, 0-9, _ . -")
			}
		case "up":
			if n.kind != kindTrue && n.kind != kindFalse {
				r = invalid(ClassBadType, int(n.off), name+".up must be true or false")
			}
		default:
			r = invalid(ClassUnknownField, int(n.off), name+" has an unknown key; it takes h, k and up")
		}
		if r != nil {
			return "", r
		}
	}
	if h == "" || key == "" {
		return "", invalid(ClassMissingField, int(t.nodes[at].off), name+" as an object needs h and k")
	}
	return d.own(h), nil
}

func textOf(name string, n *node, limit int) (string, *Reject) {
	if n.kind != kindString {
		return "", invalid(ClassBadType, int(n.off), name+" must be a string")
	}
	if longer(n.val, limit) {
		return "", invalid(ClassTooLong, int(n.off), fmt.Sprintf("%s is longer than %d characters", name, limit))
	}
	return n.val, nil
}

// enumOf gives the format's own string, not the record's.
func enumOf(name string, n *node, set []string) (string, *Reject) {
	if n.kind != kindString {
		return "", invalid(ClassBadType, int(n.off), name+" must be a string")
	}
	for _, s := range set {
		if s == n.val {
			return s, nil
		}
	}
	return "", invalid(ClassBadValue, int(n.off), name+" is not one of the values that the schema lists")
}

func numberOf(name string, n *node, want numeric) (float64, *Reject) {
	if n.kind != kindNumber {
		return 0, invalid(ClassBadType, int(n.off), name+" must be a number")
	}
	x, ok := smallInt(n.val)
	if !ok {
		var err error
		if x, err = strconv.ParseFloat(n.val, 64); err != nil {
			return 0, invalid(ClassBadNumber, int(n.off), name+" is beyond what a number holds")
		}
	}
	if x < want.min || x > want.max || (want.integer && x != math.Trunc(x)) {
		kind := "a number"
		if want.integer {
			kind = "an integer"
		}
		return 0, invalid(ClassBadValue, int(n.off), fmt.Sprintf("%s must be %s from %g to %g", name, kind, want.min, want.max))
	}
	return x, nil
}

// smallInt reads what nearly all numbers are.
func smallInt(s string) (float64, bool) {
	if len(s) > 15 {
		return 0, false
	}
	var x int64
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		x = x*10 + int64(c)
	}
	return float64(x), true
}

func wellFormed(f detect.Field, s string) bool {
	switch f {
	case detect.Reason:
		return s != "" && only(s, func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' })
	case detect.TraceID:
		return len(s) == 32 && lowerHex(s)
	case detect.SpanID:
		return len(s) == 16 && lowerHex(s)
	}
	return true
}

// lowerHex reads eight bytes a step; the last step of a longer text reads some again.
func lowerHex(s string) bool {
	if n := len(s); n >= 8 {
		for i := 0; i+8 < n; i += 8 {
			if !hexWord(load64(s, i)) {
				return false
			}
		}
		return hexWord(load64(s, n-8))
	}
	return only(s, func(c byte) bool { return c-'0' <= 9 || c-'a' <= 5 })
}

func isHash(s string) bool {
	if len(s) == 26 && only(s, func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '2' && c <= '7' }) {
		return true
	}
	return len(s) >= 8 && len(s) <= 64 && lowerHex(s)
}

func isKeyID(s string) bool {
	return s != "" && only(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
	})
}

func only(s string, ok func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
