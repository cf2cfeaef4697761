package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash"
	"time"

	"picket/detect"
)

// Domains keep hashes for different purposes apart under one key.
const (
	domainPseudonym = 1
	domainGroup     = 2
	domainValue     = 3
)

var hashText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Hasher hashes under a keyring. It is detect.Pseudonymizer, and what groups are hashed
// with. One goroutine owns it.
type Hasher struct {
	ring  *Keyring
	macs  []hash.Hash // by key
	group hash.Hash
	buf   []byte
	sum   [sha256.Size]byte
	memo  memo
}

var _ detect.Pseudonymizer = (*Hasher)(nil)

// Hasher makes a Hasher for one goroutine.
func (k *Keyring) Hasher() *Hasher {
	h := &Hasher{ring: k, group: hmac.New(sha256.New, k.group.b), memo: newMemo()}
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
		return string(h.pseudonym(&buf, i, tenant, class, value)), keyID
	}
	p, place, tag := h.memo.find(tenant, class, value, int32(i))
	if p == "" {
		var buf [hashTextLen]byte
		p = h.memo.remember(place, tag, h.pseudonym(&buf, i, tenant, class, value), tenant, class, value, int32(i))
	}
	return p, keyID
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
	return [16]byte(h.finish(h.group, buf))
}

// ValueHash hashes one value for counting distinct ones, under the key that never rotates.
func (h *Hasher) ValueHash(tenant, value string) uint64 {
	buf := part(part(append(h.buf[:0], domainValue), tenant), value)
	return binary.BigEndian.Uint64(h.finish(h.group, buf))
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
	m.Write(text)
	m.Sum(h.sum[:0])
	if cap(text) > cap(h.buf) && cap(text) <= 64<<10 {
		h.buf = text
	}
	return h.sum[:]
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
