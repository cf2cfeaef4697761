package ingest

import "hash/maphash"

// memoSize is how many pseudonyms a Hasher remembers, by the bits of their place.
const memoSize = 13

// memo remembers recent pseudonyms: most events name somebody who was named just before. Two
// share a place; a third takes that of the one that came before the other. It holds raw
// values, and never leaves. The seed is drawn anew, so that nobody can choose values that share one.
type memo struct {
	seed   maphash.Seed
	places [][2]memoized
}

// memoized is a pseudonym and what it is of. The texts are copies: others are parts of
// records, and would hold all of them in memory.
type memoized struct {
	tenant, class, value string
	key                  int
	pseudonym            string
}

func newMemo() memo { return memo{maphash.MakeSeed(), make([][2]memoized, 1<<(memoSize-1))} }

// find gives what is remembered, and where else to remember it.
func (m *memo) find(tenant, class, value string, key int) (pseudonym string, place *[2]memoized) {
	h := maphash.String(m.seed, value) ^ rough(class)<<8 ^ rough(tenant)<<16 ^ uint64(key)
	place = &m.places[h*0x9E3779B97F4A7C15>>(65-memoSize)]
	for i := range place {
		if x := &place[i]; x.value == value && x.class == class && x.tenant == tenant && x.key == key {
			return x.pseudonym, place
		}
	}
	return "", place
}

// rough tells most short texts apart.
func rough(s string) uint64 {
	if s == "" {
		return 0
	}
	return uint64(len(s))<<16 | uint64(s[0])<<8 | uint64(s[len(s)-1])
}
