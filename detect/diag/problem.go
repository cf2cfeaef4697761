package diag

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// Problem is one thing wrong with a source file. Line and Column count from 1,
// Column in characters; a Line of 0 means the file as a whole.
type Problem struct {
	File              string
	Line, Column, Len int
	Msg               string
	Hint              string // what to write instead, or empty
	Snippet           string // the source line
}

// String is the problem on one line, as compilers write it.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(p.Msg)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return printable(b.String())
}

// Problems is every problem found; as an error it is not empty.
type Problems []Problem

func (p Problems) Error() string {
	switch len(p) {
	case 0:
		return "no problems"
	case 1:
		return p[0].String()
	}
	return fmt.Sprintf("%s (and %d more)", p[0], len(p)-1)
}

// Err returns p as an error, or nil when there is no problem.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Sort orders problems by file and position, and drops exact repetitions.
func (p *Problems) Sort() {
	slices.SortStableFunc(*p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	*p = slices.Compact(*p)
}

const (
	red   = "\x1b[1;31m"
	green = "\x1b[32m"
	bold  = "\x1b[1m"
	reset = "\x1b[0m"
)

// Write shows every problem with its source line, a caret below the place, and
// the hint. Control characters of the source never reach w.
func (p Problems) Write(w io.Writer, color bool) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return code + s + reset
	}
	for i, q := range p {
		if i > 0 {
			fmt.Fprintln(out)
		}
		place := q.File
		if q.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", q.File, q.Line, q.Column)
		}
		if place != "" {
			fmt.Fprint(out, paint(bold, printable(place)+":"), " ")
		}
		fmt.Fprintln(out, paint(red, "error:"), paint(bold, printable(q.Msg)))
		if q.Line > 0 {
			line, mark := caret(q)
			fmt.Fprintln(out, "    "+line)
			fmt.Fprintln(out, "    "+paint(red, mark))
		}
		if q.Hint != "" {
			fmt.Fprintln(out, "    "+paint(green, printable(q.Hint)))
		}
	}
}

const maxSnippet = 160

// caret returns the source line, cut to a screen around the place, and the
// line with ^~~~ below it.
func caret(q Problem) (line, mark string) {
	src := []rune(printable(strings.ReplaceAll(q.Snippet, "\t", " ")))
	at := min(max(q.Column-1, 0), len(src))
	start := 0
	prefix := ""
	if len(src) > maxSnippet && at > maxSnippet/2 {
		start = min(at-maxSnippet/2, len(src)-maxSnippet)
		prefix = "..."
	}
	end := min(len(src), start+maxSnippet)
	suffix := ""
	if end < len(src) {
		suffix = "..."
	}
	n := min(max(q.Len, 1), max(end-at, 1))
	line = prefix + string(src[start:end]) + suffix
	mark = strings.Repeat(" ", len(prefix)+at-start) + "^" + strings.Repeat("~", n-1)
	return line, mark
}

// printable replaces what a terminal would act upon, one for one.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return '?'
		}
		return r
	}, s)
}
