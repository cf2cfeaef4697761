package ingest

import (
	"unicode"
	"unicode/utf8"
)

// foldHash hashes a key so that keys which differ in case only, as Unicode's simple
// folding sees it (K and the Kelvin sign, s and the long s), have the same hash.
func foldHash(key string) uint32 {
	h, ascii := wordHash(key)
	if ascii {
		return h
	}
	buf := make([]byte, 0, 64)
	for _, r := range key {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		buf = utf8.AppendRune(buf, least)
	}
	h, _ = wordHash(string(buf))
	return h
}

// wordHash reads eight bytes a step, with the bit set that tells the case of ASCII letters. The
// last step of a longer key reads some bytes again.
func wordHash(s string) (_ uint32, ascii bool) {
	const caseBits, mul = 0x2020202020202020, 0x9E3779B97F4A7C15
	h, seen := uint64(len(s))<<56, uint64(0)
	for i := 0; i+8 < len(s); i += 8 {
		w := load64(s, i)
		seen |= w
		h = (h ^ (w | caseBits)) * mul
		h ^= h >> 29
	}
	var w uint64
	switch n := len(s); {
	case n >= 8:
		w = load64(s, n-8)
	case n >= 4:
		w = uint64(load32(s, 0))<<32 | uint64(load32(s, n-4))
	case n > 0:
		w = uint64(s[0])<<16 | uint64(s[n/2])<<8 | uint64(s[n-1])
	}
	seen |= w
	h = (h ^ (w | caseBits)) * mul
	return uint32(h >> 32), seen&highs == 0
}

// load32 reads four bytes of s from i on.
func load32(s string, i int) uint32 {
	s = s[i : i+4]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}
