package rules

import (
	"errors"
	"strings"
	"testing"
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
	for _, id := range []string{"AU-01", "AZ-01", "RA-01", "IN-01", "IN-01-BURST", "IN-02", "IN-05", "IN-05-BURST", "IN-06", "DX-04"} {
		if rs.ByID(id) == nil {
			t.Errorf("%s is missing", id)
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
