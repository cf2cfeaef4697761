package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says what a rule compiled to.
type Explanation struct {
	Rule      string
	Title     string
	Fires     string // the rule in one sentence
	OneAlert  time.Duration
	Condition Node     // of match; all of several steps or parts are joined in it
	Closed    []string // what the mask over closed sets asks: "type is tool_call"
	Atoms     []string // one of them leads from an event to the rule; none: see Weak
	// Weak says that no atom leads to the rule: it is looked at for every event that passes Closed.
	Weak       bool
	Literals   int // texts of this rule in the shared literal passes
	Regexps    int // regular expressions that confirm
	Where      int // instructions of the where program; 0: none
	Parts      []Node
	Joined     bool // Condition says no more than that one of Parts holds
	Exceptions []ExceptionNode
}

// ExceptionNode is an exception and its condition.
type ExceptionNode struct {
	Exception
	Node
}

// Node is one condition, and the conditions inside it.
type Node struct {
	Text  string
	How   string // of a condition: how it is decided
	Index bool   // the index has the rule under this condition
	Parts []Node

	// Of a Trace. Raw is what the event has, as the producer sent it: it names persons and holds
	// secrets, and must not be stored or sent on.
	Holds bool
	Raw   []string
}

// Explain says what a rule of rs compiled to.
func (rs *RuleSet) Explain(rule *Rule) Explanation {
	e := &rs.index.entries[rule.Index]
	x := explainer{rs: rs, atoms: e.atoms}
	p := &rule.program
	out := Explanation{Rule: rule.Info.ID, Title: rule.Info.Title, Fires: rule.Summary(), OneAlert: rule.Suppress, Condition: x.node(p.cond), Weak: e.atoms == nil}
	for _, a := range e.atoms {
		out.Atoms = append(out.Atoms, rs.atomText(a))
	}
	slices.Sort(out.Atoms)
	out.Atoms = slices.Compact(out.Atoms) // two steps may ask the same
	for i := range guardRegions {
		if s := guardRegions[i].text(rs.index.guards[rule.Index]); s != "" {
			out.Closed = append(out.Closed, s)
		}
	}
	if out.Joined = rule.multi && p.base == nil; !out.Joined {
		x.atoms = nil
	}
	for i := range p.score {
		n := x.node(p.score[i].match)
		out.Parts = append(out.Parts, Node{Text: rule.termText(i), Parts: []Node{n}})
	}
	x.atoms = nil
	for i := range p.except {
		out.Exceptions = append(out.Exceptions, ExceptionNode{rule.Exceptions[i], x.node(p.except[i].match)})
	}
	if p.where != nil {
		out.Where = len(p.where.program.Bytecode)
	}
	out.Literals, out.Regexps = len(x.literals), x.regexps
	return out
}

// termText names a part of a score with its weight, or a condition of several.
func (r *Rule) termText(i int) string {
	t := &r.program.score[i]
	if r.multi {
		return t.name
	}
	return fmt.Sprintf("%s (adds %g)", t.name, t.add)
}

// text says which values a guard allows in the region; empty where it allows all.
func (r *guardRegion) text(g guard) string {
	if g&r.all() == r.all() {
		return ""
	}
	var in []string
	for i := range r.width() {
		if g&r.bit(i) == 0 {
			continue
		}
		switch {
		case i == guardAbsent:
			in = append(in, "absent")
		case i == guardOther:
			in = append(in, "any other")
		case r.values == nil:
			in = append(in, [...]string{"false", "true"}[i-guardFirst])
		default:
			in = append(in, r.values[i-guardFirst])
		}
	}
	if in == nil {
		in = []string{"impossible"}
	}
	return r.field.String() + " is " + strings.Join(in, ", ")
}

// explainer turns conditions into nodes; with an event it evaluates them on the way.
type explainer struct {
	rs       *RuleSet
	atoms    []atom // of the index
	m        *Matcher
	ev       *Event
	literals map[litRef]bool
	regexps  int
}

type litRef struct {
	field Field
	id    int32
}

func (x *explainer) node(p pred) Node {
	n := Node{}
	switch p := p.(type) {
	case allPred:
		n.Text, n.Parts = "all of", x.nodes(p)
	case anyPred:
		n.Text, n.Parts = "any of", x.nodes(p)
	case notPred:
		n.Text, n.Parts = "not", []Node{x.node(p.of)}
	case constant:
		n.Text, n.How = predText(p), "constant"
	case hasPred:
		n.Text, n.How = predText(p), "presence"
		n.Raw = x.raw(p.of)
	case *numberPred:
		n.Text, n.How = predText(p), "comparison"
		n.Raw = x.raw(subject{field: p.field})
	case *textPred:
		n.Text, n.How = predText(p), x.how(p)
		n.Raw = x.raw(p.of)
	case *refPred:
		n.Text, n.How = predText(p), "comparison"
		n.Raw = append(x.raw(p.a), x.raw(p.b)...)
	case *findingPred:
		n.Text, n.How = predText(p), "each finding"
		if x.ev != nil {
			for _, f := range x.ev.finds {
				n.Raw = append(n.Raw, fmt.Sprintf("%s %s %s %g", f.Cat, f.Rule, f.Dir, f.Score))
			}
		}
	}
	if n.Parts == nil {
		if s := splitOf(p); s.rest == nil && s.region != nil {
			n.How = "mask"
		}
		n.Index = x.indexed(atomsOf(p))
	}
	if x.ev != nil {
		x.m.steps = maxRuleSteps // each is asked anew, beside those that it is part of
		n.Holds = p.eval(x.m, x.ev)
	}
	return n
}

func (x *explainer) nodes(ps []pred) (out []Node) {
	for _, p := range ps {
		out = append(out, x.node(p))
	}
	return out
}

// indexed reports whether these are atoms that the index has the rule under.
func (x *explainer) indexed(atoms []atom) bool {
	for _, a := range atoms {
		if !slices.Contains(x.atoms, a) {
			return false
		}
	}
	return atoms != nil
}

func (x *explainer) how(p *textPred) string {
	literal, regex, other := false, false, p.equal != nil
	for i := range p.tests {
		t := &p.tests[i]
		for _, id := range t.lits {
			if x.literals == nil {
				x.literals = map[litRef]bool{}
			}
			x.literals[litRef{p.of.field, id}] = true
		}
		if t.kind == testRegex {
			regex = true
			x.regexps++
		}
		literal = literal || t.lits != nil
		other = other || t.lits == nil
	}
	var how []string
	if literal {
		how = append(how, "literal pass")
	}
	if regex {
		how = append(how, "regular expression to confirm")
	}
	if other && !regex {
		how = append(how, "each value")
	}
	return strings.Join(how, ", ")
}
