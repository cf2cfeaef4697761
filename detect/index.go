package detect

import (
	"cmp"
	"math/bits"
	"slices"
)

func trailingZeros(w uint64) int { return bits.TrailingZeros64(w) }

// index leads from the facts of an event to the rules that they make possible. Each rule stands
// under the rarest set of atoms of which it needs one; one without an atom is weak, and looked
// at for every event of the types that its guard allows.
type index struct {
	entries []indexed // by rule
	guards  []guard   // by rule; in a slice of their own because most rules end here
	inner   []guard   // inside conditions
	regions []*guardRegion
	weak    [guardFirst + 14][]int32
	text    []textIndex
	number  []numberIndex
	literal []literalIndex
	finding map[string][]int32
}

// indexed is how a rule stands in the index.
type indexed struct {
	rest  pred      // what the guard leaves open; nil: nothing
	terms []guarded // of a score
	atoms []atom    // under which it stands; nil: weak
}

type textIndex struct {
	field Field
	table textTable
}

type numberIndex struct {
	field Field
	table numberTable
}

type literalIndex struct {
	field Field
	rules [][]int32 // by literal
}

func buildIndex(rules []*Rule) index {
	x := index{finding: map[string][]int32{}}
	for _, r := range rules {
		p := splitOf(r.program.cond)
		e := indexed{rest: x.alternatives(p.rest), atoms: atomsOf(p.rest)}
		for i := range r.program.score {
			e.terms = append(e.terms, x.guarded(r.program.score[i].match))
		}
		x.entries = append(x.entries, e)
		x.guards = append(x.guards, p.guard)
	}
	x.regions = limited(x.guards, x.inner)
	text := map[Field]*textTable{}
	number := map[Field]*numberTable{}
	literal := map[Field]*literalIndex{}
	for i := range x.entries {
		id := int32(i)
		if x.entries[i].atoms == nil {
			x.addWeak(id)
		}
		for _, a := range x.entries[i].atoms {
			switch a.kind {
			case atomFinding:
				x.finding[a.text] = append(x.finding[a.text], id)
			case atomText:
				get(text, a.field).add(a.text, id)
			case atomNumber:
				get(number, a.field).add(a.num, id)
			case atomLiteral:
				l := get(literal, a.field)
				l.field = a.field
				for len(l.rules) <= a.literal {
					l.rules = append(l.rules, nil)
				}
				l.rules[a.literal] = append(l.rules[a.literal], id)
			}
		}
	}
	for f, t := range text {
		t.build()
		x.text = append(x.text, textIndex{f, *t})
	}
	for f, t := range number {
		t.build()
		x.number = append(x.number, numberIndex{f, *t})
	}
	for _, l := range literal {
		x.literal = append(x.literal, *l)
	}
	slices.SortFunc(x.text, func(a, b textIndex) int { return cmp.Compare(a.field, b.field) })
	slices.SortFunc(x.number, func(a, b numberIndex) int { return cmp.Compare(a.field, b.field) })
	slices.SortFunc(x.literal, func(a, b literalIndex) int { return cmp.Compare(a.field, b.field) })
	return x
}

func get[T any](m map[Field]*T, f Field) *T {
	if m[f] == nil {
		m[f] = new(T)
	}
	return m[f]
}

// addWeak puts a rule under every type that it may match.
func (x *index) addWeak(id int32) {
	types := guardRegions[0]
	for i := range types.width() {
		if x.guards[id]&types.bit(i) != 0 {
			x.weak[i] = append(x.weak[i], id)
		}
	}
}

// candidates collects the rules that ev may match in m.candidates.
func (x *index) candidates(m *Matcher, ev *Event) {
	facts := guardOf(ev, x.regions)
	m.facts = facts
	for _, id := range x.weak[trailingZeros(uint64(facts))] { // the type's region is the lowest
		if x.guards[id].allows(facts) {
			m.candidates.put(id)
		}
	}
	for i := range x.text {
		t := &x.text[i]
		if !ev.Has(t.field) {
			continue
		}
		if t.field < firstList {
			m.consider(t.table.find(m, ev.text[t.field]), facts)
			continue
		}
		for _, v := range ev.lists[t.field-firstList] {
			m.consider(t.table.find(m, v), facts)
		}
	}
	for i := range x.number {
		n := &x.number[i]
		if ev.Has(n.field) {
			m.consider(n.table.find(ev.num[n.field-firstNumber]), facts)
		}
	}
	for i := range x.literal {
		l := &x.literal[i]
		if !ev.Has(l.field) {
			continue
		}
		for _, id := range m.hits(ev, l.field).found {
			if int(id) < len(l.rules) {
				m.consider(l.rules[id], facts)
			}
		}
	}
	if len(x.finding) == 0 {
		return
	}
	for i := range ev.finds {
		m.scratch = appendFold(m.scratch[:0], ev.finds[i].Cat)
		m.consider(x.finding[string(m.scratch)], facts)
	}
}

func (m *Matcher) consider(rules []int32, facts guard) {
	for _, id := range rules {
		if m.rs.index.guards[id].allows(facts) {
			m.candidates.put(id)
		}
	}
}

// idSet is a set of rules that is walked in order: a bit per entry, and a bit per word of those.
type idSet struct {
	words, summary []uint64
}

func newIDSet(n int) idSet {
	words := (n + 63) / 64
	return idSet{make([]uint64, words), make([]uint64, (words+63)/64)}
}

func (s *idSet) put(id int32) {
	w := uint32(id) / 64
	s.words[w] |= 1 << (uint32(id) % 64)
	s.summary[w/64] |= 1 << (w % 64)
}
