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
	ends  []uint32       // in raw
	raw   []byte
}

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
	t.raw = append(t.raw, b...)
	t.ends = append(t.ends, uint32(len(t.raw)))
	t.slots[i] = numberedSlot{tag, uint32(len(t.ends))}
	if 4*len(t.ends) > 3*len(t.slots) {
		t.grow()
	}
	return int32(len(t.ends)) - 1, true
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

func (t *numbered) bytes(place int32) []byte {
	from := uint32(0)
	if place > 0 {
		from = t.ends[place-1]
	}
	until := t.ends[place]
	return t.raw[from:until:until]
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

// textID is the number of a text: those of wireNames, and then those that a texts has seen.
type textID uint32

// texts are what packs are written with: each text is in a pack once, and a number from then on.
type texts struct {
	numbered          // form, number of the key, and what the pack has
	keys     []string // ids of keys
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
			return t.number(packed)
		}
	}
	return t.number(append(t.buf, value...))
}

func (t *texts) number(b []byte) textID {
	t.buf = b
	place, added := t.place(b)
	if added {
		t.used = append(t.used, textUse{})
	}
	return textID(len(wireNames)) + textID(place)
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
