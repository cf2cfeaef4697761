package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash"
	"strings"
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
	sum   []byte
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

// Pseudonym gives the 26 base32 characters (130 bits) for a value, and the id of the key:
// the one in force at the event's time. The value is normalised by its class first.
func (h *Hasher) Pseudonym(tenant, class, value string, at time.Time) (pseudonym, keyID string) {
	i := h.ring.at(at)
	keyID = h.ring.keys[i].ID
	if len(value) > 256 {
		return h.pseudonym(i, tenant, class, value), keyID
	}
	p, place := h.memo.find(tenant, class, value, i)
	if p == "" {
		p = h.pseudonym(i, tenant, class, value)
		place[1] = place[0]
		place[0] = memoized{strings.Clone(tenant), strings.Clone(class), strings.Clone(value), i, p}
	}
	return p, keyID
}

func (h *Hasher) pseudonym(key int, tenant, class, value string) string {
	sum := h.mac(h.macs[key], domainPseudonym, tenant, class, detect.Normalize(class, value))
	var out [32]byte
	hashText.Encode(out[:], sum[:20])
	return string(out[:26])
}

// GroupHash hashes a tenant and parts, unambiguously, under the key that never rotates.
func (h *Hasher) GroupHash(tenant string, parts ...string) [16]byte {
	h.buf = append(h.buf[:0], domainGroup)
	h.part(tenant)
	for _, p := range parts {
		h.part(p)
	}
	return [16]byte(h.finish(h.group))
}

// ValueHash hashes one value for counting distinct ones, under the key that never rotates.
func (h *Hasher) ValueHash(tenant, value string) uint64 {
	return binary.BigEndian.Uint64(h.mac(h.group, domainValue, tenant, value))
}

// mac hashes parts, each after its length, so that ("a", "bc") and ("ab", "c") differ.
func (h *Hasher) mac(m hash.Hash, domain byte, parts ...string) []byte {
	h.buf = append(h.buf[:0], domain)
	for _, p := range parts {
		h.part(p)
	}
	return h.finish(m)
}

func (h *Hasher) part(p string) {
	h.buf = binary.BigEndian.AppendUint32(h.buf, uint32(len(p)))
	h.buf = append(h.buf, p...)
}

func (h *Hasher) finish(m hash.Hash) []byte {
	m.Reset() // back to the state after the key, which is computed once
	m.Write(h.buf)
	h.sum = m.Sum(h.sum[:0])
	if cap(h.buf) > 64<<10 {
		h.buf = nil
	}
	return h.sum
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
		out[i] = Found{Key: k.keys[i].ID, Hash: h.pseudonym(i, tenant, class, raw)}
	}
	return out
}
