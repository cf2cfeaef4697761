package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"picket/detect"
	"picket/rules"
)

func TestRulesListFitsTheTerminal(t *testing.T) {
	rs, err := detect.Load(rules.FS())
	if err != nil {
		t.Fatal(err)
	}
	for width, want := range map[int][]string{
		60:  {"TITLE", "Failed-authen"},
		80:  {"TITLE", "Failed-authentication burst from "},
		100: {"TITLE", "Failed-authentication burst from one source"},
		160: {"GROUP BY", "EXCEPTIONS", "coalesce(trace.trace_id, mcp.session, a", "Failed-authentication burst from one source"},
		0:   {"MODE", "coalesce(trace.trace_id, mcp.session, actor.subject, actor.client_id, server.name)", "Failed-authentication burst from one source"},
	} {
		var b strings.Builder
		if err := listRules(&b, rs, width); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		if n := strings.Count(out, "\n"); n != len(rs.Rules())+1 {
			t.Errorf("width %d: %d lines for %d rules", width, n, len(rs.Rules()))
		}
		for line := range strings.Lines(out) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && n > width {
				t.Errorf("width %d: a line of %d:\n%s", width, n, line)
			}
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("width %d: no %q in\n%s", width, w, out)
			}
		}
		if cut := strings.Contains(out, "…"); cut != (width > 0) {
			t.Errorf("width %d: texts are cut: %t", width, cut)
		}
	}
}
