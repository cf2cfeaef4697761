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

// wordHash reads eight bytes a step, with the bit set that tells the case of ASCII letters.
func wordHash(s string) (_ uint32, ascii bool) {
	const caseBits, highBits, mul = 0x2020202020202020, 0x8080808080808080, 0x9E3779B97F4A7C15
	h, seen := uint64(len(s)), uint64(0)
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		seen |= w
		h = (h ^ (w | caseBits)) * mul
		h ^= h >> 29
	}
	var w uint64
	for i := range len(s) {
		w = w<<8 | uint64(s[i])
	}
	seen |= w
	h = (h ^ (w | caseBits)) * mul
	return uint32(h >> 32), seen&highBits == 0
}
