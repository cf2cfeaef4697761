package detect

import "slices"

// A guard says which values of the small closed sets (type, outcome, transport ...) an event may
// have for a rule to match. Every set has a region of bits: one for each of its values, one for
// "absent" and one for "something else". An event has one bit in each region, so that one AND and
// one comparison decide all of these conditions of a rule at once.
type guard uint64

const anyGuard = ^guard(0)

type guardRegion struct {
	field  Field
	shift  uint
	values []string // nil for a flag
	slots  [guardSlots]int8
}

const (
	guardSlots  = 64
	guardAbsent = 0
	guardOther  = 1
	guardFirst  = 2 // of the values; for a flag: false, true
)

var guardRegions = func() (out []guardRegion) {
	shift := uint(0)
	for _, f := range []Field{Type, Outcome, Severity, ServerTransport, ActorAuthMethod, NetIPClass, PermSource, MCPIsError} {
		r := guardRegion{field: f, shift: shift, values: fieldInfo[f].Enum}
		for i, v := range r.values {
			at := guardSlot(v)
			for r.slots[at] != 0 {
				at = (at + 1) % guardSlots
			}
			r.slots[at] = int8(guardFirst + i)
		}
		shift += r.width()
		out = append(out, r)
	}
	if shift > 64 {
		panic("detect: guards have more than 64 bits")
	}
	return out
}()

func guardSlot(s string) uint {
	return (uint(s[0])*7 + uint(s[len(s)-1])*3 + uint(len(s))) % guardSlots
}

func (r *guardRegion) width() uint {
	if r.values == nil {
		return guardFirst + 2
	}
	return guardFirst + uint(len(r.values))
}

// all are the region's bits, bit is one of them.
func (r *guardRegion) all() guard           { return (1<<r.width() - 1) << r.shift }
func (r *guardRegion) bit(i uint) guard     { return 1 << (r.shift + i) }
func (r *guardRegion) only(set guard) guard { return set | ^r.all() }

// value is the bit of a text.
func (r *guardRegion) value(s string) guard {
	if i := r.find(s); i != 0 {
		return r.bit(i)
	}
	if i := r.find(foldString(s)); i != 0 {
		return r.bit(i)
	}
	return r.bit(guardOther)
}

func (r *guardRegion) find(s string) uint {
	if s == "" {
		return 0
	}
	for at := guardSlot(s); r.slots[at] != 0; at = (at + 1) % guardSlots {
		i := uint(r.slots[at])
		if r.values[i-guardFirst] == s {
			return i
		}
	}
	return 0
}

// limited are the regions that some guard limits, and always that of the type.
func limited(guards ...[]guard) (out []*guardRegion) {
	for i := range guardRegions {
		r := &guardRegions[i]
		limits := func(of []guard) bool {
			return slices.ContainsFunc(of, func(g guard) bool { return g&r.all() != r.all() })
		}
		if i == 0 || slices.ContainsFunc(guards, limits) {
			out = append(out, r)
		}
	}
	return out
}

// guardOf is the event's side: one bit in each region.
func guardOf(ev *Event, regions []*guardRegion) (g guard) {
	for _, r := range regions {
		switch {
		case !ev.Has(r.field):
			g |= r.bit(guardAbsent)
		case r.values != nil:
			g |= r.value(ev.text[r.field])
		default:
			switch ev.num[r.field-firstNumber] {
			case 0:
				g |= r.bit(guardFirst)
			case 1:
				g |= r.bit(guardFirst + 1)
			default:
				g |= r.bit(guardOther)
			}
		}
	}
	return g
}

func (g guard) allows(event guard) bool { return g&event == event }

// split is a condition split for evaluation: a guard that is necessary, and what has to hold
// besides it; nil when the guard decides.
type split struct {
	guard  guard
	rest   pred
	region *guardRegion // the only one that guard limits, where rest is nil
}

// splitOf splits a condition.
func splitOf(p pred) split {
	undecided := split{guard: anyGuard, rest: p}
	switch p := p.(type) {
	case constant:
		if !p {
			return split{}
		}
		return split{guard: anyGuard}
	case hasPred:
		if r := regionOf(p.of); r != nil {
			return split{guard: r.only(r.all() &^ r.bit(guardAbsent)), region: r}
		}
	case *textPred:
		return splitText(p)
	case *numberPred:
		return splitNumber(p)
	case notPred:
		if in := splitOf(p.of); in.rest == nil && in.region != nil {
			return split{guard: in.region.only(^in.guard & in.region.all()), region: in.region}
		}
	case allPred:
		return splitAll(p)
	case anyPred:
		out := split{}
		decided := true
		for i, q := range p {
			in := splitOf(q)
			out.guard |= in.guard
			decided = decided && in.rest == nil && in.region != nil && (i == 0 || in.region == out.region)
			out.region = in.region
		}
		if !decided {
			out.rest, out.region = p, nil
		}
		return out
	}
	return undecided
}

// guarded is a condition of several: what the guards leave open of it, and its own guard.
type guarded struct {
	guard guard
	rest  pred // nil: nothing
}

// guarded splits a condition, and notes its guard.
func (x *index) guarded(p pred) guarded {
	s := splitOf(p)
	x.inner = append(x.inner, s.guard)
	return guarded{s.guard, x.alternatives(s.rest)}
}

func (p *guarded) eval(m *Matcher, ev *Event) bool {
	return p.guard.allows(m.facts) && (p.rest == nil || p.rest.eval(m, ev))
}

// anyGuarded is anyPred for a matcher that knows the event's facts.
type anyGuarded []guarded

func (p anyGuarded) eval(m *Matcher, ev *Event) bool {
	for i := range p {
		if p[i].eval(m, ev) {
			return true
		}
	}
	return false
}

// alternatives is a condition whose alternatives are tried by their guards first.
func (x *index) alternatives(p pred) pred {
	switch p := p.(type) {
	case allPred:
		out := make(allPred, len(p))
		for i, q := range p {
			out[i] = x.alternatives(q)
		}
		return out
	case anyPred:
		out := make(anyGuarded, len(p))
		for i, q := range p {
			out[i] = x.guarded(q)
		}
		return out
	}
	return p
}

func splitAll(p allPred) split {
	out := split{guard: anyGuard}
	var rests allPred
	regions := 0
	for _, q := range p {
		in := splitOf(q)
		out.guard &= in.guard
		switch {
		case in.rest != nil:
			rests = append(rests, in.rest)
		case in.region == nil:
			regions = 2 // several inside, or none
		case in.region != out.region:
			out.region = in.region
			regions++
		}
	}
	if regions != 1 || rests != nil {
		out.region = nil
	}
	switch len(rests) {
	case 0:
	case 1:
		out.rest = rests[0]
	default:
		out.rest = rests
	}
	return out
}

func splitText(p *textPred) split {
	r := regionOf(p.of)
	if r == nil || p.all || p.tests != nil || p.equal == nil {
		return split{guard: anyGuard, rest: p}
	}
	out := split{region: r}
	var set guard
	for v := range p.equal {
		b := r.value(v)
		if b == r.bit(guardOther) {
			out.rest, out.region = p, nil // something else may be this or may not
		}
		set |= b
	}
	if p.neq {
		set = r.all() &^ r.bit(guardAbsent) &^ (set &^ r.bit(guardOther))
	}
	out.guard = r.only(set)
	return out
}

func splitNumber(p *numberPred) split {
	r := regionOf(subject{field: p.field})
	if r == nil || p.op != "" && p.op != "neq" {
		return split{guard: anyGuard, rest: p}
	}
	var set guard
	for _, x := range p.of {
		if x != 0 && x != 1 {
			return split{guard: anyGuard, rest: p}
		}
		set |= r.bit(guardFirst + uint(x))
	}
	if p.op == "neq" {
		set = r.all() &^ r.bit(guardAbsent) &^ set
	}
	return split{guard: r.only(set), region: r}
}

func regionOf(s subject) *guardRegion {
	if s.label != "" {
		return nil
	}
	for i := range guardRegions {
		if guardRegions[i].field == s.field {
			return &guardRegions[i]
		}
	}
	return nil
}
