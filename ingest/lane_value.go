package ingest

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"picket/detect"
)

// member reads the value of a member.
func (l *lane) member(ev *detect.Event, x *name, i int) int {
	switch x.what {
	case asText:
		v, next := l.text(i)
		if next < 0 || longer(v, x.limit) || x.shaped && !wellFormed(x.field, v) {
			return -1
		}
		if v != "" {
			ev.Set(x.field, l.d.own(v))
		}
		return next
	case asEnum:
		v, next := l.text(i)
		if v = x.oneOf(v); v == "" {
			return -1
		}
		ev.Set(x.field, v)
		return next
	case asNumber:
		v, next := l.number(i)
		if next < 0 || v < x.num.min || v > x.num.max || x.num.integer && v != math.Trunc(v) {
			return -1
		}
		ev.SetNum(x.field, v)
		return next
	case asTime, asNothing, asExpiry:
		v, next := l.text(i)
		when, ok := parseTime(v)
		switch {
		case !ok:
			return -1
		case x.what == asTime:
			ev.Claimed = when
		case x.what == asExpiry:
			ev.SetNum(x.field, float64(when.Unix()))
		}
		return next
	}
	return l.whole(ev, x, i)
}

// whole reads what may begin in another way than with a quote or a digit.
func (l *lane) whole(ev *detect.Event, x *name, i int) int {
	if i >= len(l.s) {
		return -1
	}
	object := l.s[i] == '{'
	switch {
	case x.what == asGroup && object:
		return l.members(ev, x.opens, i+1)
	case x.what == asLabels && object:
		return l.labels(ev, i+1)
	case x.what == asArgs:
		return l.free(ev, &ioArgs, i)
	case x.what == asResult:
		return l.free(ev, &ioResult, i)
	case x.what == asList:
		return l.list(ev, x, i)
	case x.what == asFlag:
		var n node
		if i = l.scalar(&n, i); n.kind == kindTrue || n.kind == kindFalse {
			ev.SetFlag(x.field, n.kind == kindTrue)
			return i
		}
	}
	return -1
}

// oneOf gives the format's own text for one of a closed set, or nothing.
func (x *name) oneOf(v string) string {
	if v == x.last {
		return x.last
	}
	for _, s := range x.enum {
		if s == v {
			x.last = s
			return s
		}
	}
	return ""
}

func (l *lane) list(ev *detect.Event, x *name, i int) int {
	if l.s[i] != '[' {
		return -1
	}
	if i = l.space(i + 1); i < len(l.s) && l.s[i] == ']' {
		return i + 1
	}
	for count := 1; ; count++ {
		v, next := l.text(i)
		if next < 0 || count > maxListItems || longer(v, x.limit) {
			return -1
		}
		if v != "" {
			ev.Add(x.field, l.d.own(v))
		}
		var more bool
		if i, more = l.more(next, ']'); !more {
			return i
		}
	}
}

// free reads arguments or a result, as Decoder.free does.
func (l *lane) free(ev *detect.Event, ft *freeText, i int) int {
	raw, depth, next := "", 0, -1
	switch l.s[i] {
	case '"':
		if raw, next = l.text(i); raw == "" {
			return next
		}
		ev.Add(ft.text, raw)
	case '{', '[':
		if next, depth = l.strings(ev, ft.text, i, 3); next < 0 {
			return -1
		}
		raw = l.s[i:next]
		if !ev.Has(ft.text) {
			ev.Add(ft.text, raw)
		}
	default:
		return -1
	}
	ft.fill(ev, raw, depth)
	return next
}

// strings adds what rules match of an object or array that lies at a level, as
// Decoder.freeStrings does.
func (l *lane) strings(ev *detect.Event, f detect.Field, start, level int) (next, depth int) {
	if level > MaxDepth {
		return -1, 0
	}
	object, end := l.s[start] == '{', l.s[start]+2 // as ASCII has them
	i := l.space(start + 1)
	if i < len(l.s) && l.s[i] == end {
		return i + 1, 1
	}
	base, operator := len(l.open), false
	for {
		if object {
			var key string
			if key, i = l.key(i); i < 0 || !l.other(foldHash(key), base) {
				return -1, 0
			}
			if key != "" && !plainKey(key) {
				ev.Add(f, key)
				operator = operator || strings.HasPrefix(key, "$")
			}
		}
		if i >= len(l.s) {
			return -1, 0
		}
		switch l.s[i] {
		case '"':
			var v string
			if v, i = l.text(i); i >= 0 {
				ev.Add(f, v)
			}
		case '{', '[':
			var inner int
			i, inner = l.strings(ev, f, i, level+1)
			depth = max(depth, inner)
		default:
			var n node
			i = l.scalar(&n, i)
		}
		var more bool
		if i, more = l.more(i, end); !more {
			break
		}
	}
	l.open = l.open[:base]
	if i >= 0 && operator {
		ev.Add(f, l.s[start:i])
	}
	return i, depth + 1
}

// scalar reads anything but an object or array, as a node of the tape.
func (l *lane) scalar(n *node, i int) int {
	s := l.s
	if i >= len(s) {
		return -1
	}
	start := i
	switch s[i] {
	case '"':
		n.kind = kindString
		n.val, i = l.text(i)
		return i
	case 't':
		n.kind, n.val = kindTrue, "true"
	case 'f':
		n.kind, n.val = kindFalse, "false"
	case 'n':
		n.kind, n.val = kindNull, "null"
	default:
		if i = numberEnd(s, i); i < 0 || !holds(s[start:i]) {
			return -1
		}
		n.kind, n.val = kindNumber, s[start:i]
		return i
	}
	if !strings.HasPrefix(s[i:], n.val) {
		return -1
	}
	return i + len(n.val)
}

// number reads a number; nearly all are short integers.
func (l *lane) number(i int) (x float64, next int) {
	s, start := l.s, i
	var n int64
	for i < len(s) && i < start+15 && s[i]-'0' <= 9 {
		n = n*10 + int64(s[i]-'0')
		i++
	}
	if i > start && i < len(s) && (s[i] == ',' || s[i] == '}') && (s[start] != '0' || i == start+1) {
		return float64(n), i
	}
	if i = numberEnd(s, start); i < 0 {
		return 0, -1
	}
	x, err := strconv.ParseFloat(s[start:i], 64)
	if err != nil {
		return 0, -1
	}
	return x, i
}

// text reads a string.
func (l *lane) text(i int) (text string, next int) {
	if i >= len(l.s) || l.s[i] != '"' {
		return "", -1
	}
	s, start, end, high := l.s, i+1, i+1, uint64(0)
	for ; end+16 <= len(s); end += 16 { // as textEnd does, two words a step: most texts are short
		v, w := load64(s, end), load64(s, end+8)
		high |= v | w
		m, n := special(v), special(w)
		if m|n == 0 {
			continue
		}
		l.high |= high
		first, second := bits.TrailingZeros64(m)/8, bits.TrailingZeros64(n)/8
		if end += first + second&-(first/8); s[end] == '"' { // without a branch: nobody can guess which word it is
			return s[start:end], end + 1
		}
		return l.escaped(start, end)
	}
	end, bytes := textEnd(s, end)
	l.high |= high | bytes
	if end < len(s) && s[end] == '"' {
		return s[start:end], end + 1
	}
	return l.escaped(start, end)
}

// escaped goes on with a string whose first escape is at i.
func (l *lane) escaped(start, i int) (text string, next int) {
	const chunk = 4 << 10
	s := l.s
	if l.room.Cap()-l.room.Len() < len(s)-start { // the text is not longer than that
		l.room = strings.Builder{}
		l.room.Grow(max(chunk, len(s)-start))
	}
	from := l.room.Len()
	for i < len(s) && s[i] == '\\' {
		l.room.WriteString(s[start:i])
		var r rune
		if r, start = unescape(s, i); start < 0 {
			return "", -1
		}
		l.room.WriteRune(r)
		var bytes uint64
		i, bytes = textEnd(s, start)
		l.high |= bytes
	}
	if i == len(s) || s[i] != '"' {
		return "", -1
	}
	l.room.WriteString(s[start:i])
	return l.room.String()[from:], i + 1
}
