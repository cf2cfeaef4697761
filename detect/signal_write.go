package detect

import (
	"encoding/binary"
	"math"
)

// How the points of a rule are written: what is mostly the same is left out. Their number comes
// above these bits.
const (
	pointsAlike    = 1 << iota // events and steps are those of a rule before, of the group
	pointsInRow                // one point of each event from the first one on
	pointsSteps                // not all are of step 0
	pointsValues               // not all add one
	pointsEqual                // all values are the first
	pointsEvidence             // evidence comes behind them
	pointsForms    = 6         // bits
)

// What the two lowest bits of a point's value say.
const (
	valueWhole = iota // a number without fraction
	valueSmall        // bits, of which few are used
	valueBits         // eight bytes come
)

// addsOne are the bits of 1.0, which is what most points add.
const addsOne = 0x3ff0000000000000

// packWriter writes one pack after the other. What a pack refers to is written before: its
// events, then its evidence, and then group by group its rules.
type packWriter struct {
	*texts
	pack uint32 // number of the pack in hand, for whoever numbers something in it

	keyUse                      []textUse
	keyList, textList           []byte
	rules                       [][16]byte
	eventList, evidence, groups []byte
	nKeys, nTexts               uint32
	nEvents, nEvidence, nGroups uint64
	before                      SignalEvent
	offset                      int64
}

func (w *packWriter) start() {
	w.pack++
	w.keyList, w.textList, w.rules = w.keyList[:0], w.textList[:0], w.rules[:0]
	w.eventList, w.evidence, w.groups = w.eventList[:0], w.evidence[:0], w.groups[:0]
	w.nKeys, w.nTexts, w.nEvents, w.nEvidence, w.nGroups = 0, 0, 0, 0, 0
	w.before, w.offset = SignalEvent{}, 0
}

// record appends the pack.
func (w *packWriter) record(dst []byte, source int32, begin, end int64) []byte {
	dst = append(dst, signalVersion, kindPack)
	for _, x := range []uint64{uint64(source), uint64(begin), uint64(end - begin)} {
		dst = binary.AppendUvarint(dst, x)
	}
	dst = append(binary.AppendUvarint(dst, uint64(w.nKeys)), w.keyList...)
	dst = append(binary.AppendUvarint(dst, uint64(w.nTexts)), w.textList...)
	dst = binary.AppendUvarint(dst, uint64(len(w.rules)))
	for i := range w.rules {
		dst = append(dst, w.rules[i][:]...)
	}
	dst = append(binary.AppendUvarint(dst, w.nEvents), w.eventList...)
	dst = append(binary.AppendUvarint(dst, w.nEvidence), w.evidence...)
	return append(binary.AppendUvarint(dst, w.nGroups), w.groups...)
}

func (w *packWriter) size() int {
	return 64 + len(w.keyList) + len(w.textList) + 16*len(w.rules) + len(w.eventList) + len(w.evidence) + len(w.groups)
}

// text appends the number that a text has in the pack.
func (w *packWriter) text(dst []byte, id textID) []byte {
	if int(id) < len(wireNames) {
		return append(dst, byte(id))
	}
	u := &w.used[id.place()]
	if u.pack != w.pack {
		*u = textUse{w.pack, w.nTexts}
		w.nTexts++
		w.add(w.packed(id))
	}
	return binary.AppendUvarint(dst, uint64(len(wireNames))+uint64(u.place))
}

func (w *packWriter) add(b []byte) {
	form, key, body := b[0], uint32(0), b[1:]
	if form != textPlain {
		n, size := binary.Uvarint(body)
		key, body = w.key(int(n)), body[size:]
	}
	switch form {
	case textPseudonym:
		w.textList = binary.AppendUvarint(w.textList, uint64(key)<<textForms|textPseudonym)
	default:
		w.textList = binary.AppendUvarint(w.textList, uint64(len(body))<<textForms|uint64(form))
		if form == textKeyed {
			w.textList = binary.AppendUvarint(w.textList, uint64(key))
		}
	}
	w.textList = append(w.textList, body...)
}

// once adds a text that comes nowhere else, which nothing is to remember, and returns its number.
func (w *packWriter) once(s []byte) uint64 {
	if len(s) == 0 {
		return 0
	}
	list, ok := appendUUID(binary.AppendUvarint(w.textList, textUUID), s)
	if !ok {
		list = append(binary.AppendUvarint(w.textList, uint64(len(s))<<textForms), s...) // plain
	}
	w.textList = list
	w.nTexts++
	return uint64(len(wireNames)) + uint64(w.nTexts) - 1
}

// key is the place of a key's id in the pack.
func (w *packWriter) key(n int) uint32 {
	for len(w.keyUse) <= n {
		w.keyUse = append(w.keyUse, textUse{})
	}
	u := &w.keyUse[n]
	if u.pack != w.pack {
		*u = textUse{w.pack, w.nKeys}
		w.nKeys++
		w.keyList = appendString(w.keyList, w.keys[n])
	}
	return u.place
}

// rule adds a rule of the pack, and returns its place.
func (w *packWriter) rule(hash [16]byte) uint32 {
	w.rules = append(w.rules, hash)
	return uint32(len(w.rules)) - 1
}

func (w *packWriter) event(e *SignalEvent) {
	w.nEvents++
	w.eventList = binary.AppendVarint(w.eventList, e.Time-w.before.Time)
	w.eventList = binary.AppendVarint(w.eventList, e.Append-e.Time)
	w.eventList = binary.LittleEndian.AppendUint64(w.eventList, e.Identity)
	w.before = *e
}

// wireValue is a field and its value.
type wireValue struct{ field, value textID }

// wireFacts are a SignalEvidence, and everything that rules show of the event beside it.
type wireFacts struct {
	event                                uint32
	offset                               int64
	server, kind, outcome, tool, finding textID
}

// facts adds evidence, and returns its place.
func (w *packWriter) facts(f *wireFacts, id []byte, context []wireValue) uint32 {
	b := binary.AppendUvarint(w.evidence, uint64(f.event))
	b = binary.AppendVarint(b, f.offset-w.offset)
	w.offset = f.offset
	b = binary.AppendUvarint(b, w.once(id))
	for _, t := range [...]textID{f.server, f.kind, f.outcome, f.tool, f.finding} {
		b = w.text(b, t)
	}
	w.evidence = w.values(b, context)
	w.nEvidence++
	return uint32(w.nEvidence) - 1
}

// group begins a group of so many rules.
func (w *packWriter) group(hash [16]byte, tenant textID, values []wireValue, rules int) {
	w.nGroups++
	b := w.text(append(w.groups, hash[:]...), tenant)
	w.groups = binary.AppendUvarint(w.values(b, values), uint64(rules))
}

func (w *packWriter) values(dst []byte, values []wireValue) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, v := range values {
		dst = w.text(w.text(dst, v.field), v.value)
	}
	return dst
}

// points adds a rule of the group in hand. Their events are numbered by place. Where alike is
// above 0, so many rules before is one with the same events and steps.
func (w *packWriter) points(rule uint32, points []Point, place []uint32, alike int, evidence bool) {
	form := uint64(0)
	if len(points) > 0 {
		form = pointsEqual
	}
	if alike > 0 {
		form |= pointsAlike
	} else if len(points) > 2 {
		form |= pointsInRow
	}
	for i := range points {
		p := &points[i]
		if form&pointsInRow != 0 && place[p.Event] != place[points[0].Event]+uint32(i) {
			form &^= pointsInRow
		}
		if p.Step != 0 && alike == 0 {
			form |= pointsSteps
		}
		if p.Value != addsOne {
			form |= pointsValues
		}
		if p.Value != points[0].Value {
			form &^= pointsEqual
		}
	}
	if evidence {
		form |= pointsEvidence
	}
	b := binary.AppendUvarint(w.groups, uint64(rule))
	b = binary.AppendUvarint(b, uint64(len(points))<<pointsForms|form)
	switch {
	case len(points) == 0:
	case form&pointsAlike != 0:
		b = binary.AppendUvarint(b, uint64(alike))
	case form&pointsInRow != 0:
		b = binary.AppendUvarint(b, uint64(place[points[0].Event]))
	default:
		before := uint32(0)
		for i := range points {
			at := place[points[i].Event]
			b = binary.AppendUvarint(b, uint64(at-before))
			before = at
		}
	}
	if form&pointsSteps != 0 {
		for i := range points {
			b = append(b, points[i].Step)
		}
	}
	switch {
	case form&pointsValues == 0:
	case form&pointsEqual != 0:
		b = appendValue(b, points[0].Value)
	default:
		for i := range points {
			b = appendValue(b, points[i].Value)
		}
	}
	w.groups = b
}

// shown adds the evidence of the rule in hand: how much, and then each with its context.
func (w *packWriter) shown(n int) { w.groups = binary.AppendUvarint(w.groups, uint64(n)) }

// show adds evidence by its place, and of its context what the rule shows.
func (w *packWriter) show(facts uint32, context []uint16) {
	b := binary.AppendUvarint(w.groups, uint64(facts))
	b = binary.AppendUvarint(b, uint64(len(context)))
	for _, c := range context {
		b = binary.AppendUvarint(b, uint64(c))
	}
	w.groups = b
}

func appendValue(dst []byte, v uint64) []byte {
	if v < 1<<16 {
		return binary.AppendUvarint(dst, v<<2|valueSmall)
	}
	if x := math.Float64frombits(v); x >= 0 && x < 1<<48 {
		if n := uint64(x); float64(n) == x && math.Float64bits(float64(n)) == v {
			return binary.AppendUvarint(dst, n<<2) // whole
		}
	}
	return binary.LittleEndian.AppendUint64(append(dst, valueBits), v)
}

// appendUUID appends the bytes of a UUID; false where s is something else.
func appendUUID(dst, s []byte) ([]byte, bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return dst, false
	}
	out := dst
	for _, part := range [...][]byte{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		for ; len(part) > 0; part = part[2:] {
			high, low := nibbles[part[0]], nibbles[part[1]]
			if high|low > 0xf {
				return dst, false // a capital letter would come back as a small one
			}
			out = append(out, high<<4|low)
		}
	}
	return out, true
}

// nibbles are the values of hexadecimal digits in small letters.
var nibbles = func() (t [256]byte) {
	for c := range t {
		t[c] = 0xff
	}
	for i := range byte(16) {
		t["0123456789abcdef"[i]] = i
	}
	return t
}()

// AppendProgress appends the record form of p to dst.
func AppendProgress(dst []byte, p Progress) []byte {
	dst = append(dst, signalVersion, kindProgress)
	for _, x := range []int64{int64(p.Source), int64(p.Sources), p.Begin, p.End} {
		dst = binary.AppendUvarint(dst, uint64(x))
	}
	return binary.AppendVarint(dst, p.Passed.UnixMilli())
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
