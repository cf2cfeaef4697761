package rules

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"picket/detect"
	"picket/detect/diag"
)

// TestPackLints loads the pack as strictly as it goes: tests that fire and
// that do not for every rule, no expired exception.
func TestPackLints(t *testing.T) {
	rs, _, err := detect.LoadWith(FS(), detect.LoadOptions{Lint: true, Now: time.Now()})
	var problems diag.Problems
	if errors.As(err, &problems) {
		var b strings.Builder
		problems.Write(&b, false)
		t.Fatal(b.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	// The launch pack, but for AZ-04, TP-01, TP-03 and TP-05, which need the past.
	for _, row := range []string{"AU 1 2 3 4 5 6 7 8 9", "AZ 1 2 3 5 6 7", "DX 1 2 3 4 5 6 8", "IN 1 2 3 4 5 6 7 8 9 10 12", "RA 1 2 3 4 5 6 7", "TP 2 6 7 8", "SY 1 3"} {
		words := strings.Fields(row)
		for _, n := range words[1:] {
			if id := words[0] + "-" + strings.Repeat("0", 2-len(n)) + n; rs.ByID(id) == nil {
				t.Errorf("%s is missing", id)
			}
		}
	}
	for _, res := range rs.RunTests(nil) {
		if res.Failed != "" {
			t.Errorf("%s:%d: %s: %q: %s", res.Case.File, res.Case.Line, res.Rule.Info.ID, res.Case.Name, res.Failed)
		}
	}
	for _, r := range rs.Rules() {
		if len(r.Info.Runbook) < 80 || r.Info.Description == "" || len(r.FalsePositives) == 0 || len(r.Info.Tags) == 0 {
			t.Errorf("%s lacks a runbook, description, false positives or tags", r.Info.ID)
		}
		if len(r.GroupBy) == 0 {
			t.Errorf("%s groups all events of a tenant together", r.Info.ID)
		}
	}
	t.Logf("%d rules, %d groupings", len(rs.Rules()), len(rs.Groupings()))
}

// Titles are what lists of alerts show: one that a rule makes up names its group, as does each of a session,
// token or handle, of which there are many.
func TestPackTitlesNameTheGroup(t *testing.T) {
	rs, err := detect.Load(FS())
	if err != nil {
		t.Fatal(err)
	}
	others := func(f detect.Field) bool {
		return f != detect.ActorToken && f != detect.MCPSession && f != detect.MCPHandle
	}
	seen := map[string]bool{}
	for _, res := range rs.RunTests(nil) {
		for _, a := range res.Alerts {
			named := slices.ContainsFunc(a.Group, func(v detect.GroupValue) bool { return strings.Contains(a.Title, v.Value) })
			many := len(res.Rule.GroupBy) == 1 && !slices.ContainsFunc(res.Rule.GroupBy[0].Fields, others)
			if strings.Contains(a.Title, "{{") || !named && (many || res.Rule.Title != "") {
				t.Errorf("%s: an alert about %v is called %q", res.Rule.Info.ID, a.Group, a.Title)
			}
			seen[a.Rule.ID+" "+a.Title] = true
		}
	}
	for _, want := range []string{"AU-05 actor.token j-1 was used from two networks in 10m", "AU-05 mcp.session s-1 was used from two networks in 10m", "AU-08 mcp.handle h-1 was used by two principals"} {
		if !seen[want] {
			t.Errorf("no alert is called %q", want)
		}
	}
}

// The rules' texts, a file each, are the pack again: so that a copy can be a start.
func TestPackTextsAreRules(t *testing.T) {
	rs, err := detect.Load(FS())
	if err != nil {
		t.Fatal(err)
	}
	texts := fstest.MapFS{}
	for _, r := range rs.Rules() {
		texts[r.Info.ID+".yaml"] = &fstest.MapFile{Data: []byte(r.YAML())}
	}
	again, err := detect.Load(texts)
	if err != nil {
		t.Fatal(err)
	}
	if again.Hash() != rs.Hash() {
		t.Error("they mean something else")
	}
	for _, r := range again.Rules() {
		if of := rs.ByID(r.Info.ID); r.File != r.Info.ID+".yaml" || len(r.Tests()) != len(of.Tests()) {
			t.Errorf("%s has %d tests, of %d", r.File, len(r.Tests()), len(of.Tests()))
		}
	}
}

// TestPackCoverage demands of every part of every rule a test that would miss it.
func TestPackCoverage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the pack's tests for each of its parts")
	}
	rs, err := detect.Load(FS())
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	for _, c := range rs.Coverage(nil) {
		for _, p := range c.Parts {
			if parts++; !p.Decided {
				t.Errorf("%s: no test would miss %s: %s %s %s", c.Rule.Info.ID, p.Where, p.Text, p.Value, p.Instead)
			}
		}
	}
	t.Logf("%d parts", parts)
}

// TestPackMatches holds the stateless part to the tests in the rules: a rule of
// one event fires exactly where its test says so.
func TestPackMatches(t *testing.T) {
	rs, err := detect.Load(FS())
	if err != nil {
		t.Fatal(err)
	}
	m, s := detect.NewMatcher(rs), detect.NewScanner()
	for _, r := range rs.Rules() {
		for _, c := range r.Tests() {
			matched := 0
			for _, e := range c.Events {
				s.Scan(e.Event)
				for _, hit := range m.Match(nil, e.Event) {
					if hit.Rule == r.Index {
						matched++
					}
				}
			}
			single := r.Detector.Kind == detect.DetectCount && r.Detector.Threshold <= 1
			if c.Expect.Alerts > 0 && matched == 0 || single && c.Expect.Alerts == 0 && matched > 0 {
				t.Errorf("%s:%d: %s: %q matched %d events, expects %d alerts", c.File, c.Line, r.Info.ID, c.Name, matched, c.Expect.Alerts)
			}
		}
	}
}
