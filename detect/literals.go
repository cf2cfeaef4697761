package detect

import "unicode/utf8"

// literals finds many literal texts in one pass: an Aho-Corasick automaton over
// byte classes with all transitions written out, case folded. Immutable.
type literals struct {
	words   []string // folded
	ids     map[string]int
	class   [256]uint8
	classes int
	next    []uint32 // state*classes + class -> state*classes; the high bit marks states with output
	output  [][]int32
	built   bool
}

const outputBit = 1 << 31

// add registers a literal and returns its id; equal ones after folding share it.
func (l *literals) add(s string) int {
	s = foldString(s)
	if id, ok := l.ids[s]; ok {
		return id
	}
	if l.ids == nil {
		l.ids = map[string]int{}
	}
	id := len(l.words)
	l.words = append(l.words, s)
	l.ids[s] = id
	return id
}

// build makes the automaton; add is over after it.
func (l *literals) build() {
	l.built = true
	// Class 0 is every byte that no literal has.
	l.classes = 1
	for _, w := range l.words {
		for i := range len(w) {
			if c := w[i]; l.class[c] == 0 {
				l.class[c] = uint8(l.classes)
				l.classes++
			}
		}
	}
	for c := byte('a'); c <= 'z'; c++ {
		l.class[c-('a'-'A')] = l.class[c]
	}
	type state struct {
		next map[uint8]int32
		fail int32
	}
	states := []state{{next: map[uint8]int32{}}}
	l.output = [][]int32{nil}
	for id, w := range l.words {
		s := int32(0)
		for i := range len(w) {
			c := l.class[w[i]]
			t, ok := states[s].next[c]
			if !ok {
				t = int32(len(states))
				states[s].next[c] = t
				states = append(states, state{next: map[uint8]int32{}})
				l.output = append(l.output, nil)
			}
			s = t
		}
		l.output[s] = append(l.output[s], int32(id))
	}
	l.next = make([]uint32, len(states)*l.classes)
	queue := make([]int32, 0, len(states))
	for c := range l.classes {
		if t, ok := states[0].next[uint8(c)]; ok {
			l.next[c] = uint32(int(t) * l.classes)
			queue = append(queue, t)
		}
	}
	for i := 0; i < len(queue); i++ {
		s := queue[i]
		f := states[s].fail
		l.output[s] = append(l.output[s], l.output[f]...)
		for c := range l.classes {
			row := int(s)*l.classes + c
			fallback := l.next[int(f)*l.classes+c]
			if t, ok := states[s].next[uint8(c)]; ok {
				states[t].fail = int32(fallback) / int32(l.classes)
				l.next[row] = uint32(int(t) * l.classes)
				queue = append(queue, t)
			} else {
				l.next[row] = fallback
			}
		}
	}
	for i, t := range l.next {
		if len(l.output[int(t)/l.classes]) > 0 {
			l.next[i] = t | outputBit
		}
	}
}

// set is a bitset over literal ids.
type set []uint64

func (b set) has(id int) bool { return b[id/64]&(1<<(id%64)) != 0 }
func (b set) put(id int)      { b[id/64] |= 1 << (id % 64) }

func (l *literals) newSet() set { return make(set, (len(l.words)+63)/64) }

// scan puts the ids of all literals in s into hits. scratch is used where s has
// more than ASCII, and returned for the next call.
func (l *literals) scan(s string, hits set, scratch []byte) []byte {
	state := uint32(0)
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			// Start again on the folded text: a rune may fold to ASCII.
			scratch = appendFold(scratch[:0], s)
			l.scanFolded(scratch, hits)
			return scratch
		}
		state = l.next[state+uint32(l.class[c])]
		if state&outputBit != 0 {
			state &^= outputBit
			for _, id := range l.output[int(state)/l.classes] {
				hits.put(int(id))
			}
		}
	}
	return scratch
}

func (l *literals) scanFolded(b []byte, hits set) {
	state := uint32(0)
	for _, c := range b {
		state = l.next[state+uint32(l.class[c])]
		if state&outputBit != 0 {
			state &^= outputBit
			for _, id := range l.output[int(state)/l.classes] {
				hits.put(int(id))
			}
		}
	}
}
