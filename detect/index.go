package detect

import (
	"cmp"
	"math/bits"
	"slices"
)

func trailingZeros(w uint64) int { return bits.TrailingZeros64(w) }

// atom is a fact about an event that one hash lookup decides.
type atom struct {
	field Field // findingCat for the category of a finding
	text  string
	num   float64
}

// findingCat stands for the categories of the findings in atoms.
const findingCat = NumFields

// index leads from the facts of an event to the rules that they make possible.
// Each rule stands under the rarest set of atoms of which it needs one.
type index struct {
	always  set // rules without an atom
	text    []textIndex
	number  []numberIndex
	finding map[string][]int32
}

type textIndex struct {
	field Field
	rules map[string][]int32 // by folded value
}

type numberIndex struct {
	field Field
	rules map[float64][]int32
}

func buildIndex(rules []*Rule, atoms [][]atom) index {
	x := index{always: make(set, (len(rules)+63)/64), finding: map[string][]int32{}}
	text := map[Field]map[string][]int32{}
	number := map[Field]map[float64][]int32{}
	for i := range rules {
		if len(atoms[i]) == 0 {
			x.always.put(i)
			continue
		}
		for _, a := range atoms[i] {
			switch {
			case a.field == findingCat:
				x.finding[a.text] = append(x.finding[a.text], int32(i))
			case a.field.Kind() == Text || a.field.Kind() == List:
				if text[a.field] == nil {
					text[a.field] = map[string][]int32{}
				}
				text[a.field][a.text] = append(text[a.field][a.text], int32(i))
			default:
				if number[a.field] == nil {
					number[a.field] = map[float64][]int32{}
				}
				number[a.field][a.num] = append(number[a.field][a.num], int32(i))
			}
		}
	}
	for f, r := range text {
		x.text = append(x.text, textIndex{f, r})
	}
	for f, r := range number {
		x.number = append(x.number, numberIndex{f, r})
	}
	slices.SortFunc(x.text, func(a, b textIndex) int { return cmp.Compare(a.field, b.field) })
	slices.SortFunc(x.number, func(a, b numberIndex) int { return cmp.Compare(a.field, b.field) })
	return x
}

// candidates fills m.candidates with the rules that ev may match.
func (x *index) candidates(m *Matcher, ev *Event) {
	copy(m.candidates, x.always)
	for i := range x.text {
		t := &x.text[i]
		if !ev.Has(t.field) {
			continue
		}
		for _, v := range m.folded(ev, subject{field: t.field}) {
			for _, r := range t.rules[string(v)] {
				m.candidates.put(int(r))
			}
		}
	}
	for i := range x.number {
		n := &x.number[i]
		if !ev.Has(n.field) {
			continue
		}
		for _, r := range n.rules[ev.num[n.field-firstNumber]] {
			m.candidates.put(int(r))
		}
	}
	if len(x.finding) == 0 {
		return
	}
	for i := range ev.finds {
		m.scratch = appendFold(m.scratch[:0], ev.finds[i].Cat)
		for _, r := range x.finding[string(m.scratch)] {
			m.candidates.put(int(r))
		}
	}
}

// commonness guesses which share of events has an atom; the index prefers the rare.
func (a atom) commonness() float64 {
	switch a.field {
	case Type:
		switch a.text {
		case "tool_call":
			return 0.6
		case "resource_read", "discovery", "authentication":
			return 0.15
		}
		return 0.03
	case Outcome:
		switch a.text {
		case "success":
			return 0.9
		case "denied", "failure", "error":
			return 0.1
		}
		return 0.05
	case findingCat:
		return 0.01
	case ServerTransport, ActorAuthMethod, NetIPClass, SrcFormat, Env, Tenant, ServerName, Severity, MCPMethod:
		return 0.4
	case Reason, MCPErrorCode, MCPTool, HTTPStatus:
		return 0.01
	}
	if a.field < NumFields && a.field.Kind() == Flag {
		return 0.2
	}
	return 0.05
}

func commonness(atoms []atom) float64 {
	sum := 0.0
	for _, a := range atoms {
		sum += a.commonness()
	}
	return sum
}
