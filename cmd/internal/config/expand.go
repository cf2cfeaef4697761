package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

var variable = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$`)

// expand replaces ${NAME} and ${NAME:-default} in every value below n, whose
// target is a t; nil where the file says something that Config does not know.
// Keys are left alone, and an alias is expanded where its anchor is.
func (l *loader) expand(n *yaml.Node, t reflect.Type, env func(string) (string, bool)) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			l.expand(n.Content[i+1], option(t, n.Content[i].Value), env)
		}
	case yaml.SequenceNode:
		var item reflect.Type
		if t != nil && t.Kind() == reflect.Slice {
			item = t.Elem()
		}
		for _, c := range n.Content {
			l.expand(c, item, env)
		}
	case yaml.ScalarNode:
		if !strings.Contains(n.Value, "$") {
			return
		}
		n.Value = l.interpolate(n, env)
		// What the variable holds decides the type, also in quotes, which YAML may
		// demand around ${}; but a host named 12345 stays text where text is wanted.
		n.Tag, n.Style = "", 0
		if t != nil && (t.Kind() == reflect.String || t == secretType) {
			n.Tag = "!!str"
		}
	}
}

// interpolate returns n's value with its variables replaced.
func (l *loader) interpolate(n *yaml.Node, env func(string) (string, bool)) string {
	var out strings.Builder
	value := n.Value
	for i := 0; i < len(value); {
		rest := value[i:]
		switch {
		case strings.HasPrefix(rest, "$$"):
			out.WriteByte('$')
			i += 2
		case strings.HasPrefix(rest, "${"):
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				l.inside(n, i, len(rest), "${ without its }", "write $${ for the text ${ itself")
				return out.String()
			}
			m := variable.FindStringSubmatch(rest[2:end])
			if m == nil {
				l.inside(n, i, end+1, fmt.Sprintf("%q is not a variable", rest[:end+1]),
					"write ${NAME} or ${NAME:-default}; $${ is the text ${ itself")
			} else {
				out.WriteString(l.lookup(n, i, end+1, m, env))
			}
			i += end + 1
		default:
			out.WriteByte(rest[0])
			i++
		}
	}
	return out.String()
}

func (l *loader) lookup(n *yaml.Node, at, length int, m []string, env func(string) (string, bool)) string {
	got, ok := env(m[1])
	if m[2] != "" && got == "" { // as in a shell, :- is for empty too
		return m[3]
	}
	if !ok {
		l.inside(n, at, length, fmt.Sprintf("the environment variable %s is not set", m[1]),
			fmt.Sprintf("set it, or write a default: ${%s:-...}", m[1]))
	}
	return got
}

// inside reports a problem at a part of n's value.
func (l *loader) inside(n *yaml.Node, at, length int, msg, hint string) {
	p := l.ctx.Source().At(n, msg, hint)
	column := n.Column + utf8.RuneCountInString(n.Value[:at])
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		column++
	}
	// Escapes and folded lines shift the text: then the whole value is marked.
	part := n.Value[at : at+length]
	if snippet := []rune(p.Snippet); column-1 < len(snippet) && strings.HasPrefix(string(snippet[column-1:]), part) {
		p.Column, p.Len = column, utf8.RuneCountInString(part)
	}
	l.ctx.Add(p)
	l.broken[placeOf(n)] = true
}
