package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"picket/alerting"
	"picket/cmd/internal/config"
	"picket/detect"
)

// rulesBefore loads the rules that a change is compared with: those of the configuration,
// with the folder in place of its own folders.
func (e *env) rulesBefore(cfg *config.Config, dir string) (*detect.RuleSet, error) {
	before := *cfg
	before.Rules.Dirs = []string{dir}
	return e.rules(&before)
}

// alertKey is an alert apart from the meaning of its rule, which its id depends on.
type alertKey struct {
	rule, group string
	bucket      time.Time
}

// alertChange is an alert that the one set of rules gives and the other does not, or not so.
type alertChange struct {
	Change string        `json:"change"` // gained, lost, changed
	Now    *detect.Alert `json:"now,omitempty"`
	Was    *detect.Alert `json:"was,omitempty"`
}

// shown is the alert to name a change by.
func (c *alertChange) shown() *detect.Alert {
	if c.Now != nil {
		return c.Now
	}
	return c.Was
}

// diffAlerts compares the final alerts of two replays of the same events.
func diffAlerts(was, now []detect.Alert) (out []alertChange) {
	key := func(a *detect.Alert) alertKey { return alertKey{a.Rule.ID, a.GroupID, a.BucketStart} }
	before := map[alertKey]*detect.Alert{}
	for i := range was {
		before[key(&was[i])] = &was[i]
	}
	for i := range now {
		a := &now[i]
		switch b := before[key(a)]; {
		case b == nil:
			out = append(out, alertChange{"gained", a, nil})
		case a.Count != b.Count || a.Severity != b.Severity || a.Mode != b.Mode || !sameEvidence(a, b):
			out = append(out, alertChange{"changed", a, b})
		}
		delete(before, key(a))
	}
	for _, b := range before {
		out = append(out, alertChange{"lost", nil, b})
	}
	slices.SortFunc(out, func(a, b alertChange) int { return compareAlerts(a.shown(), b.shown()) })
	return out
}

// showDiff prints how many alerts of each rule come and go, and then which.
func showDiff(w io.Writer, was, now []detect.Alert, asJSON bool) error {
	changes := diffAlerts(was, now)
	if asJSON {
		enc := json.NewEncoder(w)
		for i := range changes {
			if err := enc.Encode(&changes[i]); err != nil {
				return fmt.Errorf("print what changed: %w", err)
			}
		}
		return nil
	}
	if len(changes) == 0 {
		fmt.Fprintf(w, "nothing changes: %s before and after\n", count(len(now), "alert"))
		return nil
	}
	counts := map[string]map[string]int{}
	add := func(a *detect.Alert, what string) {
		if counts[a.Rule.ID] == nil {
			counts[a.Rule.ID] = map[string]int{}
		}
		counts[a.Rule.ID][what]++
	}
	for i := range was {
		add(&was[i], "was")
	}
	for i := range now {
		add(&now[i], "now")
	}
	for i := range changes {
		add(changes[i].shown(), changes[i].Change)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tWAS\tNOW\tGAINED\tLOST\tCHANGED")
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		if n := counts[id]; n["gained"]+n["lost"]+n["changed"] > 0 {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\n", id, n["was"], n["now"], n["gained"], n["lost"], n["changed"])
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for i := range changes {
		c := &changes[i]
		a := c.shown()
		sign := map[string]string{"gained": "+", "lost": "-", "changed": "~"}[c.Change]
		fmt.Fprintf(w, "%s %s  %-8s  %s  %s%s\n", sign, a.First.Format(time.DateTime), a.Severity, a.Rule.ID, alerting.Clean(a.Title), c.difference())
	}
	return nil
}

// difference says what is not as it was.
func (c *alertChange) difference() string {
	if c.Change != "changed" {
		return ""
	}
	text := ""
	say := func(what string, was, now any) {
		if was != now {
			text += fmt.Sprintf("; %s %v, was %v", what, now, was)
		}
	}
	say("count", c.Was.Count, c.Now.Count)
	say("severity", c.Was.Severity, c.Now.Severity)
	say("mode", c.Was.Mode, c.Now.Mode)
	if text == "" {
		text = "; of other events"
	}
	return text
}

func compareAlerts(a, b *detect.Alert) int {
	return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.GroupID, b.GroupID), a.BucketStart.Compare(b.BucketStart))
}

// showTestDiff runs the tests of both sets by both, and prints those that end otherwise than before.
func (e *env) showTestDiff(was, now *detect.RuleSet, keep func(*detect.Rule, detect.TestCase) bool) {
	changed, run := 0, 0
	for _, id := range ruleIDs(was, now) {
		old, rule := was.ByID(id), now.ByID(id)
		if old == nil || rule == nil {
			some, what := old, "gone"
			if some == nil {
				some, what = rule, "new"
			}
			if len(some.Tests()) == 0 || slices.ContainsFunc(some.Tests(), func(c detect.TestCase) bool { return keep(some, c) }) {
				changed++
				fmt.Fprintf(e.stdout, "%s: %s, %s\n", id, what, count(len(some.Tests()), "test"))
			}
			continue
		}
		seen := map[string]bool{}
		for _, from := range []*detect.Rule{rule, old} { // a test that both have runs as it is now
			before, after := from.Tests(), from.Tests() // a run uses events up
			for i, c := range before {
				if seen[c.Name] || !keep(from, c) {
					continue
				}
				seen[c.Name] = true
				run++
				if a, b := was.RunTest(old, c).Outcome(), now.RunTest(rule, after[i]).Outcome(); a != b {
					changed++
					fmt.Fprintf(e.stdout, "%s: %s: %s, was %s\n", id, escape([]byte(c.Name)), b, a)
				}
			}
		}
	}
	fmt.Fprintf(e.stdout, "%s by both, %s\n", count(run, "test"), count(changed, "difference"))
}

func ruleIDs(sets ...*detect.RuleSet) []string {
	ids := map[string]bool{}
	for _, rs := range sets {
		for _, r := range rs.Rules() {
			ids[r.Info.ID] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// sameEvidence reports whether both alerts are about the same events, as far as their evidence tells.
func sameEvidence(a, b *detect.Alert) bool {
	return a.First.Equal(b.First) && a.Last.Equal(b.Last) &&
		slices.EqualFunc(a.Evidence, b.Evidence, func(x, y detect.Evidence) bool { return x.Offset == y.Offset && x.Partition == y.Partition })
}
