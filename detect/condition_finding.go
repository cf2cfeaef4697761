package detect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

var findingKeys = []string{"cat", "rule", "dir", "score"}

// findings compiles {cat: ssrf, score|gte: 0.7}, or a list of such: one finding
// has to satisfy all parts of one of them.
func (c *compiler) findings(key, value *yaml.Node, m modifiers) compiled {
	if m.op == "exists" {
		on, ok := c.boolean(value)
		if !ok {
			return never
		}
		out := compiled{pred: &findingPred{}, canon: "io.findings|exists()", cost: 1}
		if !on {
			out.pred, out.canon = notPred{out.pred}, "not("+out.canon+")"
		}
		return out
	}
	if m != (modifiers{}) {
		c.d.Report(key, "io.findings takes no modifier but exists", "put modifiers on its keys: {cat: sqli, score|gte: 0.7}")
		return never
	}
	if value.Kind == yaml.SequenceNode && len(value.Content) > 0 {
		var parts []compiled
		for _, n := range value.Content {
			parts = append(parts, c.finding(diag.Resolve(n)))
		}
		return joinAny(parts)
	}
	return c.finding(value)
}

func (c *compiler) finding(n *yaml.Node) compiled {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		c.d.Report(n, "expected a finding such as {cat: sqli, score|gte: 0.7}, found "+diag.Describe(n), "")
		return never
	}
	p := &findingPred{}
	out := compiled{pred: p, cost: 3}
	var canon []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := diag.Resolve(n.Content[i]), diag.Resolve(n.Content[i+1])
		words := strings.Split(key.Value, "|")
		if !slices.Contains(findingKeys, words[0]) {
			c.d.Unknown(key, "key of a finding", words[0], findingKeys)
			continue
		}
		m, ok := c.modifiers(key, words[1:])
		if !ok {
			continue
		}
		part, texts := c.findingPart(key, value, words[0], m)
		p.parts = append(p.parts, part)
		canon = append(canon, canonLeaf(part.sub, m.op+part.op, texts))
	}
	c.said.note(p, &yaml.Node{Kind: yaml.ScalarNode, Value: "io.findings"}, n)
	slices.Sort(canon)
	out.canon = "finding(" + strings.Join(canon, ",") + ")"
	return out
}

func (c *compiler) findingPart(key, value *yaml.Node, sub string, m modifiers) (part findingPart, texts []string) {
	part = findingPart{sub: sub, op: m.op}
	if m.neq {
		part.op = "neq"
	}
	if sub == "score" {
		if !slices.Contains([]string{"gt", "gte", "lt", "lte"}, m.op) {
			c.d.Report(key, "score needs a comparison", "write score|gte: 0.7")
			return part, nil
		}
		x, ok := diag.Float(value)
		if !ok || x < 0 || x > 1 {
			c.d.Errorf(value, "expected a score between 0 and 1, found %s", diag.Describe(value))
			return part, nil
		}
		part.of = []float64{x}
		return part, []string{strconv.FormatFloat(x, 'g', -1, 64)}
	}
	if !slices.Contains([]string{"", "contains", "startswith", "endswith"}, m.op) || m.all || m.cased || m.base64 {
		c.d.Report(key, fmt.Sprintf("%q does not apply to a finding", key.Value), "use contains, startswith, endswith or neq")
		return part, nil
	}
	if m.op == "" && !m.neq {
		part.op = ""
	}
	for _, n := range c.values(value, m) {
		v, ok := c.plainText(n, subject{label: sub})
		if !ok {
			continue
		}
		texts = append(texts, foldString(v))
		// The pseudo label keeps these texts out of the automata.
		for _, t := range c.tests(n, v, subject{label: sub}, m) {
			if t.kind == testRegex {
				c.d.Report(n, "? is not supported here", "use *")
				continue
			}
			t.from = v
			part.tests = append(part.tests, t)
		}
	}
	return part, texts
}
