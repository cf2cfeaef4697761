package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"picket/alerting"
	"picket/cmd/internal/app"
	"picket/detect"
)

// replayDiff is what another set of rules makes of the same events.
type replayDiff struct {
	was, now *detect.RuleSet
	rules    app.RuleChanges
	changes  []alertChange
	by       []ruleCount // rule by rule, those with most changes first
	all      ruleCount
}

// ruleCount counts the alerts of a rule.
type ruleCount struct {
	id                               string
	was, now, gained, lost, modified int
}

func (c *ruleCount) changes() int { return c.gained + c.lost + c.modified }

func newReplayDiff(was, now *detect.RuleSet, before, after []detect.Alert) *replayDiff {
	d := &replayDiff{was: was, now: now, rules: app.CompareRules(was, now), changes: diffAlerts(before, after)}
	by := map[string]*ruleCount{}
	add := func(id string, n ruleCount) {
		if by[id] == nil {
			by[id] = &ruleCount{id: id}
		}
		for _, c := range []*ruleCount{by[id], &d.all} {
			c.was, c.now, c.gained, c.lost, c.modified = c.was+n.was, c.now+n.now, c.gained+n.gained, c.lost+n.lost, c.modified+n.modified
		}
	}
	for i := range before {
		add(before[i].Rule.ID, ruleCount{was: 1})
	}
	for i := range after {
		add(after[i].Rule.ID, ruleCount{now: 1})
	}
	for i := range d.changes {
		c := &d.changes[i]
		add(c.shown().Rule.ID, map[string]ruleCount{gained: {gained: 1}, lost: {lost: 1}, changed: {modified: 1}}[c.Change])
	}
	for _, c := range by {
		if c.changes() > 0 {
			d.by = append(d.by, *c)
		}
	}
	slices.SortFunc(d.by, func(a, b ruleCount) int { return cmp.Or(b.changes()-a.changes(), cmp.Compare(a.id, b.id)) })
	return d
}

// json prints all of it, a line for the rules and one for each alert.
func (d *replayDiff) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	if !d.rules.None() {
		err := enc.Encode(struct {
			Change string          `json:"change"`
			Rules  app.RuleChanges `json:"rules"`
		}{"rules", d.rules})
		if err != nil {
			return fmt.Errorf("print what changed: %w", err)
		}
	}
	for i := range d.changes {
		if err := enc.Encode(&d.changes[i]); err != nil {
			return fmt.Errorf("print what changed: %w", err)
		}
	}
	return nil
}

// maxListed is how much of each list a person is shown.
const maxListed = 10

// more ends a list that was cut.
func more(w io.Writer, n int, what string) {
	if n > maxListed {
		fmt.Fprintf(w, "  ... and %d more %s: --json prints all\n", n-maxListed, what)
	}
}

// write sums up, and lists the first of each kind.
func (d *replayDiff) write(w io.Writer) error {
	if r := &d.rules; !r.None() {
		fmt.Fprintf(w, "rules: %d now, %d before: %d added, %d removed, %d changed, %d regraded, %d reworded\n", len(d.now.Rules()), len(d.was.Rules()),
			len(r.Added), len(r.Removed), len(r.Changed), len(r.Regraded), len(r.Reworded))
		for _, x := range []struct {
			sign, what string
			ids        []string
		}{{"+", "added", r.Added}, {"-", "removed", r.Removed}, {"~", "changed", r.Changed}, {"~", "regraded", r.Regraded}, {"~", "reworded", r.Reworded}} {
			for _, id := range x.ids[:min(len(x.ids), maxListed)] {
				fmt.Fprintf(w, "  %s %s: %s\n", x.sign, id, d.ruleText(id))
			}
			more(w, len(x.ids), x.what)
		}
		fmt.Fprintln(w)
	}
	n := &d.all
	if n.changes() == 0 {
		fmt.Fprintf(w, "nothing changes: %s before and after\n", count(n.now, "alert"))
		return nil
	}
	fmt.Fprintf(w, "alerts: %d now, %d before: %d only now, %d only before, %d in both but otherwise, %d the same\n",
		n.now, n.was, n.gained, n.lost, n.modified, n.now-n.gained-n.modified)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RULE\tWAS\tNOW\tGAINED\tLOST\tCHANGED")
	for _, c := range d.by[:min(len(d.by), maxListed)] {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\n", c.id, c.was, c.now, c.gained, c.lost, c.modified)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	more(w, len(d.by), "rules")
	for _, x := range []struct {
		change, sign, head string
		n                  int
	}{{gained, "+", "only now", n.gained}, {lost, "-", "only before", n.lost}, {changed, "~", "in both but otherwise", n.modified}} {
		if x.n == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s:\n", x.head)
		left := maxListed
		for i := range d.changes {
			if c := &d.changes[i]; c.Change == x.change && left > 0 {
				left--
				a := c.shown()
				fmt.Fprintf(w, "%s %s  %-8s  %s  %s%s\n", x.sign, a.First.Format(time.DateTime), a.Severity, a.Rule.ID, alerting.Clean(a.Title), c.difference())
			}
		}
		more(w, x.n, "alerts")
	}
	return nil
}

// ruleText is a rule's title, with what is not as it was and fits behind it.
func (d *replayDiff) ruleText(id string) string {
	was, now := d.was.ByID(id), d.now.ByID(id)
	r := cmp.Or(now, was)
	text := alerting.Clean(r.Info.Title)
	if was != nil && now != nil {
		text += difference("severity", was.Severity, now.Severity) + difference("mode", was.Mode, now.Mode) + difference("fires on", was.Fires(), now.Fires())
	}
	return text
}

func difference(what string, was, now any) string {
	if was == now {
		return ""
	}
	return fmt.Sprintf("; %s %v, was %v", what, now, was)
}

// difference says what is not as it was.
func (c *alertChange) difference() string {
	if c.Change != changed {
		return ""
	}
	text := difference("count", c.Was.Count, c.Now.Count) + difference("severity", c.Was.Severity, c.Now.Severity) + difference("mode", c.Was.Mode, c.Now.Mode)
	return cmp.Or(text, "; of other events")
}
