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

// memoized is a pseudonym and what it is of, in one text: the pseudonym, the value, the class
// and the tenant. A place is one line of the processor's cache, and so is most often the text.
type memoized struct {
	tag         uint64 // all bits of what said where it is
	text        string
	value, rest uint16 // lengths of the value, and of the value and the class
	key         int32
}

func newMemo() memo { return memo{maphash.MakeSeed(), make([][2]memoized, 1<<(memoSize-1))} }

// maxMemoized is the length of the longest value that is remembered, and of the longest class.
const maxMemoized = 256

// find gives what is remembered; where nothing is, the place and the tag to remember it under.
func (m *memo) find(tenant, class, value string, key int32) (pseudonym string, place *[2]memoized, tag uint64) {
	tag = (maphash.String(m.seed, value) ^ rough(class)<<8 ^ rough(tenant)<<16 ^ uint64(key)) * 0x9E3779B97F4A7C15
	place = &m.places[tag>>(65-memoSize)]
	for i := range place {
		if x := &place[i]; x.tag == tag && x.is(tenant, class, value, key) {
			return x.text[:pseudonymLen], place, tag
		}
	}
	return "", place, tag
}

func (x *memoized) is(tenant, class, value string, key int32) bool {
	if x.key != key || int(x.value) != len(value) || int(x.rest) != len(value)+len(class) || len(x.text) != pseudonymLen+int(x.rest)+len(tenant) {
		return false
	}
	of := x.text[pseudonymLen:]
	return of[:x.value] == value && of[x.value:x.rest] == class && of[x.rest:] == tenant
}

// remember notes a pseudonym, and gives the copy that is kept.
func (m *memo) remember(place *[2]memoized, tag uint64, pseudonym []byte, tenant, class, value string, key int32) string {
	place[1] = place[0]
	text := string(pseudonym) + value + class + tenant
	place[0] = memoized{tag, text, uint16(len(value)), uint16(len(value) + len(class)), key}
	return text[:pseudonymLen]
}

// rough tells most short texts apart.
func rough(s string) uint64 {
	if s == "" {
		return 0
	}
	return uint64(len(s))<<16 | uint64(s[0])<<8 | uint64(s[len(s)-1])
}
