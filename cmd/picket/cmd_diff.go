package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/detect/diag"
)

// builtin names the built-in pack where a folder is asked for and none has that name.
const builtin = "builtin"

// onlyDir is a configuration that loads the rules of one place and no other.
func onlyDir(cfg *config.Config, dir string) {
	cfg.Rules.Builtin, cfg.Rules.Dirs, cfg.Rules.Disabled = false, []string{dir}, nil
	if _, err := os.Stat(dir); dir == builtin && err != nil {
		cfg.Rules.Builtin, cfg.Rules.Dirs = true, nil
	}
}

// rulesBefore loads the rules that a change is compared with: those of the configuration, with the
// folder in place of its own folders. A folder with rules of the built-in pack cannot be loaded beside
// it: it is a pack of its own.
func (e *env) rulesBefore(cfg *config.Config, dir string) (*detect.RuleSet, error) {
	beside, alone := *cfg, *cfg
	beside.Rules.Dirs = []string{dir}
	onlyDir(&alone, dir)
	_, _, err := app.LoadRules(&beside, detect.LoadOptions{})
	if err == nil && !alone.Rules.Builtin {
		return e.rules(&beside)
	}
	own, _, aloneErr := app.LoadRules(&alone, detect.LoadOptions{})
	if aloneErr == nil {
		alone.Rules.Disabled = slices.DeleteFunc(slices.Clone(cfg.Rules.Disabled), func(id string) bool { return own.ByID(id) == nil })
		return e.rules(&alone)
	}
	var with, without diag.Problems
	if errors.As(err, &with) && errors.As(aloneErr, &without) && len(with) <= len(without) {
		return e.rules(&beside)
	}
	return e.rules(&alone)
}

// alertKey is an alert apart from the meaning of its rule, which its id depends on.
type alertKey struct {
	rule, group string
	bucket      time.Time
}

// alertChange is an alert that the one set of rules gives and the other does not, or not so.
type alertChange struct {
	Change string        `json:"change"`
	Now    *detect.Alert `json:"now,omitempty"`
	Was    *detect.Alert `json:"was,omitempty"`
}

// The ways in which alerts change.
const (
	gained  = "gained"
	lost    = "lost"
	changed = "changed"
)

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
			out = append(out, alertChange{gained, a, nil})
		case a.Count != b.Count || a.Severity != b.Severity || a.Mode != b.Mode || !sameEvidence(a, b):
			out = append(out, alertChange{changed, a, b})
		}
		delete(before, key(a))
	}
	for _, b := range before {
		out = append(out, alertChange{lost, nil, b})
	}
	slices.SortFunc(out, func(a, b alertChange) int { return compareAlerts(a.shown(), b.shown()) })
	return out
}

func compareAlerts(a, b *detect.Alert) int {
	return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.Rule.ID, b.Rule.ID), cmp.Compare(a.GroupID, b.GroupID), a.BucketStart.Compare(b.BucketStart))
}

// showTestDiff runs the tests of both sets by both, and prints those that end otherwise than before. Rules
// that are gone come last, in one line: they are most of a pack where a part of it is compared with the whole.
func (e *env) showTestDiff(was, now *detect.RuleSet, keep func(*detect.Rule, detect.TestCase) bool) {
	differ, run, added := 0, 0, 0
	var gone []string
	goneTests := 0
	for _, id := range ruleIDs(was, now) {
		old, rule := was.ByID(id), now.ByID(id)
		if old == nil || rule == nil {
			some := cmp.Or(rule, old)
			switch tests := some.Tests(); {
			case len(tests) > 0 && !slices.ContainsFunc(tests, func(c detect.TestCase) bool { return keep(some, c) }):
			case rule != nil:
				added++
				fmt.Fprintf(e.stdout, "%s: new, %s\n", id, count(len(tests), "test"))
			default:
				gone = append(gone, id)
				goneTests += len(tests)
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
					differ++
					fmt.Fprintf(e.stdout, "%s: %s: %s, was %s\n", id, escape([]byte(c.Name)), b, a)
				}
			}
		}
	}
	if len(gone) > 0 {
		fmt.Fprintf(e.stdout, "gone, with %s: %s\n", count(goneTests, "test"), strings.Join(gone, " "))
	}
	fmt.Fprintf(e.stdout, "%s by both, %s; %s new, %d gone\n", count(run, "test"), count(differ, "difference"), count(added, "rule"), len(gone))
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
