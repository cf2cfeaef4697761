package detect

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"

	"github.com/corazawaf/libinjection-go"
)

// pred is one compiled condition. It is immutable; scratch lives in the Matcher.
type pred interface {
	eval(m *Matcher, ev *Event) bool
}

// subject is what a condition looks at: a field, or a label when name is set.
type subject struct {
	field Field
	label string
}

func (s subject) String() string {
	if s.label != "" {
		return "labels." + s.label
	}
	return s.field.String()
}

func (s subject) kind() Kind {
	if s.label != "" {
		return Text
	}
	return s.field.Kind()
}

type (
	allPred  []pred
	anyPred  []pred
	notPred  struct{ of pred }
	hasPred  struct{ of subject }
	constant bool
)

func (p allPred) eval(m *Matcher, ev *Event) bool {
	for _, q := range p {
		if !q.eval(m, ev) {
			return false
		}
	}
	return true
}

func (p anyPred) eval(m *Matcher, ev *Event) bool {
	for _, q := range p {
		if q.eval(m, ev) {
			return true
		}
	}
	return false
}

func (p notPred) eval(m *Matcher, ev *Event) bool { return !p.of.eval(m, ev) }
func (p hasPred) eval(m *Matcher, ev *Event) bool { return m.has(ev, p.of) }
func (p constant) eval(*Matcher, *Event) bool     { return bool(p) }

// numberPred compares a number or flag field.
type numberPred struct {
	field Field
	op    string
	of    []float64
}

func (p *numberPred) eval(_ *Matcher, ev *Event) bool {
	return ev.Has(p.field) && compare(p.op, ev.num[p.field-firstNumber], p.of)
}

func compare(op string, x float64, of []float64) bool {
	switch op {
	case "gt":
		return x > of[0]
	case "gte":
		return x >= of[0]
	case "lt":
		return x < of[0]
	case "lte":
		return x <= of[0]
	}
	for _, y := range of {
		if x == y {
			return op != "neq"
		}
	}
	return op == "neq"
}

// textPred holds when some value of the subject passes one of the tests, or
// with all set, when every test is passed by some value.
type textPred struct {
	of    subject
	equal map[string]struct{} // folded; besides tests, never with all
	one   string              // the only one of equal
	long  int                 // no longer text can have one of equal as its folded form
	tests []textTest
	needs bool // every test needs a literal of the field
	all   bool
	neq   bool // the subject has a value, and none passes
}

func (p *textPred) eval(m *Matcher, ev *Event) bool {
	if p.neq {
		return m.has(ev, p.of) && !p.any(m, ev)
	}
	if !p.all {
		return p.any(m, ev)
	}
	for i := range p.tests {
		if !p.tests[i].eval(m, ev, p.of) {
			return false
		}
	}
	return m.has(ev, p.of)
}

func (p *textPred) any(m *Matcher, ev *Event) bool {
	if p.equal != nil {
		for _, v := range m.values(ev, p.of) {
			if !m.spend(valueSteps) {
				return false
			}
			if p.equals(m, v) {
				return true
			}
		}
	}
	if p.needs && len(m.hits(ev, p.of.field).found) == 0 {
		return false
	}
	for i := range p.tests {
		if p.tests[i].eval(m, ev, p.of) {
			return true
		}
	}
	return false
}

// equals reports whether v is one of the values that equal has.
func (p *textPred) equals(m *Matcher, v string) bool {
	if len(v) > p.long {
		return false
	}
	if p.one != "" && ascii(v) {
		return equalASCII(v, p.one)
	}
	m.scratch = appendFold(m.scratch[:0], v)
	_, ok := p.equal[string(m.scratch)]
	return ok
}

type testKind uint8

const (
	testEqual testKind = iota
	testPrefix
	testSuffix
	testContains
	testGlob
	testRegex
	testCIDR
	testSQLi
	testXSS
)

// textTest is one value of a condition.
type textTest struct {
	kind  testKind
	from  string // the value that it was made of, which may make several
	cased bool
	text  []byte   // folded unless cased
	parts [][]byte // of a glob: the texts between stars, in order
	re    *regexp.Regexp
	size  int     // of re: instructions
	lits  []int32 // ids of literals in the field's automaton, one of which is necessary; nil: unknown
	lens  []int   // of each of them
	cidr  netip.Prefix
}

func (t *textTest) eval(m *Matcher, ev *Event, s subject) bool {
	if t.lits != nil && s.label == "" {
		hits := m.hits(ev, s.field)
		found := false
		for _, id := range t.lits {
			if hits.has(id) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
		if t.kind == testContains && !t.cased {
			return true
		}
	}
	if t.kind == testRegex {
		return t.regex(m, m.values(ev, s))
	}
	if t.kind == testCIDR && s.label == "" && s.field < firstList {
		a, ok := m.address(ev, s.field)
		return ok && t.cidr.Contains(a)
	}
	if t.cased || t.kind >= testRegex {
		for _, v := range m.values(ev, s) {
			if !m.spend(t.steps(len(v))) {
				return t.lits != nil
			}
			if t.raw(v) {
				return true
			}
		}
		return false
	}
	for _, v := range m.folded(ev, s) {
		if !m.spend(t.steps(len(v))) {
			return t.lits != nil
		}
		if t.bytes(v) {
			return true
		}
	}
	return false
}

func (t *textTest) regex(m *Matcher, values []string) bool {
	left := maxRegexBytes
	for _, v := range values {
		n := min(len(v), left, max(0, m.steps)/t.size)
		m.spend(valueSteps + n*t.size)
		if n < len(v) {
			return t.lits != nil || t.re.MatchString(v[:n])
		}
		if t.re.MatchString(v) {
			return true
		}
		left -= n
	}
	return false
}

func (t *textTest) raw(v string) bool {
	switch t.kind {
	case testCIDR:
		a, ok := parseAddr(v)
		return ok && t.cidr.Contains(a)
	case testSQLi:
		ok, _ := libinjection.IsSQLi(v[:min(len(v), maxClassify)])
		return ok
	case testXSS:
		return libinjection.IsXSS(v[:min(len(v), maxClassify)])
	case testEqual:
		return v == string(t.text)
	case testPrefix:
		return len(v) >= len(t.text) && v[:len(t.text)] == string(t.text)
	case testSuffix:
		return len(v) >= len(t.text) && v[len(v)-len(t.text):] == string(t.text)
	case testContains:
		return strings.Contains(v, string(t.text))
	}
	return t.bytes([]byte(v))
}

func parseAddr(v string) (netip.Addr, bool) {
	if len(v) > 64 {
		return netip.Addr{}, false // a zone may be long, and is nothing that a range has
	}
	a, err := netip.ParseAddr(v)
	return a.Unmap().WithZone(""), err == nil
}

func (t *textTest) bytes(v []byte) bool {
	switch t.kind {
	case testEqual:
		return bytes.Equal(v, t.text)
	case testPrefix:
		return bytes.HasPrefix(v, t.text)
	case testSuffix:
		return bytes.HasSuffix(v, t.text)
	case testContains:
		return bytes.Contains(v, t.text)
	case testGlob:
		return glob(t.parts, v)
	}
	return false
}

// glob matches v against texts with any bytes between them: parts[0] is a
// prefix and the last a suffix. Leftmost search is enough, and linear.
func glob(parts [][]byte, v []byte) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(v) < len(first)+len(last) || !bytes.HasPrefix(v, first) || !bytes.HasSuffix(v, last) {
		return false
	}
	v = v[len(first) : len(v)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := bytes.Index(v, p)
		if i < 0 {
			return false
		}
		v = v[i+len(p):]
	}
	return true
}

// refPred compares two fields of one event.
type refPred struct {
	a, b  subject
	cased bool
	neq   bool
}

func (p *refPred) eval(m *Matcher, ev *Event) bool {
	if !m.has(ev, p.a) || !m.has(ev, p.b) {
		return false
	}
	same, ok := p.equal(m, ev)
	return ok && same != p.neq
}

// equal compares; it is not ok where the steps do not suffice.
func (p *refPred) equal(m *Matcher, ev *Event) (same, ok bool) {
	if k := p.a.kind(); k == Number || k == Flag {
		return ev.num[p.a.field-firstNumber] == ev.num[p.b.field-firstNumber], true
	}
	var one, two [1]string
	for _, x := range valuesOf(ev, p.a, &one) {
		for _, y := range valuesOf(ev, p.b, &two) {
			if !m.spend(valueSteps + min(len(x), len(y))/8) {
				return false, false
			}
			if x == y || !p.cased && equalFold(x, y) {
				return true, true
			}
		}
	}
	return false, true
}

// equalFold is equality of folded forms without making them.
func equalFold(x, y string) bool { return strings.EqualFold(x, y) }

// findingPred holds when one finding passes every part.
type findingPred struct{ parts []findingPart }

type findingPart struct {
	sub   string // cat, rule, dir, score
	tests []textTest
	op    string
	of    []float64
}

func (p *findingPred) eval(m *Matcher, ev *Event) bool {
next:
	for i := range ev.finds {
		for j := range p.parts {
			if !p.parts[j].holds(m, &ev.finds[i]) {
				continue next
			}
		}
		return true
	}
	return false
}

func (p *findingPart) holds(m *Matcher, f *Finding) bool {
	var v string
	switch p.sub {
	case "score":
		return compare(p.op, f.Score, p.of)
	case "cat":
		v = f.Cat
	case "rule":
		v = f.Rule
	case "dir":
		v = f.Dir
	}
	m.scratch = appendFold(m.scratch[:0], v)
	for i := range p.tests {
		if p.tests[i].bytes(m.scratch) {
			return p.op != "neq"
		}
	}
	return p.op == "neq"
}
