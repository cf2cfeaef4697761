package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"picket/alerting"
)

// show writes for a person. The pipeline's goroutines and the session's write at the same time.
type show struct {
	mu    sync.Mutex
	w     io.Writer
	color bool
}

func newShow(w io.Writer, color bool) *show { return &show{w: w, color: color} }

func (s *show) paint(code, text string) string {
	if !s.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *show) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, format, args...)
}

func (s *show) step(text string) { s.printf("\n%s %s\n", s.paint("36;1", "==>"), s.paint("1", text)) }
func (s *show) note(text string) { s.printf("    %s\n", text) }

func (s *show) pair(what, where string) { s.printf("    %s\n        %s\n", what, s.paint("36", where)) }

func (s *show) call(c step) {
	mark := s.paint("32", "·")
	if c.bad {
		mark = s.paint("33", "!")
	}
	s.printf("    %s %s\n", mark, c.what)
}

var colors = map[string]string{"critical": "35;1", "high": "31;1", "medium": "33", "low": "34"}

func (s *show) alert(i alerting.Incident) {
	a := &i.Alert
	what := "ALERT"
	if i.Update {
		what = "UPDATE"
	}
	s.printf("    %s %s %s\n          %s\n", s.paint(colors[a.Severity], fmt.Sprintf("%-6s %-8s", what, a.Severity)),
		s.paint("1", a.Rule.ID), alerting.Clean(a.Title), alerting.Clean(a.Why))
}

const maxCell = 38

// table shows a result, cut to what fits a screen.
func (s *show) table(title string, cols []string, rows [][]string) {
	const most = 8
	s.printf("\n    %s\n", s.paint("1", title))
	if len(rows) == 0 {
		s.printf("    (no rows)\n")
		return
	}
	shown := rows[:min(len(rows), most)]
	width := make([]int, len(cols))
	for _, row := range append([][]string{cols}, shown...) {
		for i, v := range row {
			width[i] = max(width[i], min(maxCell, utf8.RuneCountInString(v)))
		}
	}
	line := func(row []string) string {
		var b strings.Builder
		for i, v := range row {
			v = alerting.Clean(v)
			if r := []rune(v); len(r) > maxCell {
				v = string(r[:maxCell-1]) + "…"
			}
			fmt.Fprintf(&b, "  %-*s", width[i], v)
		}
		return strings.TrimRight(b.String(), " ")
	}
	s.printf("  %s\n", s.paint("2", line(cols)))
	for _, row := range shown {
		s.printf("  %s\n", line(row))
	}
	if more := len(rows) - len(shown); more > 0 {
		s.printf("    ... %d more\n", more)
	}
}
