package detect

import "math"

// textTable finds the rules of a text without regard to case: open addressing by a hash over
// bytes with their case bit set. Immutable once built.
type textTable struct {
	keys  map[string][]int32 // while it is made
	slots []textSlot
	mask  uint32
	texts []string // folded
	ids   [][]int32
}

type textSlot struct {
	tag uint32 // the upper half of the hash
	key int32  // 1 + index into texts; 0: empty
}

func (t *textTable) add(folded string, id int32) {
	if t.keys == nil {
		t.keys = map[string][]int32{}
	}
	t.keys[folded] = append(t.keys[folded], id)
}

func (t *textTable) build() {
	size := 8
	for size < 4*len(t.keys) {
		size *= 2
	}
	t.slots, t.mask = make([]textSlot, size), uint32(size-1)
	for text, ids := range t.keys {
		t.texts, t.ids = append(t.texts, text), append(t.ids, ids)
		h, _ := caseHash(text)
		i := uint32(h) & t.mask
		for t.slots[i].key != 0 {
			i = (i + 1) & t.mask
		}
		t.slots[i] = textSlot{uint32(h >> 32), int32(len(t.texts))}
	}
	t.keys = nil
}

// find returns the rules of v's folded form.
func (t *textTable) find(m *Matcher, v string) []int32 {
	h, ascii := caseHash(v)
	if !ascii {
		m.scratch = appendFold(m.scratch[:0], v)
		h, _ = caseHash(m.scratch)
	}
	tag := uint32(h >> 32)
	for i := uint32(h) & t.mask; ; i = (i + 1) & t.mask {
		s := t.slots[i]
		if s.key == 0 {
			return nil
		}
		if s.tag != tag {
			continue
		}
		text := t.texts[s.key-1]
		if ascii && equalASCII(v, text) || !ascii && string(m.scratch) == text {
			return t.ids[s.key-1]
		}
	}
}

// equalASCII reports whether v, which is ASCII, has that folded form.
func equalASCII(v, folded string) bool {
	if len(v) != len(folded) {
		return false
	}
	for i := range len(v) {
		c := v[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}

const (
	caseBits = 0x2020202020202020
	highBits = 0x8080808080808080
	hashMul  = 0x9E3779B97F4A7C15
)

// caseHash hashes a text so that ASCII texts that differ in case only have one hash, and says
// whether the text is ASCII.
func caseHash[T string | []byte](s T) (h uint64, ascii bool) {
	h = uint64(len(s))
	var seen uint64
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := load64(s[i:])
		seen |= w
		h = (h ^ (w | caseBits)) * hashMul
		h ^= h >> 32
	}
	if i < len(s) {
		var w uint64
		if len(s) >= 8 {
			w = load64(s[len(s)-8:])
		} else {
			for ; i < len(s); i++ {
				w = w<<8 | uint64(s[i])
			}
		}
		seen |= w
		h = (h ^ (w | caseBits)) * hashMul
		h ^= h >> 32
	}
	return h * hashMul, seen&highBits == 0
}

func load64[T string | []byte](s T) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// numberTable is textTable for numbers.
type numberTable struct {
	keys  map[float64][]int32
	slots []numberSlot
	mask  uint64
}

type numberSlot struct {
	num float64
	ids []int32 // nil: empty
}

func (t *numberTable) add(x float64, id int32) {
	if t.keys == nil {
		t.keys = map[float64][]int32{}
	}
	t.keys[x] = append(t.keys[x], id)
}

func (t *numberTable) build() {
	size := 8
	for size < 4*len(t.keys) {
		size *= 2
	}
	t.slots, t.mask = make([]numberSlot, size), uint64(size-1)
	for x, ids := range t.keys {
		i := numberHash(x) & t.mask
		for t.slots[i].ids != nil {
			i = (i + 1) & t.mask
		}
		t.slots[i] = numberSlot{x, ids}
	}
	t.keys = nil
}

func (t *numberTable) find(x float64) []int32 {
	for i := numberHash(x) & t.mask; ; i = (i + 1) & t.mask {
		if s := &t.slots[i]; s.ids == nil || s.num == x {
			return s.ids
		}
	}
}

// numberHash gives 0 and -0, which are equal, one hash.
func numberHash(x float64) uint64 { return math.Float64bits(x+0) * hashMul >> 32 }
