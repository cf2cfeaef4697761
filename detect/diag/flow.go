package diag

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	// flowStart is a line whose value begins with a bracket.
	flowStart = regexp.MustCompile(`^\s*(?:- +)*(?:(?:"[^"]*"|'[^']*'|[^\s#'"\[{][^:#]*):\s+)?[\[{]`)
	// blockStart is a line whose value is the more indented text below it.
	blockStart = regexp.MustCompile(`(?:^|\s)[|>][-+0-9]*\s*$`)
	keyStart   = regexp.MustCompile(`^[A-Za-z_][\w-]*:(?:\s|$)`)
)

// opener is a bracket that waits for its end; indent is that of its line.
type opener struct {
	close             rune
	line, col, indent int
}

// flow follows the brackets of {a: [b, c]} through lines, to find which of them the parser
// stumbled over: it names one line, either of the bracket or of what stands in its way.
type flow struct {
	src     Source
	open    []opener
	quote   rune // of the text that goes on
	ended   bool // a value ended: a comma or a bracket must come
	started bool // a plain value goes on
}

// flowFault is the place in {...} or [...] that made the parser give up at a line.
func (s Source) flowFault(line int, msg string) (p Problem, ok bool) {
	f := flow{src: s}
	block := -1 // the indentation that a block of text is below
	for i, text := range strings.Split(string(s.Data), "\n") {
		indent := len(text) - len(strings.TrimLeft(text, " "))
		from := 0
		if len(f.open) == 0 {
			if block >= 0 && (indent > block || strings.TrimSpace(text) == "") {
				continue
			}
			block = -1
			m := flowStart.FindString(text)
			if m == "" {
				if blockStart.MatchString(text) {
					block = indent
				}
				continue
			}
			from = len([]rune(m)) - 1
		}
		first := 1
		if len(f.open) > 0 {
			first = f.open[0].line
		}
		if col, length, hint := f.line([]rune(text), from, i+1, indent); hint != "" {
			at := i + 1
			if col < 0 { // the fault is the bracket that was left open
				o := f.open[len(f.open)-1]
				at, col = o.line, o.col
			}
			return s.problem(at, col, length, msg, hint), first <= line && line <= i+1 || line == 1
		}
	}
	if n := len(f.open); n > 0 {
		o := f.open[n-1]
		return s.problem(o.line, o.col, 1, msg, unclosed(o)), true
	}
	return p, false
}

func unclosed(o opener) string { return fmt.Sprintf("its %c is missing", o.close) }

// line goes on at a character of a line. With a hint something is wrong: at a column, or with the last opener.
func (f *flow) line(text []rune, from, line, indent int) (col, length int, hint string) {
	if n := len(f.open); n > 0 && f.quote == 0 && indent <= f.open[n-1].indent && keyStart.MatchString(string(text[min(indent, len(text)):])) {
		return -1, 1, unclosed(f.open[n-1])
	}
	for i := from; i < len(text); i++ {
		r := text[i]
		switch {
		case f.quote != 0:
			switch {
			case f.quote == '"' && r == '\\', f.quote == '\'' && r == '\'' && i+1 < len(text) && text[i+1] == '\'':
				i++
			case r == f.quote:
				f.quote, f.ended = 0, true
			}
		case r == '#' && (i == 0 || text[i-1] == ' '):
			return 0, 0, ""
		case r == ' ', r == '\t', r == '\r':
		case len(f.open) == 0 && i > from:
			return i + 1, len(text) - i, "nothing may follow the bracket that ends the value: does it end too early?"
		case r == ']', r == '}':
			o := f.open[len(f.open)-1]
			if o.close != r {
				return i + 1, 1, fmt.Sprintf("the %c from line %d, column %d wants its %c first", map[rune]rune{']': '[', '}': '{'}[o.close], o.line, o.col, o.close)
			}
			f.open = f.open[:len(f.open)-1]
			f.ended, f.started = len(f.open) > 0, false
		case r == ',', r == ':' && f.ended, r == ':' && (i+1 == len(text) || text[i+1] == ' '):
			f.ended, f.started = false, false
		case f.ended:
			return i + 1, 1, "a comma is missing before this"
		case r == '[', r == '{':
			if f.started {
				return i + 1, 1, "quote the whole value: a bracket within it starts a list or keys"
			}
			f.open = append(f.open, opener{map[rune]rune{'[': ']', '{': '}'}[r], line, i + 1, indent})
		case (r == '"' || r == '\'') && !f.started:
			f.quote = r
		default:
			f.started = true
		}
	}
	return 0, 0, ""
}
