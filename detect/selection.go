package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// What a selection means:
//
//   - Keys of a selection are joined by and; a list of selections, and any:, by or; not: negates.
//     A list of values means one of them, with |all every one of them.
//   - Text compares without regard to case (Unicode simple folding, rune by rune: K is k is the
//     Kelvin sign, but ß is not ss) unless |cased. Regular expressions (|re, RE2) say (?i) themselves.
//   - In values * is any text and ? one character; \* \? \\ are the characters themselves, and a
//     backslash before anything else is a backslash.
//   - A field with several values matches when one of them does; with |all each value may find
//     its own. io.args and io.result are every text inside the arguments and the result.
//   - An absent field matches nothing, |neq included; only |exists: false and not: hold without it.
//   - io.findings: {cat: ssrf, score|gte: 0.7} asks for one finding that satisfies all keys; a list
//     of such for one that satisfies one of them.
//   - A regular expression reads 64 KiB of an event's field, less where it is large; in what
//     lies beyond, a literal that every match needs decides, so that padding cannot hide an attack.

// compiled is a condition on its way into a rule.
type compiled struct {
	pred  pred
	canon string // what it means, for the rule's hash: equal meanings are equal texts
	cost  int
}

// compiler turns selections into predicates. Literals of all rules share one
// automaton per field.
type compiler struct {
	d        *diag.Ctx
	literals *[firstNumber]*literals
	lists    map[string]*list
	said     written
}

// list is a named list of values, inline or from a file.
type list struct {
	values []*yaml.Node
	used   bool
}

var never = compiled{pred: constant(false), canon: "never"}

// selection compiles a match: keys are joined by and, a list of selections by or.
func (c *compiler) selection(n *yaml.Node) compiled {
	n = diag.Resolve(n)
	switch n.Kind {
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			c.d.Report(n, "empty list of selections", "")
			return never
		}
		return joinAny(c.selections(n))
	case yaml.MappingNode:
		if len(n.Content) == 0 {
			c.d.Report(n, "empty selection", "name at least one field, such as {type: tool_call}")
			return never
		}
		var parts []compiled
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, c.entry(diag.Resolve(n.Content[i]), diag.Resolve(n.Content[i+1])))
		}
		return joinAll(parts)
	}
	c.d.Report(n, "expected a selection such as {type: tool_call}, found "+diag.Describe(n), "")
	return never
}

func (c *compiler) selections(n *yaml.Node) []compiled {
	if n.Kind == yaml.MappingNode {
		var parts []compiled
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, c.entry(diag.Resolve(n.Content[i]), diag.Resolve(n.Content[i+1])))
		}
		return parts
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		c.d.Report(n, "expected a list of selections, found "+diag.Describe(n), "write [{field: value}, {field: value}]")
		return []compiled{never}
	}
	var parts []compiled
	for _, s := range n.Content {
		parts = append(parts, c.selection(s))
	}
	return parts
}

func (c *compiler) entry(key, value *yaml.Node) compiled {
	switch key.Value {
	case "all":
		return joinAll(c.selections(value))
	case "any":
		return joinAny(c.selections(value))
	case "not":
		in := c.selection(value)
		return compiled{pred: notPred{in.pred}, canon: "not(" + in.canon + ")", cost: in.cost}
	}
	parts := strings.Split(key.Value, "|")
	mods, ok := c.modifiers(key, parts[1:])
	if !ok {
		return never
	}
	if parts[0] == "io.findings" {
		return c.findings(key, value, mods)
	}
	s, ok := c.subject(key, parts[0])
	if !ok {
		return never
	}
	out := c.field(key, value, s, mods)
	c.said.note(out.pred, key, value)
	return out
}

// subject resolves a field name or labels.x.
func (c *compiler) subject(n *yaml.Node, name string) (subject, bool) {
	s, msg, hint := parseSubject(name)
	if msg != "" {
		c.d.Report(n, msg, hint)
		return s, false
	}
	return s, true
}

func parseSubject(name string) (s subject, msg, hint string) {
	if label, ok := strings.CutPrefix(name, "labels."); ok && label != "" {
		return subject{label: label}, "", ""
	}
	f, ok := FieldByName(name)
	if !ok {
		return s, fmt.Sprintf("unknown field %q", name), diag.Suggest(name, fieldNames())
	}
	return subject{field: f}, "", ""
}

func fieldNames() []string {
	names := make([]string, 0, NumFields+1)
	for f := range NumFields {
		names = append(names, f.String())
	}
	return append(names, "io.findings")
}

// modifiers are what stands behind the field name: field|mod|mod.
type modifiers struct {
	op                            string // "" is equality
	all, cased, neq, base64, list bool
}

var (
	operators = []string{"contains", "startswith", "endswith", "re", "cidr", "gt", "gte", "lt", "lte", "exists", "fieldref", "patterns", "sqli", "xss"}
	flags     = []string{"all", "cased", "neq", "base64", "list"}
)

func (c *compiler) modifiers(n *yaml.Node, words []string) (m modifiers, ok bool) {
	ok = true
	for _, w := range words {
		switch {
		case slices.Contains(operators, w):
			if m.op != "" {
				c.d.Report(n, fmt.Sprintf("modifiers %q and %q exclude each other", m.op, w), "")
				ok = false
			}
			m.op = w
		case w == "all":
			m.all = true
		case w == "cased":
			m.cased = true
		case w == "neq":
			m.neq = true
		case w == "base64":
			m.base64 = true
		case w == "list":
			m.list = true
		default:
			c.d.Unknown(n, "modifier", w, append(slices.Clone(operators), flags...))
			ok = false
		}
	}
	switch {
	case m.all && m.neq:
		c.d.Report(n, "modifiers \"all\" and \"neq\" exclude each other", "use not: with all")
		ok = false
	case m.neq && slices.Contains([]string{"gt", "gte", "lt", "lte", "exists"}, m.op):
		c.d.Report(n, fmt.Sprintf("modifiers \"neq\" and %q exclude each other", m.op), "use not: with the condition")
		ok = false
	case m.base64 && m.op != "" && m.op != "contains":
		c.d.Report(n, "modifier \"base64\" goes with contains only", "")
		ok = false
	}
	return m, ok
}

func joinAll(parts []compiled) compiled {
	if len(parts) == 1 {
		return parts[0]
	}
	slices.SortStableFunc(parts, func(a, b compiled) int { return cmp.Compare(a.cost, b.cost) })
	out := compiled{canon: "all(" + canonJoin(parts) + ")"}
	preds := make(allPred, len(parts))
	for i, p := range parts {
		preds[i] = p.pred
		out.cost += p.cost
	}
	out.pred = preds
	return out
}

func joinAny(parts []compiled) compiled {
	if len(parts) == 1 {
		return parts[0]
	}
	slices.SortStableFunc(parts, func(a, b compiled) int { return cmp.Compare(a.cost, b.cost) })
	out := compiled{canon: "any(" + canonJoin(parts) + ")"}
	preds := make(anyPred, len(parts))
	for i, p := range parts {
		preds[i] = p.pred
		out.cost += p.cost
	}
	out.pred = preds
	return out
}

func canonJoin(parts []compiled) string {
	texts := make([]string, len(parts))
	for i, p := range parts {
		texts[i] = p.canon
	}
	slices.Sort(texts)
	return strings.Join(slices.Compact(texts), ",")
}

// canonLeaf is the canonical text of one condition; the order of values does not count.
func canonLeaf(s, op string, values []string) string {
	values = slices.Clone(values)
	slices.Sort(values)
	for i, v := range values {
		values[i] = strconv.Quote(v)
	}
	return s + "|" + op + "(" + strings.Join(slices.Compact(values), ",") + ")"
}

// values returns the nodes of a value that may be a list, with named lists put in.
func (c *compiler) values(n *yaml.Node, m modifiers) []*yaml.Node {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
		if len(nodes) == 0 {
			c.d.Report(n, "empty list: this never matches", "")
			return nil
		}
	}
	if !m.list {
		out := make([]*yaml.Node, len(nodes))
		for i, v := range nodes {
			out[i] = diag.Resolve(v)
		}
		return out
	}
	var out []*yaml.Node
	for _, v := range nodes {
		v = diag.Resolve(v)
		l := c.lists[v.Value]
		if l == nil || v.Kind != yaml.ScalarNode {
			known := make([]string, 0, len(c.lists))
			for name := range c.lists {
				known = append(known, name)
			}
			c.d.Unknown(v, "list", v.Value, known)
			continue
		}
		l.used = true
		for _, item := range l.values {
			// A problem inside a list shows at the place that uses it: the list may be in another file.
			at := *diag.Resolve(item)
			at.Line, at.Column = v.Line, v.Column
			out = append(out, &at)
		}
	}
	return out
}
