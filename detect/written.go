package detect

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// written is how a rule writes its conditions, where that is known.
type written map[pred]condition

type condition struct{ key, value *yaml.Node }

// note keeps what a condition was made of. Conditions that are joined have no place of their own.
func (w written) note(p pred, key, value *yaml.Node) {
	switch p.(type) {
	case *numberPred, *textPred, *refPred, *findingPred:
		w[p] = condition{key, value}
	}
}

// String is the condition on one line.
func (c condition) String() string {
	plain := func(n *yaml.Node) *yaml.Node {
		m := *n
		m.HeadComment, m.LineComment, m.FootComment, m.Anchor = "", "", "", ""
		return &m
	}
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{plain(c.key), plain(c.value)}})
	if err != nil {
		return c.key.Value
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(out)), "{"), "}")
}

// text is a condition as the rule writes it.
func (w written) text(p pred) string {
	switch p := p.(type) {
	case allPred:
		return strings.Join(w.texts(p, "", ""), ", ")
	case anyPred:
		return "any: [" + strings.Join(w.texts(p, "{", "}"), ", ") + "]"
	case notPred:
		if has, ok := p.of.(hasPred); ok {
			return has.of.String() + "|exists: false"
		}
		return "not: {" + w.text(p.of) + "}"
	case hasPred:
		return p.of.String() + "|exists: true"
	case constant:
		return predText(p)
	}
	if c, ok := w[p]; ok {
		return c.String()
	}
	return predText(p)
}

func (w written) texts(ps []pred, before, after string) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = before + w.text(p) + after
	}
	return out
}

// key is the field of a condition with its modifiers.
func (w written) key(p pred, field string) string {
	if c, ok := w[p]; ok {
		return c.key.Value
	}
	return field
}

// part is one key of a condition on findings, as a condition of its own.
func (w written) part(p *findingPred, i int) string {
	c, ok := w[p]
	if !ok || c.value.Kind != yaml.MappingNode || len(c.value.Content) != 2*len(p.parts) {
		return (&findingPred{parts: p.parts[i : i+1]}).text()
	}
	return "io.findings: {" + condition{c.value.Content[2*i], c.value.Content[2*i+1]}.String() + "}"
}
