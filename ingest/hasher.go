package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash"
	"time"
	"unsafe"

	"github.com/dchest/siphash"

	"picket/detect"
)

// Domains keep hashes for different purposes apart under one key.
const (
	domainPseudonym = 1
	domainGroup     = 2
)

var hashText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Hasher hashes under a keyring. It is detect.Pseudonymizer, and what groups are hashed
// with. One goroutine owns it.
type Hasher struct {
	ring  *Keyring
	macs  []hash.Hash // by key
	group groupKey
	buf   []byte
	sum   [sha256.Size]byte
	room  []byte // for pseudonyms that are not remembered
	memo  memo
}

// groupKey is made of the keyring's group key. Hashes of groups and identities only have to keep
// apart what is different, also from somebody who picks the values but has not got the key: that
// is what SipHash is for, in a sixth of the time of HMAC.
type groupKey struct{ k0, k1 uint64 }

func newGroupKey(s Secret) groupKey {
	m := hmac.New(sha256.New, s.b)
	m.Write([]byte("picket group hash: SipHash-2-4-128"))
	sum := m.Sum(nil)
	return groupKey{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint64(sum[8:])}
}

var _ detect.Pseudonymizer = (*Hasher)(nil)

// Hasher makes a Hasher for one goroutine.
func (k *Keyring) Hasher() *Hasher {
	h := &Hasher{ring: k, group: newGroupKey(k.group), memo: newMemo()}
	for i := range k.keys {
		h.macs = append(h.macs, hmac.New(sha256.New, k.keys[i].Secret.b))
	}
	return h
}

// pseudonymLen is how many characters of base32 a pseudonym has: 130 bits.
const pseudonymLen = 26

// Pseudonym gives the pseudonym of a value, and the id of the key: the one in force at the
// event's time. The value is normalised by its class first.
func (h *Hasher) Pseudonym(tenant, class, value string, at time.Time) (pseudonym, keyID string) {
	i := h.ring.at(at)
	keyID = h.ring.keys[i].ID
	if len(value) > maxMemoized || len(class) > maxMemoized || class == "digest" { // few digests come again
		var buf [hashTextLen]byte
		return h.text(h.pseudonym(&buf, i, tenant, class, value)), keyID
	}
	p, place, tag := h.memo.find(tenant, class, value, int32(i))
	if p == "" {
		var buf [hashTextLen]byte
		p = h.memo.remember(place, tag, h.pseudonym(&buf, i, tenant, class, value), tenant, class, value, int32(i))
	}
	return p, keyID
}

// text gives a text of its own. Many share a piece of memory, of which each byte is written once.
func (h *Hasher) text(b []byte) string {
	if cap(h.room)-len(h.room) < len(b) {
		h.room = make([]byte, 0, 64*pseudonymLen)
	}
	from := len(h.room)
	h.room = append(h.room, b...)
	return unsafe.String(&h.room[from], len(b))
}

// hashTextLen is the length of 160 bits in base32, of which a pseudonym has the first 130.
const hashTextLen = 32

func (h *Hasher) pseudonym(buf *[hashTextLen]byte, key int, tenant, class, value string) []byte {
	sum := h.mac(h.macs[key], domainPseudonym, tenant, class, detect.Normalize(class, value))
	hashText.Encode(buf[:], sum[:20])
	return buf[:pseudonymLen]
}

// GroupHash hashes a tenant and parts, unambiguously, under the key that never rotates.
func (h *Hasher) GroupHash(tenant string, parts ...string) [16]byte {
	buf := part(append(h.buf[:0], domainGroup), tenant)
	for _, p := range parts {
		buf = part(buf, p)
	}
	var out [16]byte
	a, b := siphash.Hash128(h.group.k0, h.group.k1, h.keep(buf))
	binary.BigEndian.PutUint64(out[:8], a)
	binary.BigEndian.PutUint64(out[8:], b)
	return out
}

// mac hashes three parts.
func (h *Hasher) mac(m hash.Hash, domain byte, a, b, c string) []byte {
	return h.finish(m, part(part(part(append(h.buf[:0], domain), a), b), c))
}

// part puts a part behind its length, so that ("a", "bc") and ("ab", "c") differ.
func part(buf []byte, p string) []byte {
	return append(binary.BigEndian.AppendUint32(buf, uint32(len(p))), p...)
}

func (h *Hasher) finish(m hash.Hash, text []byte) []byte {
	m.Reset() // back to the state after the key, which is computed once
	m.Write(h.keep(text))
	m.Sum(h.sum[:0])
	return h.sum[:]
}

// keep notes the memory of a text that is to be hashed, for the next one.
func (h *Hasher) keep(text []byte) []byte {
	if cap(text) > cap(h.buf) && cap(text) <= 64<<10 {
		h.buf = text
	}
	return text
}

// Found is one pseudonym that a value has.
type Found struct {
	Key  string // key id
	Hash string
}

// Lookup gives the pseudonyms of a raw value under every key that is left, oldest first:
// what a search by raw value looks for.
func (k *Keyring) Lookup(tenant, class, raw string) []Found {
	h := k.Hasher()
	out := make([]Found, len(k.keys))
	for i := range k.keys {
		var buf [hashTextLen]byte
		out[i] = Found{Key: k.keys[i].ID, Hash: string(h.pseudonym(&buf, i, tenant, class, raw))}
	}
	return out
}
