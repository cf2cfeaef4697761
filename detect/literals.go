package detect

import "unicode/utf8"

// literals finds many literal texts in one pass: an Aho-Corasick automaton over
// byte classes with all transitions written out, case folded. Immutable once built.
//
// A state is the place of its row in next, odd where a literal ends in it. A row has the
// following state of each class, then the state's list in output, then its depth. Rows are in
// order of depth, so that the ones that most texts stay in lie together.
type literals struct {
	words   []string // folded
	ids     map[string]int
	class   [256]uint8
	classes uint32
	next    []uint32
	output  [][]int32 // longest first: each is a suffix of the one before
	filter  *filter   // asked first; nil: never
}

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

// litNode is a state while the automaton is made.
type litNode struct {
	kids   []litEdge
	fail   int32
	depth  uint32
	row    uint32
	output []int32
}

type litEdge struct {
	class uint8
	to    int32
}

func (n *litNode) kid(class uint8) (int32, bool) {
	for _, e := range n.kids {
		if e.class == class {
			return e.to, true
		}
	}
	return 0, false
}

// build makes the automaton; add is over after it.
func (l *literals) build() {
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
	nodes := l.trie()
	order := []int32{0}
	for i := 0; i < len(order); i++ {
		for _, e := range nodes[order[i]].kids {
			nodes[e.to].depth = nodes[order[i]].depth + 1
			order = append(order, e.to)
		}
	}
	for _, s := range order[1:] { // a node's fail is less deep, and so done
		n := &nodes[s]
		n.output = append(n.output, nodes[n.fail].output...)
		for _, e := range n.kids {
			nodes[e.to].fail = follow(nodes, n.fail, e.class)
		}
		if n.depth == 1 {
			n.fail = 0
		}
	}
	l.rows(nodes, order)
	l.filter = newFilter(l.words)
}

// trie makes a node for each beginning of a literal, the empty one first.
func (l *literals) trie() []litNode {
	nodes := make([]litNode, 1)
	for id, w := range l.words {
		s := int32(0)
		for i := range len(w) {
			c := l.class[w[i]]
			t, ok := nodes[s].kid(c)
			if !ok {
				t = int32(len(nodes))
				nodes = append(nodes, litNode{})
				nodes[s].kids = append(nodes[s].kids, litEdge{c, t})
			}
			s = t
		}
		nodes[s].output = append(nodes[s].output, int32(id))
	}
	return nodes
}

func follow(nodes []litNode, s int32, class uint8) int32 {
	for {
		if t, ok := nodes[s].kid(class); ok {
			return t
		}
		if s == 0 {
			return 0
		}
		s = nodes[s].fail
	}
}

// rows writes the transitions out.
func (l *literals) rows(nodes []litNode, order []int32) {
	end := uint32(0)
	for _, s := range order {
		n := &nodes[s]
		n.row = end
		if odd := end&1 == 1; odd != (n.output != nil) {
			n.row++
		}
		end = n.row + l.classes + 2
	}
	l.next = make([]uint32, end)
	l.output = [][]int32{nil}
	for _, s := range order {
		n := &nodes[s]
		row := l.next[n.row : n.row+l.classes+2]
		copy(row, l.next[nodes[n.fail].row:][:l.classes]) // the root's are zero: itself
		for _, e := range n.kids {
			row[e.class] = nodes[e.to].row
		}
		row[l.classes], row[l.classes+1] = 0, n.depth
		if n.output != nil {
			row[l.classes] = uint32(len(l.output))
			l.output = append(l.output, n.output)
		}
	}
}

// hits are the literals that were seen in a text or several.
type hits struct {
	bits  []uint64
	found []int32
}

func (l *literals) newHits() hits { return hits{bits: make([]uint64, (len(l.words)+63)/64)} }

func (h *hits) has(id int32) bool { return h.bits[id/64]&(1<<(id%64)) != 0 }

func (h *hits) clear() {
	for _, id := range h.found {
		h.bits[id/64] = 0
	}
	h.found = h.found[:0]
}

// emit notes the literals that end in a state. Where one was seen before, so were its suffixes.
func (l *literals) emit(state uint32, h *hits) {
	for _, id := range l.output[l.next[state+l.classes]] {
		if h.has(id) {
			return
		}
		h.bits[id/64] |= 1 << (id % 64)
		h.found = append(h.found, id)
	}
}

// scan puts the ids of all literals in s into h. scratch is used where s has more than ASCII
// (a rune may fold to ASCII), and returned for the next call.
func (l *literals) scan(s string, h *hits, scratch []byte) []byte {
	if l.filter != nil && l.filter.none(s) {
		return scratch
	}
	if ascii(s) {
		scanLanes(l, s, h)
		return scratch
	}
	scratch = appendFold(scratch[:0], s)
	scanLanes(l, scratch, h)
	return scratch
}

const (
	minLanes = 24 // bytes from which on a text is read in lanes
	numLanes = 4
)

// scanLanes reads a text at four places at once: each step waits for the memory of the one
// before, and four chains wait together. A lane goes on beyond its end while what it has in
// hand began before it.
func scanLanes[T string | []byte](l *literals, s T, h *hits) {
	n := len(s)
	if n < minLanes {
		l1(l, s, 0, h)
		return
	}
	q := n / numLanes
	var a, b, c, d uint32
	next, class := l.next, &l.class
	s0, s1, s2, s3 := s[:q], s[q:][:q], s[2*q:][:q], s[3*q:][:q]
	for i := 0; i < q; i++ {
		a = next[a+uint32(class[s0[i]])]
		b = next[b+uint32(class[s1[i]])]
		c = next[c+uint32(class[s2[i]])]
		d = next[d+uint32(class[s3[i]])]
		if (a|b|c|d)&1 != 0 {
			for _, state := range [numLanes]uint32{a, b, c, d} {
				if state&1 != 0 {
					l.emit(state, h)
				}
			}
		}
	}
	for lane, state := range [numLanes - 1]uint32{a, b, c} {
		depth := uint32(0)
		for i := (lane + 1) * q; i < n && l.next[state+l.classes+1] > depth; i++ {
			state = next[state+uint32(class[s[i]])]
			if state&1 != 0 {
				l.emit(state, h)
			}
			depth++
		}
	}
	l1(l, s[4*q:], d, h)
}

// l1 reads a text in one lane.
func l1[T string | []byte](l *literals, s T, state uint32, h *hits) {
	next, class := l.next, &l.class
	for i := 0; i < len(s); i++ {
		state = next[state+uint32(class[s[i]])]
		if state&1 != 0 {
			l.emit(state, h)
		}
	}
}

// ascii reports whether a text is ASCII.
func ascii(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if load64(s)&highBits != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
