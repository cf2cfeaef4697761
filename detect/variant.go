package detect

import (
	"maps"
	"slices"
)

// variant is a condition with one of its parts left out.
type variant struct {
	text   string // the part, or the condition whose list has it
	value  string // of a list; empty: the part is a condition
	looser bool   // more events match without it
	pred   pred   // the condition without it
}

// without is p with each of its conditions, alternatives and listed values left out in turn.
// implied are fields that have to be there in any case.
func (w written) without(p pred, implied []Field) (out []variant) {
	if _, many := p.(allPred); !many && !fixed(p, implied) {
		out = append(out, variant{w.text(p), "", true, constant(true)})
	}
	return append(out, w.inside(p, implied)...)
}

// fixed reports whether p is nothing that a rule says.
func fixed(p pred, implied []Field) bool {
	if has, ok := p.(hasPred); ok {
		return has.of.label == "" && slices.Contains(implied, has.of.field)
	}
	_, ok := p.(constant)
	return ok
}

func (w written) inside(p pred, implied []Field) (out []variant) {
	switch p := p.(type) {
	case allPred:
		for i, q := range p {
			if _, nested := q.(allPred); !nested && !fixed(q, implied) {
				out = append(out, variant{w.text(q), "", true, allPred(slices.Delete(slices.Clone(p), i, i+1))})
			}
			for _, v := range w.inside(q, implied) {
				q := slices.Clone(p)
				q[i], v.pred = v.pred, q
				out = append(out, v)
			}
		}
	case anyPred:
		for i, q := range p {
			out = append(out, variant{w.text(q), "", false, anyPred(slices.Delete(slices.Clone(p), i, i+1))})
			for _, v := range w.inside(q, implied) {
				q := slices.Clone(p)
				q[i], v.pred = v.pred, q
				out = append(out, v)
			}
		}
	case notPred:
		for _, v := range w.inside(p.of, implied) {
			v.looser, v.pred = !v.looser, notPred{v.pred}
			if v.value == "" {
				v.text = "not: {" + v.text + "}"
			} else {
				v.text = "not " + v.text
			}
			out = append(out, v)
		}
	case *numberPred:
		for i, x := range p.of {
			if len(p.of) == 1 {
				break
			}
			q := *p
			q.of = slices.Delete(slices.Clone(p.of), i, i+1)
			out = append(out, variant{w.key(p, p.field.String()), number(x), p.op == "neq", &q})
		}
	case *textPred:
		out = p.without(w)
	case *findingPred:
		out = p.without(w)
	}
	return out
}

// without leaves out each value of a list of several.
func (p *textPred) without(w written) (out []variant) {
	values := slices.Sorted(maps.Keys(p.equal))
	tests := entries(p.tests)
	if len(values)+len(tests) < 2 {
		return nil
	}
	for _, v := range values {
		q := *p
		if q.equal, q.one = maps.Clone(p.equal), ""; len(values) > 1 {
			delete(q.equal, v)
		} else {
			q.equal = nil
		}
		out = append(out, p.entry(w, v, &q))
	}
	for _, v := range tests {
		q := *p
		q.tests = slices.DeleteFunc(slices.Clone(p.tests), func(t textTest) bool { return t.from == v })
		out = append(out, p.entry(w, v, &q))
	}
	return out
}

func (p *textPred) entry(w written, value string, rest *textPred) variant {
	return variant{w.key(p, p.of.String()), value, p.all || p.neq, rest}
}

// entries are the values that tests were made of, once each.
func entries(tests []textTest) (out []string) {
	for i := range tests {
		if !slices.Contains(out, tests[i].from) {
			out = append(out, tests[i].from)
		}
	}
	return out
}

// without leaves out each part of a finding's condition, and each value of one.
func (p *findingPred) without(w written) (out []variant) {
	for i := range p.parts {
		part := &p.parts[i]
		if len(p.parts) > 1 {
			out = append(out, variant{w.part(p, i), "", true, &findingPred{parts: slices.Delete(slices.Clone(p.parts), i, i+1)}})
		}
		values := entries(part.tests)
		for _, v := range values {
			if len(values) == 1 {
				break
			}
			parts := slices.Clone(p.parts)
			parts[i].tests = slices.DeleteFunc(slices.Clone(part.tests), func(t textTest) bool { return t.from == v })
			out = append(out, variant{"io.findings." + part.sub, v, part.op == "neq", &findingPred{parts: parts}})
		}
	}
	return out
}
