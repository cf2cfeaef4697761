package detect

import (
	"regexp"
	"strings"
)

// anyOne stands for ? in the parts of a split glob.
const anyOne = "\x00?"

// splitGlob splits a value at its stars. Backslash takes the meaning from *, ?
// and itself; before anything else it is a backslash.
func splitGlob(v string) []string {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		switch ch := v[i]; {
		case ch == '\\' && i+1 < len(v) && strings.IndexByte(`*?\`, v[i+1]) >= 0:
			i++
			b.WriteByte(v[i])
		case ch == '*':
			parts = append(parts, b.String())
			b.Reset()
		case ch == '?':
			b.WriteString(anyOne)
		default:
			b.WriteByte(ch)
		}
	}
	return append(parts, b.String())
}

// glob picks the cheapest test for texts with anything between them.
func (c *compiler) glob(parts []string, s subject, cased bool) textTest {
	if strings.Contains(strings.Join(parts, ""), anyOne) {
		return c.globRegex(parts, s, cased)
	}
	// Empty parts in the middle say nothing: ** is *.
	in := parts
	parts = nil
	for i, p := range in {
		if p != "" || i == 0 || i == len(in)-1 {
			parts = append(parts, p)
		}
	}
	conv := func(s string) []byte {
		if cased {
			return []byte(s)
		}
		return []byte(foldString(s))
	}
	last := len(parts) - 1
	switch {
	case last == 0:
		return textTest{kind: testEqual, cased: cased, text: conv(parts[0])}
	case last == 1 && parts[0] == "" && parts[1] == "":
		return textTest{kind: testPrefix, cased: cased} // * alone: any value
	case last == 1 && parts[1] == "":
		t := textTest{kind: testPrefix, cased: cased, text: conv(parts[0])}
		c.longest(&t, s, parts)
		return t
	case last == 1 && parts[0] == "":
		t := textTest{kind: testSuffix, cased: cased, text: conv(parts[1])}
		c.longest(&t, s, parts)
		return t
	case last == 2 && parts[0] == "" && parts[2] == "":
		return c.contains(parts[1], s, cased)
	}
	t := textTest{kind: testGlob, cased: cased}
	for _, p := range parts {
		t.parts = append(t.parts, conv(p))
	}
	c.longest(&t, s, parts)
	return t
}

// longest registers the longest part of a glob, where it is worth looking for.
func (c *compiler) longest(t *textTest, s subject, parts []string) {
	best := ""
	for _, p := range parts {
		if len(p) > len(best) {
			best = p
		}
	}
	if len(best) >= minAtomLiteral {
		c.literal(t, s, best)
	}
}

func (c *compiler) globRegex(parts []string, s subject, cased bool) textTest {
	var b strings.Builder
	b.WriteString("(?s")
	if !cased {
		b.WriteByte('i')
	}
	b.WriteString(")^")
	for i, p := range parts {
		if i > 0 {
			b.WriteString(".*")
		}
		for j, lit := range strings.Split(p, anyOne) {
			if j > 0 {
				b.WriteByte('.')
			}
			b.WriteString(regexp.QuoteMeta(lit))
		}
	}
	b.WriteByte('$')
	t := textTest{kind: testRegex, re: regexp.MustCompile(b.String()), size: regexSize(b.String()), cased: true}
	c.literal(&t, s, regexLiterals(b.String())...)
	return t
}
