package detect

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// field compiles one condition on one field or label.
func (c *compiler) field(key, value *yaml.Node, s subject, m modifiers) compiled {
	switch m.op {
	case "exists":
		on, ok := c.boolean(value)
		if !ok {
			return never
		}
		if !on {
			return compiled{pred: notPred{hasPred{s}}, canon: canonLeaf(s.String(), "exists", []string{"false"}), cost: 1}
		}
		return compiled{pred: hasPred{s}, canon: canonLeaf(s.String(), "exists", nil), cost: 1}
	case "fieldref":
		return c.fieldref(value, s, m)
	}
	switch s.kind() {
	case Number:
		return c.number(key, value, s, m)
	case Flag:
		on, ok := c.boolean(value)
		if !ok || !c.plainOnly(key, s, m) {
			return never
		}
		x := 0.0
		if on {
			x = 1
		}
		op := ""
		if m.neq {
			op = "neq"
		}
		return compiled{pred: &numberPred{s.field, op, []float64{x}}, canon: canonLeaf(s.String(), op, []string{strconv.FormatBool(on)}), cost: 1}
	}
	return c.text(key, value, s, m)
}

func (c *compiler) boolean(n *yaml.Node) (on, ok bool) {
	before := c.d.Len()
	c.d.Decode(n, &on)
	return on, c.d.Len() == before
}

func (c *compiler) plainOnly(key *yaml.Node, s subject, m modifiers) bool {
	if m.op != "" || m.all || m.cased || m.base64 || m.list {
		c.d.Errorf(key, "%s is true or false: it takes no modifier but neq, exists and fieldref", s)
		return false
	}
	return true
}

func (c *compiler) number(key, value *yaml.Node, s subject, m modifiers) compiled {
	op := m.op
	if m.neq {
		op = "neq"
	}
	if !slices.Contains([]string{"", "neq", "gt", "gte", "lt", "lte"}, op) || m.all || m.cased || m.base64 {
		c.d.Report(key, fmt.Sprintf("%s is a number: %q does not apply", s, key.Value), "numbers take gt, gte, lt, lte, neq, list, exists, fieldref")
		return never
	}
	p := &numberPred{field: s.field, op: op}
	out := compiled{cost: 1}
	var texts []string
	for _, n := range c.values(value, m) {
		x, ok := diag.Float(n)
		if !ok {
			c.d.Errorf(n, "%s is a number, found %s", s, diag.Describe(n))
			continue
		}
		p.of = append(p.of, x)
		texts = append(texts, strconv.FormatFloat(x, 'g', -1, 64))
	}
	if len(p.of) == 0 {
		return never
	}
	if len(p.of) > 1 && op != "" && op != "neq" {
		c.d.Errorf(value, "%q compares with one number, found a list", op)
		return never
	}
	out.pred, out.canon = p, canonLeaf(s.String(), op, texts)
	return out
}

func (c *compiler) fieldref(value *yaml.Node, s subject, m modifiers) compiled {
	other, ok := c.subject(value, value.Value)
	if !ok {
		return never
	}
	a, b := s.kind(), other.kind()
	textual := func(k Kind) bool { return k == Text || k == List }
	if a != b && !(textual(a) && textual(b)) {
		c.d.Errorf(value, "%s and %s hold different kinds of values", s, other)
		return never
	}
	op := "fieldref"
	if m.neq {
		op = "fieldref neq"
	}
	if m.cased {
		op += " cased"
	}
	return compiled{pred: &refPred{s, other, m.cased, m.neq}, canon: canonLeaf(s.String(), op, []string{other.String()}), cost: 3}
}

func (c *compiler) text(key, value *yaml.Node, s subject, m modifiers) compiled {
	switch m.op {
	case "gt", "gte", "lt", "lte":
		c.d.Report(key, fmt.Sprintf("%s is text: %q does not apply", s, m.op), "")
		return never
	case "sqli", "xss":
		on, ok := c.boolean(value)
		if !ok {
			return never
		}
		kind := testSQLi
		if m.op == "xss" {
			kind = testXSS
		}
		out := compiled{pred: &textPred{of: s, tests: []textTest{{kind: kind}}}, canon: canonLeaf(s.String(), m.op, nil), cost: 100}
		if !on {
			out.pred, out.canon = notPred{out.pred}, "not("+out.canon+")"
		}
		return out
	}
	p := &textPred{of: s, all: m.all, neq: m.neq}
	out := compiled{cost: 2}
	var texts []string
	for _, n := range c.values(value, m) {
		v, ok := c.plainText(n, s)
		if !ok {
			continue
		}
		if msg, hint := checkEnum(s, v, m); msg != "" {
			c.d.Report(n, msg, hint)
			continue
		}
		if !m.cased && m.op != "re" {
			texts = append(texts, foldString(v))
		} else {
			texts = append(texts, v)
		}
		for _, t := range c.tests(n, v, s, m) {
			t.from = v
			if t.kind == testEqual && !t.cased && !m.all {
				if p.equal == nil {
					p.equal = map[string]struct{}{}
				}
				p.equal[string(t.text)] = struct{}{}
				p.long = max(p.long, 4*len(t.text)) // a rune of four bytes may fold to one
				continue
			}
			p.tests = append(p.tests, t)
			out.cost = max(out.cost, testCost(&t, s))
		}
	}
	if p.equal == nil && p.tests == nil {
		return never
	}
	if len(p.equal) == 1 {
		for v := range p.equal {
			p.one = v
		}
	}
	p.needs = p.tests != nil && !slices.ContainsFunc(p.tests, func(t textTest) bool { return t.lits == nil })
	op := m.op
	for _, f := range []struct {
		on   bool
		name string
	}{{m.all, "all"}, {m.cased, "cased"}, {m.neq, "neq"}, {m.base64, "base64"}} {
		if f.on {
			op += "+" + f.name
		}
	}
	out.pred, out.canon = p, canonLeaf(s.String(), op, texts)
	return out
}

// testCost orders conditions: what a bit of the literal pass decides comes
// before what has to look at a long text.
func testCost(t *textTest, s subject) int {
	long := 0
	if s.label == "" && (s.field == IOArgs || s.field == IOResult) {
		long = 12
	}
	switch t.kind {
	case testContains:
		return 10
	case testRegex:
		if t.lits != nil {
			return 11
		}
		return 30
	case testSQLi, testXSS:
		return 100
	case testCIDR, testGlob:
		return 5 + long
	}
	return 2 + long
}

// plainText is a scalar as text: rules write numbers and yes without quotes.
func (c *compiler) plainText(n *yaml.Node, s subject) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		c.d.Errorf(n, "%s: expected a value, found %s", s, diag.Describe(n))
		return "", false
	}
	if n.Value == "" {
		c.d.Report(n, fmt.Sprintf("%s: an empty text never matches", s), "an absent field is {"+s.String()+"|exists: false}")
		return "", false
	}
	return n.Value, true
}

// checkEnum refuses values that a field with a closed set can never have.
func checkEnum(s subject, v string, m modifiers) (msg, hint string) {
	if s.label != "" || m.op != "" || m.base64 || strings.ContainsAny(v, "*?") {
		return "", ""
	}
	enum := s.field.Info().Enum
	if enum == nil || slices.Contains(enum, foldString(v)) {
		return "", ""
	}
	return fmt.Sprintf("%s is never %q", s, v), diag.Suggest(v, enum)
}

// tests compiles one value; most make one test, a pattern set makes several.
func (c *compiler) tests(n *yaml.Node, v string, s subject, m modifiers) []textTest {
	switch m.op {
	case "re":
		if t, ok := c.regex(n, v, s); ok {
			return []textTest{t}
		}
		return nil
	case "cidr":
		prefix, err := netip.ParsePrefix(v)
		if err != nil {
			addr, err2 := netip.ParseAddr(v)
			if err2 != nil {
				c.d.Report(n, fmt.Sprintf("%q is not an address range", v), "write it as 198.51.100.0/28")
				return nil
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		return []textTest{{kind: testCIDR, cidr: prefix.Masked()}}
	case "patterns":
		set, ok := patternSets[v]
		if !ok {
			c.d.Unknown(n, "pattern set", v, patternNames())
			return nil
		}
		var out []textTest
		for _, word := range set.contains {
			out = append(out, c.contains(word, s, false))
		}
		for _, re := range set.regex {
			if t, ok := c.regex(n, re, s); ok {
				out = append(out, t)
			}
		}
		return out
	}
	if m.base64 {
		return c.encoded(v, s, m)
	}
	parts := splitGlob(v)
	switch m.op {
	case "contains":
		parts = slices.Concat([]string{""}, parts, []string{""})
	case "startswith":
		parts = append(parts, "")
	case "endswith":
		parts = append([]string{""}, parts...)
	}
	return []textTest{c.glob(parts, s, m.cased)}
}

// encoded looks for the base64 form: the whole value, or with contains what the
// text becomes at each of the three places where it can begin in a group.
func (c *compiler) encoded(v string, s subject, m modifiers) []textTest {
	if m.op == "" {
		return []textTest{{kind: testEqual, cased: true, text: []byte(base64.StdEncoding.EncodeToString([]byte(v)))}}
	}
	var out []textTest
	for offset := range 3 {
		enc := base64.StdEncoding.EncodeToString(append(make([]byte, offset), v...))
		enc = enc[[]int{0, 2, 3}[offset]:]
		enc = enc[:len(enc)-[]int{0, 3, 2}[(len(v)+offset)%3]]
		out = append(out, c.contains(strings.TrimRight(enc, "="), s, true))
	}
	return out
}

func (c *compiler) contains(v string, s subject, cased bool) textTest {
	t := textTest{kind: testContains, cased: cased, text: []byte(v)}
	if !cased {
		t.text = []byte(foldString(v))
	}
	c.literal(&t, s, v)
	return t
}

// literal registers texts in the field's automaton, of which t needs one; labels have none.
func (c *compiler) literal(t *textTest, s subject, texts ...string) {
	if s.label != "" || len(texts) == 0 {
		return
	}
	l := c.literals[s.field]
	if l == nil {
		l = &literals{}
		c.literals[s.field] = l
	}
	for _, text := range texts {
		id := l.add(text)
		t.lits, t.lens = append(t.lits, int32(id)), append(t.lens, len(l.words[id]))
	}
}

func (c *compiler) regex(n *yaml.Node, v string, s subject) (textTest, bool) {
	if len(v) > 2000 {
		c.d.Report(n, "regular expression is longer than 2000 bytes", "")
		return textTest{}, false
	}
	re, err := regexp.Compile(v)
	if err != nil {
		hint := "the syntax is RE2, see https://golang.org/s/re2syntax"
		if strings.Contains(v, "(?!") || strings.Contains(v, "(?<") || strings.Contains(v, "(?=") {
			hint = "RE2 has no look-around: use not: with a second condition"
		}
		c.d.Report(n, strings.Replace(err.Error(), "error parsing regexp: ", "regular expression: ", 1), hint)
		return textTest{}, false
	}
	t := textTest{kind: testRegex, re: re, size: regexSize(v), cased: true}
	c.literal(&t, s, regexLiterals(v)...)
	return t, true
}

// regexSize is how many instructions an expression, which compiles, has: a counted repetition
// has its inside as many times.
func regexSize(v string) int {
	tree, err := syntax.Parse(v, syntax.Perl)
	if err != nil {
		return maxRegexBytes
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return maxRegexBytes
	}
	return len(prog.Inst)
}
