package detect

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// predText is a condition on one line.
func predText(p pred) string {
	switch p := p.(type) {
	case allPred:
		return joinedText(p, " and ")
	case anyPred:
		return joinedText(p, " or ")
	case notPred:
		return "not " + predText(p.of)
	case hasPred:
		return p.of.String() + " is there"
	case *numberPred:
		return p.field.String() + " " + compareText(p.op, p.of)
	case *textPred:
		return p.text()
	case *refPred:
		if p.neq {
			return fmt.Sprintf("%s differs from %s", p.a, p.b)
		}
		return fmt.Sprintf("%s equals %s", p.a, p.b)
	case *findingPred:
		return p.text()
	}
	return fmt.Sprint(p)
}

func joinedText(ps []pred, joint string) string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = predText(p)
	}
	return "(" + strings.Join(texts, joint) + ")"
}

func compareText(op string, of []float64) string {
	var values []string
	for _, x := range of {
		values = append(values, strconv.FormatFloat(x, 'g', -1, 64))
	}
	list := strings.Join(values, ", ")
	switch op {
	case "":
		return "is " + list
	case "neq":
		return "is not " + list
	}
	return map[string]string{"gt": "> ", "gte": ">= ", "lt": "< ", "lte": "<= "}[op] + list
}

func (p *textPred) text() string {
	var parts []string
	if p.equal != nil {
		parts = append(parts, "is "+strings.Join(p.values(), ", "))
	}
	for i := range p.tests {
		parts = append(parts, p.tests[i].describe())
	}
	joint := " or "
	if p.all {
		joint = " and "
	}
	text := p.of.String() + " " + strings.Join(parts, joint)
	if p.neq {
		text = "there is a value, and not: " + text
	}
	return text
}

// values are what the subject may be: a closed set in its own order, so that severities come by
// severity, and others by the alphabet.
func (p *textPred) values() []string {
	out := slices.Sorted(maps.Keys(p.equal))
	if f, ok := FieldByName(p.of.String()); ok {
		of := f.Info().Enum
		slices.SortStableFunc(out, func(a, b string) int { return slices.Index(of, a) - slices.Index(of, b) })
	}
	return out
}

func (t *textTest) describe() string {
	cased := ""
	if t.cased && t.kind < testRegex {
		cased = " (cased)"
	}
	switch t.kind {
	case testEqual:
		return fmt.Sprintf("is %q", t.text) + cased
	case testPrefix:
		return fmt.Sprintf("starts with %q", t.text) + cased
	case testSuffix:
		return fmt.Sprintf("ends with %q", t.text) + cased
	case testContains:
		return fmt.Sprintf("contains %q", t.text) + cased
	case testGlob:
		var parts []string
		for _, p := range t.parts {
			parts = append(parts, string(p))
		}
		return fmt.Sprintf("is like %q", strings.Join(parts, "*")) + cased
	case testRegex:
		return "matches /" + t.re.String() + "/"
	case testCIDR:
		return "is in " + t.cidr.String()
	case testSQLi:
		return "looks like an SQL injection"
	}
	return "looks like cross-site scripting"
}

func (p *findingPred) text() string {
	if p.parts == nil {
		return "there is a finding"
	}
	var parts []string
	for i := range p.parts {
		part := &p.parts[i]
		if part.sub == "score" {
			parts = append(parts, "score "+compareText(part.op, part.of))
			continue
		}
		var tests []string
		for j := range part.tests {
			tests = append(tests, part.tests[j].describe())
		}
		not := ""
		if part.op == "neq" {
			not = "not "
		}
		parts = append(parts, part.sub+" "+not+strings.Join(tests, " or "))
	}
	return "a finding with " + strings.Join(parts, " and ")
}

// Write appends the explanation as indented text.
func (e *Explanation) Write(b *strings.Builder) {
	fmt.Fprintf(b, "%s  %s\n  fires on     %s\n  one alert    every %s\n", e.Rule, e.Title, e.Fires, Span(e.OneAlert))
	b.WriteString("an event matches with\n")
	if !e.Joined {
		e.Condition.write(b, 1, false)
	}
	for i := range e.Parts {
		e.Parts[i].write(b, 1, false)
	}
	for i := range e.Exceptions {
		x := &e.Exceptions[i]
		fmt.Fprintf(b, "  excepted by %s, expires %s: %s\n", x.Name, x.Expires.Format(time.DateOnly), x.Reason)
		x.write(b, 2, false)
	}
	b.WriteString("how it is evaluated\n")
	for _, c := range e.Closed {
		fmt.Fprintf(b, "  closed set   %s\n", c)
	}
	for _, a := range e.Atoms {
		fmt.Fprintf(b, "  index        %s\n", a)
	}
	if e.Weak {
		fmt.Fprintf(b, "  index        nothing: looked at for every event of these sets\n")
	}
	fmt.Fprintf(b, "  uses         %d literals, %d regular expressions, %d instructions of where\n", e.Literals, e.Regexps, e.Where)
}

func (n *Node) write(b *strings.Builder, depth int, traced bool) {
	b.WriteString(strings.Repeat("  ", depth))
	if traced {
		b.WriteString(map[bool]string{true: "yes ", false: "no  "}[n.Holds])
	}
	b.WriteString(n.Text)
	if n.How != "" {
		fmt.Fprintf(b, "  [%s]", n.How)
	}
	if n.Index {
		b.WriteString(" [index]")
	}
	if traced && n.Parts == nil && n.How != "constant" {
		if n.Raw == nil {
			b.WriteString("  absent")
		} else {
			fmt.Fprintf(b, "  raw: %q", n.Raw)
		}
	}
	b.WriteByte('\n')
	for i := range n.Parts {
		n.Parts[i].write(b, depth+1, traced)
	}
}
