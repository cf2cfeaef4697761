package detect

import (
	"encoding/binary"
	"math"
)

// table holds windows and finds them by group and rule. It is open-addressed, and a slot has the
// number of a window and some bits of its hash: a million groups cost seven bytes each, where a
// map would keep every key again.
type table struct {
	slots []uint32
	n     int
	pages []*[pageGroups]stored
	free  uint32 // the first that is none
	fresh uint32 // from here on all are none; the first is left out
}

const (
	pageBits   = 9
	pageGroups = 1 << pageBits
	idBits     = 24
	maxGroups  = 1<<idBits - pageGroups // one table has no more
)

// at is the window with a number. It stays where it is.
func (t *table) at(id uint32) *stored { return &t.pages[id>>pageBits][id%pageGroups] }

// queued is the deadline of a window that may be gone.
func (t *table) queued(id uint32) int64 {
	if int(id>>pageBits) < len(t.pages) {
		if g := t.at(id); g.rule != 0 {
			return g.queued
		}
	}
	return unknownTime
}

// hash needs no mixing of the group: it is a keyed hash, and nobody can choose where it falls.
func (k windowKey) hash() uint64 {
	return binary.LittleEndian.Uint64(k.group[:]) + uint64(k.rule)*0x9e3779b97f4a7c15
}

func (g *stored) key() windowKey { return windowKey{g.group, g.rule} }

// tag are bits of the hash that do not choose the slot.
func tag(hash uint64) uint32 { return uint32(hash>>(64-32+idBits)) << idBits }

// slot is where a window is, or where the search for it ended.
func (t *table) slot(k windowKey) (i uint64, there bool) {
	hash := k.hash()
	mask, tag := uint64(len(t.slots)-1), tag(hash)
	for i = hash & mask; t.slots[i] != 0; i = (i + 1) & mask {
		if s := t.slots[i]; s&^(1<<idBits-1) == tag && t.at(s%(1<<idBits)).key() == k {
			return i, true
		}
	}
	return i, false
}

// find is the number of a window, or 0.
func (t *table) find(k windowKey) uint32 {
	if t.n == 0 {
		return 0
	}
	if i, there := t.slot(k); there {
		return t.slots[i] % (1 << idBits)
	}
	return 0
}

// put adds a window that is not there.
func (t *table) put(k windowKey) uint32 {
	if t.n*4 >= len(t.slots)*3 {
		t.resize(max(64, 2*len(t.slots)))
	}
	id := t.free
	if id == 0 {
		if t.fresh%pageGroups == 0 {
			t.pages = append(t.pages, new([pageGroups]stored))
		}
		id = max(1, t.fresh)
		t.fresh = id + 1
	}
	g := t.at(id)
	if t.free == id {
		t.free = g.more
	}
	*g = stored{group: k.group, rule: k.rule}
	t.place(id)
	t.n++
	return id
}

func (t *table) place(id uint32) {
	hash := t.at(id).key().hash()
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = tag(hash) | id
}

func (t *table) resize(n int) {
	old := t.slots
	t.slots = make([]uint32, n)
	for _, s := range old {
		if s != 0 {
			t.place(s % (1 << idBits))
		}
	}
}

// remove closes the gap, so that no search ends early.
func (t *table) remove(k windowKey) {
	i, _ := t.slot(k)
	mask := uint64(len(t.slots) - 1)
	id := t.slots[i] % (1 << idBits)
	for j := (i + 1) & mask; t.slots[j] != 0; j = (j + 1) & mask {
		if home := t.at(t.slots[j]%(1<<idBits)).key().hash() & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = 0
	*t.at(id) = stored{more: t.free}
	t.free = id
	t.n--
	if t.n == 0 && len(t.pages) > 1 { // what a flood took goes with it
		*t = table{}
	} else if len(t.slots) > 1024 && t.n*8 < len(t.slots) {
		t.resize(len(t.slots) / 2)
	}
}

// places are things with a number, from one.
type places[T any] struct {
	of   []T
	free []uint32
}

func (p *places[T]) put(x T) uint32 {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.of[i] = x
		return i
	}
	if len(p.of) == 0 {
		p.of = append(p.of, x) // nothing has number 0
	}
	p.of = append(p.of, x)
	return uint32(len(p.of) - 1)
}

func (p *places[T]) drop(i uint32) {
	var none T
	p.of[i] = none
	p.free = append(p.free, i)
}

// seenWindows are those that got their points of the batch at hand.
type seenWindows struct {
	slots []seenWindow
	n     int
	batch uint32
}

// seenWindow is free where its batch is not the one at hand.
type seenWindow struct {
	key   windowKey
	batch uint32 // from one
}

const (
	minSeen = 64
	maxSeen = 1 << 16 // slots that are kept for the next batch
)

func (s *seenWindows) clear() {
	s.n = 0
	if s.batch++; len(s.slots) > maxSeen || s.batch == math.MaxUint32 {
		*s = seenWindows{}
	}
}

// add reports whether the window was there already.
func (s *seenWindows) add(k windowKey) bool {
	if 4*s.n >= 3*len(s.slots) {
		old := s.slots
		s.slots = make([]seenWindow, max(minSeen, 2*len(old)))
		for _, in := range old {
			if in.batch == s.batch+1 {
				*s.slot(in.key) = in
			}
		}
	}
	in := s.slot(k)
	if in.batch == s.batch+1 {
		return true
	}
	*in = seenWindow{k, s.batch + 1}
	s.n++
	return false
}

// slot is where a window is, or a free one.
func (s *seenWindows) slot(k windowKey) *seenWindow {
	mask := uint64(len(s.slots) - 1)
	for i := k.hash() & mask; ; i = (i + 1) & mask {
		if in := &s.slots[i]; in.batch != s.batch+1 || in.key == k {
			return in
		}
	}
}
