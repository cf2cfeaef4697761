package ingest

import (
	"strings"

	"picket/detect"
)

// what says how a member of a native event is read.
type what uint8

const (
	asText what = iota
	asEnum
	asNumber
	asFlag
	asList
	asExpiry // a time that is kept as a number
	asGroup
	asTime
	asNothing // checked, then ignored: the consumer knows better
	asLabels
	asArgs
	asResult
	asFindings
)

// name is a key that the format has. What the lane looks at for nearly each member lies together.
type name struct {
	head, tail, mask uint64 // the first and the last eight bytes of "key": as nearly every producer writes it
	size             uint8  // of that
	group            uint8  // the object that the key is in; 0 is the event itself
	what             what
	opens            uint8 // for asGroup: the number of the group
	at               uint8 // index into all
	field            detect.Field
	shaped           bool   // wellFormed has a say
	limit            int    // of a text: its characters
	last             string // the one of enum that came last

	key  string
	hash uint32
	num  numeric // of a number
	enum []string
}

const (
	maxNames = 128
	timeName = 0 // the first that is added
)

// names finds a member by its group and key, by the hash that the scanner made already.
// Keys that differ in case only have the same hash, so that a variant is found too.
type names struct {
	slots  [512]int16 // 1 + index into all
	all    []name
	groups []string // by number: "", "server", ...
}

func newNames() *names {
	n := &names{groups: []string{""}}
	n.add(name{key: "time", what: asTime})
	n.add(name{key: "observed", what: asNothing})
	n.add(name{key: "labels", what: asLabels})
	group := func(s string) uint8 {
		for i, g := range n.groups {
			if g == s {
				return uint8(i)
			}
		}
		n.groups = append(n.groups, s)
		g := uint8(len(n.groups) - 1)
		n.add(name{key: s, what: asGroup, opens: g})
		return g
	}
	for f := range detect.NumFields {
		path, w := f.String(), readAs(f)
		g, key, in := strings.Cut(path, ".")
		if !in {
			n.add(name{key: path, what: w, field: f})
			continue
		}
		n.add(name{key: key, group: group(g), what: w, field: f})
	}
	n.add(name{key: "findings", group: group("io"), what: asFindings})
	return n
}

func readAs(f detect.Field) what {
	switch f {
	case detect.IOArgs:
		return asArgs
	case detect.IOResult:
		return asResult
	case detect.ActorTokenExp:
		return asExpiry
	}
	switch f.Kind() {
	case detect.List:
		return asList
	case detect.Number:
		return asNumber
	case detect.Flag:
		return asFlag
	}
	if f.Info().Enum != nil {
		return asEnum
	}
	return asText
}

func slotOf(group uint8, hash uint32) uint32 {
	return ((hash ^ uint32(group)*0x85EBCA6B) * 0x9E3779B1) >> 23
}

func (n *names) add(x name) {
	x.hash = foldHash(x.key)
	quoted := `"` + x.key + `":`
	x.size, x.mask = uint8(len(quoted)), ^uint64(0)
	if len(quoted) < 8 {
		x.mask >>= 64 - 8*len(quoted)
		quoted += "\x00\x00\x00\x00\x00"[:8-len(quoted)]
	}
	x.head, x.tail = load64(quoted, 0), load64(quoted, len(quoted)-8)
	x.limit, x.num, x.enum = x.field.Info().Limit(), numericOf(x.field), x.field.Info().Enum
	x.shaped = x.field == detect.Reason || x.field == detect.TraceID || x.field == detect.SpanID
	x.at = uint8(len(n.all))
	n.all = append(n.all, x)
	if len(n.all)+len(n.groups) > maxNames {
		panic("more names than a lane has room for")
	}
	i := slotOf(x.group, x.hash)
	for n.slots[i] != 0 {
		i = (i + 1) & 511
	}
	n.slots[i] = int16(len(n.all))
}

// begins reports whether the member at i has that key, written as nearly always. It may say no
// where the record ends soon.
func (x *name) begins(s string, i int) bool {
	if i+int(x.size)+8 > len(s) {
		return false
	}
	tail := i + max(0, int(x.size)-8)
	if ((load64(s, i)^x.head)|(load64(s, tail)^x.tail))&x.mask != 0 {
		return false
	}
	return x.size <= 16 || s[i+1:][:len(x.key)] == x.key
}

// find looks a key up. variant is true when the format has the key in another case only.
func (n *names) find(group uint8, key string, hash uint32) (x *name, variant bool) {
	for i := slotOf(group, hash) & 511; n.slots[i] != 0; i = (i + 1) & 511 {
		x := &n.all[n.slots[i]-1]
		if x.hash != hash || x.group != group {
			continue
		}
		if x.key == key {
			return x, false
		}
		if strings.EqualFold(x.key, key) {
			return nil, true
		}
	}
	return nil, false
}
