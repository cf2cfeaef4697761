package detect

import (
	"fmt"
	"math"
)

// atom is a fact about an event that one lookup decides, or the literal pass of its field.
type atom struct {
	kind    atomKind
	field   Field
	text    string // folded
	num     float64
	literal int // id in the field's automaton
	length  int // of the literal
}

type atomKind uint8

const (
	atomText atomKind = iota
	atomNumber
	atomLiteral
	atomFinding // the category of a finding
)

// minAtomLiteral is the length below which a literal is in nearly every text.
const minAtomLiteral = 2

// atomsOf returns the rarest set of atoms of which a condition needs one to hold; nil when there
// is none.
func atomsOf(p pred) []atom {
	switch p := p.(type) {
	case *textPred:
		return p.atoms()
	case *numberPred:
		if p.op != "" {
			return nil
		}
		var out []atom
		for _, x := range p.of {
			out = append(out, atom{kind: atomNumber, field: p.field, num: x})
		}
		return out
	case *findingPred:
		return p.atoms()
	case allPred:
		var best []atom
		for _, q := range p {
			best = rarer(best, atomsOf(q))
		}
		return best
	case anyPred:
		var all []atom
		for _, q := range p {
			in := atomsOf(q)
			if in == nil {
				return nil
			}
			all = append(all, in...)
		}
		return all
	}
	return nil
}

func (p *textPred) atoms() (out []atom) {
	if p.neq || p.of.label != "" {
		return nil
	}
	if p.all {
		for i := range p.tests {
			out = rarer(out, p.tests[i].atoms(p.of.field))
		}
		return out
	}
	for v := range p.equal {
		out = append(out, atom{kind: atomText, field: p.of.field, text: v})
	}
	for i := range p.tests {
		in := p.tests[i].atoms(p.of.field)
		if in == nil {
			return nil
		}
		out = append(out, in...)
	}
	return out
}

func (t *textTest) atoms(f Field) (out []atom) {
	if t.kind == testEqual {
		return []atom{{kind: atomText, field: f, text: foldString(string(t.text))}}
	}
	for i, id := range t.lits {
		if t.lens[i] < minAtomLiteral {
			return nil
		}
		out = append(out, atom{kind: atomLiteral, field: f, literal: int(id), length: t.lens[i]})
	}
	return out
}

func (p *findingPred) atoms() (out []atom) {
	for i := range p.parts {
		part := &p.parts[i]
		if part.sub != "cat" || part.op != "" {
			continue
		}
		var in []atom
		for j := range part.tests {
			if part.tests[j].kind != testEqual {
				return out
			}
			in = append(in, atom{kind: atomFinding, text: string(part.tests[j].text)})
		}
		out = rarer(out, in)
	}
	return out
}

func rarer(a, b []atom) []atom {
	if a == nil || b != nil && commonness(b) < commonness(a) {
		return b
	}
	return a
}

// commonness guesses which share of events has an atom; the index prefers the rare.
func (a atom) commonness() float64 {
	switch a.kind {
	case atomFinding:
		return 0.01
	case atomLiteral:
		// Each further byte makes it rarer. An equality that names one of many values is rarer than
		// a short literal, and its lookup is cheaper than the pass.
		return max(0.0002, 0.6*math.Pow(0.4, float64(a.length-1)))
	}
	switch a.field {
	case Tenant, Env, SrcFormat, SrcProducer, MCPMethod, MCPProtocolVersion, ClientName, ActorIssuer, ServerVersion, NetTLS:
		return 0.4
	case ServerName, ActorAudience, ActorScopes, ActorRoles, HTTPStatus, NetPort:
		return 0.05
	case Reason, MCPErrorCode, MCPTool, PermAction:
		return 0.01
	case ActorSubject, ActorClientID, ActorToken, NetIP, MCPSession, MCPHandle, TraceID, SpanID, ID:
		return 0.001
	}
	if a.kind == atomNumber {
		return 0.05
	}
	return 0.02
}

func commonness(atoms []atom) float64 {
	sum := 0.0
	for _, a := range atoms {
		sum += a.commonness()
	}
	return sum
}

// atomText says what an atom is: mcp.tool rm, io.args ~xp_cmdshell, finding sqli.
func (rs *RuleSet) atomText(a atom) string {
	switch a.kind {
	case atomFinding:
		return "finding " + a.text
	case atomLiteral:
		return fmt.Sprintf("%s ~%s", a.field, rs.literals[a.field].words[a.literal])
	case atomNumber:
		return fmt.Sprintf("%s %g", a.field, a.num)
	}
	return fmt.Sprintf("%s %s", a.field, a.text)
}
