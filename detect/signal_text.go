package detect

import (
	"encoding/binary"
	"hash/maphash"
)

// numbered numbers byte strings in the order in which they first come. It has no pointers that a
// garbage collector would follow, however much it remembers.
type numbered struct {
	seed  maphash.Seed
	slots []numberedSlot // open-addressed
	byteStrings
}

// byteStrings is a list of them, without a pointer for each.
type byteStrings struct {
	ends []uint32 // in raw
	raw  []byte
}

// add adds a copy of b, and returns its place.
func (l *byteStrings) add(b []byte) (place int32) {
	l.raw = append(l.raw, b...)
	l.ends = append(l.ends, uint32(len(l.raw)))
	return int32(len(l.ends)) - 1
}

func (l *byteStrings) bytes(place int32) []byte {
	from := uint32(0)
	if place > 0 {
		from = l.ends[place-1]
	}
	until := l.ends[place]
	return l.raw[from:until:until]
}

func (l *byteStrings) forget() { l.ends, l.raw = kept(l.ends), kept(l.raw) }

type numberedSlot struct{ tag, place uint32 } // the place from one; 0 for none

func newNumbered() numbered {
	return numbered{seed: maphash.MakeSeed(), slots: make([]numberedSlot, 64)}
}

// place finds or makes the place of b, of which it keeps a copy.
func (t *numbered) place(b []byte) (place int32, added bool) {
	h := maphash.Bytes(t.seed, b)
	tag, mask := uint32(h>>32), uint32(len(t.slots)-1)
	i := uint32(h) & mask
	for ; t.slots[i].place > 0; i = (i + 1) & mask {
		if s := t.slots[i]; s.tag == tag && string(t.bytes(int32(s.place-1))) == string(b) {
			return int32(s.place - 1), false
		}
	}
	place = t.add(b)
	t.slots[i] = numberedSlot{tag, uint32(len(t.ends))}
	if 4*len(t.ends) > 3*len(t.slots) {
		t.grow()
	}
	return place, true
}

func (t *numbered) grow() {
	t.slots = make([]numberedSlot, 2*len(t.slots))
	for place := range t.ends {
		h := maphash.Bytes(t.seed, t.bytes(int32(place)))
		mask := uint32(len(t.slots) - 1)
		i := uint32(h) & mask
		for t.slots[i].place > 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = numberedSlot{uint32(h >> 32), uint32(place) + 1}
	}
}

// full reports whether it holds more than it is to remember.
func (t *numbered) full() bool { return len(t.ends) > maxKnown || len(t.raw) > maxKnownBytes }

func (t *numbered) forget() {
	if len(t.slots) > maxKept {
		*t = newNumbered()
	}
	clear(t.slots)
	t.ends, t.raw = t.ends[:0], t.raw[:0]
}

// wireNames are texts that have a number in every record. They are a part of the version: none
// may be moved, and none added but at the end of another version.
var wireNames = [...]string{
	"", "authentication", "authorization", "token", "tool_call", "resource_read", "prompt_get", "discovery", "tool_definition",
	"elicitation", "rate_limit", "config", "error", "suspicious_activity", "heartbeat", "success", "failure", "denied", "unknown",
	"actor.client_id", "actor.subject", "actor.token", "client.user_agent", "http.status", "io.args_bytes", "io.args_digest",
	"io.duration_ms", "io.egress_hosts", "io.result_bytes", "limit.name", "mcp.error_code", "mcp.handle", "mcp.method",
	"mcp.resource", "mcp.session", "mcp.tool", "net.country", "net.host", "net.ip", "net.ip_prefix", "net.origin", "outcome",
	"perm.action", "perm.resource", "reason", "server.instance", "server.name", "src.producer", "tool.name", "trace.trace_id", "default",
}

var wireNumbers = func() map[string]textID {
	numbers := make(map[string]textID, len(wireNames))
	for i, name := range wireNames {
		numbers[name] = textID(i)
	}
	return numbers
}()

// textID is the number of a text: those of wireNames, and then in turns those that a texts
// remembers and those that pass.
type textID uint32

func textIDOf(place int32, passes textID) textID {
	return textID(len(wireNames)) + 2*textID(place) + passes
}

// place is the place of what is no wireName among all others.
func (id textID) place() int { return int(id) - len(wireNames) }

// texts are what packs are written with: each text is in a pack once, and a number from then on.
type texts struct {
	numbered             // form, number of the key, and what the pack has
	passing  byteStrings // the same of texts that only the batch in hand has
	keys     []string    // ids of keys
	used     []textUse
	buf      []byte
}

// textUse says where a text is in the pack in hand.
type textUse struct{ pack, place uint32 }

// How a text is written: its length and form are one number.
const (
	textPlain     = iota
	textPseudonym     // 26 letters of base32, under a key
	textKeyed         // any other, under a key
	textUUID          // 36 letters
	textForms     = 2 // bits
)

func newTexts() texts { return texts{numbered: newNumbered()} }

// id finds or makes the number of a text, which may be a pseudonym under a key.
func (t *texts) id(value, key string) textID {
	if key == "" {
		if n, ok := wireNumbers[value]; ok {
			return n
		}
	}
	place, added := t.place(t.form(value, key))
	if added {
		t.use(textIDOf(place, 0))
	}
	return textIDOf(place, 0)
}

// pass numbers a text which hardly comes again, and that is not remembered beyond the batch.
func (t *texts) pass(value, key string) textID {
	id := textIDOf(t.passing.add(t.form(value, key)), 1)
	t.use(id)
	return id
}

// packed is what the pack has of a text.
func (t *texts) packed(id textID) []byte {
	place := id.place()
	if place&1 != 0 {
		return t.passing.bytes(int32(place / 2))
	}
	return t.bytes(int32(place / 2))
}

// form makes what the pack has of a text; it is good until the next call.
func (t *texts) form(value, key string) []byte {
	t.buf = append(t.buf[:0], textPlain)
	if key != "" {
		n := 0
		for n < len(t.keys) && t.keys[n] != key {
			n++
		}
		if n == len(t.keys) {
			t.keys = append(t.keys, key)
		}
		t.buf = binary.AppendUvarint(append(t.buf[:0], textKeyed), uint64(n))
		if packed, ok := appendPseudonym(t.buf, value); ok {
			packed[0] = textPseudonym
			t.buf = packed
			return packed
		}
	}
	t.buf = append(t.buf, value...)
	return t.buf
}

// use makes room to say where a text is in the pack in hand.
func (t *texts) use(id textID) {
	if n := id.place() + 1; n > len(t.used) {
		t.used = append(t.used, make([]textUse, n-len(t.used))...)
	}
}

func (t *texts) forget() {
	t.numbered.forget()
	t.keys, t.used = t.keys[:0], t.used[:0]
}

// A pseudonym has 130 bits, in 26 letters: 17 bytes.
const (
	pseudonymLetters = 26
	pseudonymBytes   = 17
	letters          = "abcdefghijklmnopqrstuvwxyz234567"
)

// appendPseudonym appends the bits of a pseudonym; false where s is something else.
func appendPseudonym(dst []byte, s string) ([]byte, bool) {
	if len(s) != pseudonymLetters {
		return dst, false
	}
	from, acc, bits := len(dst), uint32(0), 0
	for i := range len(s) {
		c := uint32(s[i])
		switch {
		case c >= 'a' && c <= 'z':
			c -= 'a'
		case c >= '2' && c <= '7':
			c -= '2' - 26
		default:
			return dst[:from], false
		}
		acc, bits = acc<<5|c, bits+5
		if bits >= 8 {
			bits -= 8
			dst = append(dst, byte(acc>>bits))
		}
	}
	return append(dst, byte(acc<<(8-bits))), true
}

// appendLetters appends the letters of a pseudonym's bits.
func appendLetters(dst, b []byte) []byte {
	acc, bits, left := uint32(0), 0, pseudonymLetters
	for _, c := range b {
		acc, bits = acc<<8|uint32(c), bits+8
		for ; bits >= 5 && left > 0; left-- {
			bits -= 5
			dst = append(dst, letters[acc>>bits&31])
		}
	}
	return dst
}
