package ingest

import (
	"unicode"
	"unicode/utf8"
)

// foldHash hashes a key so that keys which differ in case only, as Unicode's simple
// folding sees it (K and the Kelvin sign, s and the long s), have the same hash.
func foldHash(key string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c >= utf8.RuneSelf {
			return foldHashSlow(key)
		}
		h = (h ^ uint32(c|0x20)) * 16777619
	}
	return h
}

func foldHashSlow(key string) uint32 {
	h := uint32(2166136261)
	for _, r := range key {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		if least < utf8.RuneSelf {
			h = (h ^ uint32(least|0x20)) * 16777619
			continue
		}
		h = (h ^ uint32(least)) * 16777619
	}
	return h
}
