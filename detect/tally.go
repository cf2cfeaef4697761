package detect

// tally counts values. They are keyed hashes already, so that their low bits say where
// they stand, and nobody can choose them.
type tally struct {
	slots []counted // a power of two; a count of zero is an empty slot
	n     int       // different values
}

type counted struct {
	value uint64
	count int32
}

const minTally = 4

func (t *tally) add(value uint64) {
	if 2*t.n >= len(t.slots) {
		t.grow()
	}
	mask := uint64(len(t.slots) - 1)
	for i := value & mask; ; i = (i + 1) & mask {
		switch s := &t.slots[i]; {
		case s.count == 0:
			*s = counted{value, 1}
			t.n++
			return
		case s.value == value:
			s.count++
			return
		}
	}
}

// drop takes one of a value that is there.
func (t *tally) drop(value uint64) {
	mask := uint64(len(t.slots) - 1)
	i := value & mask
	for t.slots[i].value != value || t.slots[i].count == 0 {
		i = (i + 1) & mask
	}
	if t.slots[i].count--; t.slots[i].count > 0 {
		return
	}
	t.n--
	for j := (i + 1) & mask; t.slots[j].count > 0; j = (j + 1) & mask { // close the gap
		if home := t.slots[j].value & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = counted{}
}

func (t *tally) grow() {
	old := t.slots
	t.slots = make([]counted, max(minTally, 2*len(old)))
	mask := uint64(len(t.slots) - 1)
	for _, s := range old {
		if s.count == 0 {
			continue
		}
		i := s.value & mask
		for t.slots[i].count > 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = s
	}
}

func (t *tally) reset() {
	if len(t.slots) > 256*minTally {
		t.slots = nil // one large group does not make every small one slow
	}
	clear(t.slots)
	t.n = 0
}
