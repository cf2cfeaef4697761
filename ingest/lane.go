package ingest

import (
	"math/bits"
	"strings"
	"unicode/utf8"

	"picket/detect"
)

// lane reads a native record as nearly all are, in one pass and without a tape. It says no to
// whatever is wrong, rare or ambiguous, and gives no reason: the tape reads such a record
// again, and decides. So what a format means, and why a record is refused, is written down in
// one place (scan.go, native.go), and the lane may only say the same or nothing, to which
// TestLaneSaysTheSame and FuzzLane hold it.
//
// Its functions take a place in the record and return the place behind what they read; a
// negative one is a no.
type lane struct {
	d    *Decoder
	s    string                // the record
	was  [maxNames / 64]uint64 // the names that were in it
	keys int                   // how many other keys were
	open []uint32              // hashes of the other keys of the objects at hand, innermost last
	high uint64                // bits of all bytes of texts
	room strings.Builder       // for texts that are not in the record as they are

	// next is which name came after a name of the same group the last time: producers repeat
	// themselves. At the end it has which one came first in each group.
	next [maxNames]*name
}

func (l *lane) init(d *Decoder) {
	l.d = d
	none := &name{tail: 1, mask: ^uint64(0)} // begins nothing: its head and its tail are the same bytes, and differ
	for i := range l.next {
		l.next[i] = none
	}
}

// native reads a record into an event that is empty.
func (l *lane) native(ev *detect.Event, text string) bool {
	l.s, l.was, l.keys, l.open, l.high = text, [maxNames / 64]uint64{}, 0, l.open[:0], 0
	i := spaceEnd(text, 0)
	if i == len(text) || text[i] != '{' {
		return false
	}
	if i = l.members(ev, 0, i+1); i < 0 || spaceEnd(text, i) != len(text) {
		return false
	}
	for _, w := range l.was {
		l.keys += bits.OnesCount64(w)
	}
	if l.keys > MaxKeys || l.high&highs != 0 && !utf8.ValidString(text) {
		return false
	}
	if !l.saw(timeName) || !ev.Has(detect.Schema) || !ev.Has(detect.ID) || !ev.Has(detect.Type) || !ev.Has(detect.Outcome) || !ev.Has(detect.ServerName) {
		return false
	}
	if !ev.Has(detect.SrcFormat) {
		ev.Set(detect.SrcFormat, "native")
	}
	return true
}

func (l *lane) saw(name uint8) bool { return l.was[name/64]>>(name%64)&1 != 0 }

// members reads the event (group 0) or one of its objects, from behind the brace on.
func (l *lane) members(ev *detect.Event, group uint8, i int) int {
	s := l.s
	if i = spaceEnd(s, i); i < len(s) && s[i] == '}' {
		return i + 1
	}
	base, before := len(l.open), maxNames-1-int(group)
	for {
		x := l.next[before%maxNames]
		if x.begins(s, i) {
			i += int(x.size)
		} else if x, i = l.named(ev, group, base, i); x != nil {
			l.next[before] = x
		}
		if x != nil {
			was, bit := &l.was[x.at/64%2], uint64(1)<<(x.at%64)
			if *was&bit != 0 {
				return -1
			}
			*was |= bit
			before = int(x.at)
			i = l.member(ev, x, l.space(i))
		}
		if uint(i) < uint(len(s)) && s[i] == ',' { // as nearly always
			i = l.space(i + 1)
			continue
		}
		var more bool
		if i, more = l.more(i, '}'); !more {
			l.open = l.open[:base]
			return i
		}
	}
}

// named reads a key that is another one than the last time, up to its value. One that is no name
// it reads with its value.
func (l *lane) named(ev *detect.Event, group uint8, base, i int) (x *name, next int) {
	key, i := l.key(i)
	if i < 0 {
		return nil, -1
	}
	hash := foldHash(key)
	x, variant := l.d.names.find(group, key, hash)
	switch {
	case x != nil:
		return x, i
	case variant || !l.other(hash, base):
		return nil, -1
	}
	return nil, l.unknown(ev, group, key, i)
}

// more reads what follows a member or an element.
func (l *lane) more(i int, end byte) (next int, more bool) {
	if i < 0 {
		return -1, false
	}
	if i = l.space(i); i == len(l.s) {
		return -1, false
	}
	switch l.s[i] {
	case ',':
		return l.space(i + 1), true
	case end:
		return i + 1, false
	}
	return -1, false
}

func (l *lane) space(i int) int {
	if i < len(l.s) && l.s[i] > ' ' {
		return i
	}
	return spaceEnd(l.s, i)
}

// key reads a key and its colon.
func (l *lane) key(i int) (key string, next int) {
	if key, i = l.text(i); i < 0 {
		return "", -1
	}
	if i = l.space(i); i == len(l.s) || l.s[i] != ':' {
		return "", -1
	}
	return key, l.space(i + 1)
}

// other notes a key that is no name. It is false where the object may have it already.
func (l *lane) other(hash uint32, base int) bool {
	for _, h := range l.open[base:] {
		if h == hash {
			return false
		}
	}
	l.open = append(l.open, hash)
	l.keys++
	return true
}

func (l *lane) labels(ev *detect.Event, i int) int {
	if i = l.space(i); i < len(l.s) && l.s[i] == '}' {
		return i + 1
	}
	base := len(l.open)
	for {
		var key string
		if key, i = l.key(i); i < 0 || !l.other(foldHash(key), base) {
			return -1
		}
		n := node{key: key}
		if i = l.scalar(&n, i); i < 0 || l.d.label(ev, key, &n) != nil {
			return -1
		}
		var more bool
		if i, more = l.more(i, '}'); !more {
			l.open = l.open[:base]
			return i
		}
	}
}

// unknown reads what becomes a label. Before the schema is seen, the record may be of another
// format.
func (l *lane) unknown(ev *detect.Event, group uint8, key string, i int) int {
	if !ev.Has(detect.Schema) {
		return -1
	}
	n := node{key: key}
	if i = l.scalar(&n, i); i < 0 {
		return -1
	}
	prefix := ""
	if group != 0 {
		prefix = l.d.names.groups[group] + "."
	}
	if l.d.unknown(ev, prefix, &n) != nil {
		return -1
	}
	return i
}
