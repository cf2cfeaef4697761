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
	by       []ruleCount // rules that are there now: first those that were, then those with most changes
	all      ruleCount   // of them
	removed  []ruleCount // those with most alerts first: a part of a pack is compared with the whole by what it has
	gone     int         // their alerts
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
			if c != &d.all || now.ByID(id) != nil {
				c.was, c.now, c.gained, c.lost, c.modified = c.was+n.was, c.now+n.now, c.gained+n.gained, c.lost+n.lost, c.modified+n.modified
			}
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
	for _, id := range d.rules.Removed {
		add(id, ruleCount{})
		d.gone += by[id].was
	}
	for id, c := range by {
		switch {
		case now.ByID(id) == nil:
			d.removed = append(d.removed, *c)
		case c.changes() > 0:
			d.by = append(d.by, *c)
		}
	}
	order := func(a, b ruleCount) int {
		return cmp.Or(d.added(a.id)-d.added(b.id), b.changes()-a.changes(), cmp.Compare(a.id, b.id))
	}
	slices.SortFunc(d.by, order)
	slices.SortFunc(d.removed, order)
	return d
}

// added is 1 for a rule that was not there before, to sort it behind the others.
func (d *replayDiff) added(id string) int {
	if d.was.ByID(id) == nil {
		return 1
	}
	return 0
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

// write sums up, and lists the first of each kind: last what is not there any more.
func (d *replayDiff) write(w io.Writer) error {
	if r := &d.rules; !r.None() {
		fmt.Fprintf(w, "rules: %d now, %d before: %d added, %d removed, %d changed, %d regraded, %d reworded\n", len(d.now.Rules()), len(d.was.Rules()),
			len(r.Added), len(r.Removed), len(r.Changed), len(r.Regraded), len(r.Reworded))
		for _, x := range []struct {
			sign, what string
			ids        []string
		}{{"~", "changed", r.Changed}, {"~", "regraded", r.Regraded}, {"~", "reworded", r.Reworded}, {"+", "added", r.Added}} {
			for _, id := range x.ids[:min(len(x.ids), maxListed)] {
				fmt.Fprintf(w, "  %s %s: %s\n", x.sign, id, d.ruleText(id))
			}
			more(w, len(x.ids), x.what)
		}
		fmt.Fprintln(w)
	}
	if err := d.writeAlerts(w); err != nil {
		return err
	}
	if len(d.removed) > 0 {
		fmt.Fprintf(w, "\nremoved, and not counted above: %s with %s\n", count(len(d.removed), "rule"), count(d.gone, "alert"))
	}
	for _, c := range d.removed[:min(len(d.removed), maxListed)] {
		fmt.Fprintf(w, "  - %s: %s; %s\n", c.id, d.ruleText(c.id), count(c.was, "alert"))
	}
	more(w, len(d.removed), "removed")
	return nil
}

// writeAlerts is about the alerts of the rules that are there now.
func (d *replayDiff) writeAlerts(w io.Writer) error {
	n := &d.all
	if n.changes() == 0 {
		of := ""
		if len(d.removed) > 0 {
			of = " of the rules that are there now"
		}
		fmt.Fprintf(w, "nothing changes%s: %s before and after\n", of, count(n.now, "alert"))
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
	for _, x := range []struct{ change, sign, head string }{{gained, "+", "only now"}, {lost, "-", "only before"}, {changed, "~", "in both but otherwise"}} {
		var list []*alertChange
		for i := range d.changes {
			if c := &d.changes[i]; c.Change == x.change && d.now.ByID(c.shown().Rule.ID) != nil {
				list = append(list, c)
			}
		}
		if len(list) == 0 {
			continue
		}
		slices.SortStableFunc(list, func(a, b *alertChange) int { return d.added(a.shown().Rule.ID) - d.added(b.shown().Rule.ID) })
		fmt.Fprintf(w, "\n%s:\n", x.head)
		for _, c := range list[:min(len(list), maxListed)] {
			a := c.shown()
			fmt.Fprintf(w, "%s %s  %-8s  %s  %s%s\n", x.sign, a.First.Format(time.DateTime), a.Severity, a.Rule.ID, alerting.Clean(a.Title), c.difference())
		}
		more(w, len(list), "alerts")
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
