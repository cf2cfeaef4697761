package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"picket/detect"
	"picket/detect/diag"
)

func newRulesCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rules",
		Short:   "List the rules, or show one",
		GroupID: groupLook,
		Example: "  picket rules list\n  picket rules show AU-01",
	}
	cmd.AddCommand(newRulesListCmd(e), newRulesShowCmd(e))
	return cmd
}

// ruleRow is a rule as lists show it.
type ruleRow struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Severity string   `json:"severity"`
	Mode     string   `json:"mode"`
	Status   string   `json:"status"`
	Detector string   `json:"detector"`
	Window   string   `json:"window,omitempty"`
	GroupBy  []string `json:"group_by"`
	Suppress string   `json:"suppress"`
	Tags     []string `json:"tags,omitempty"`
	Hash     string   `json:"hash"`
	File     string   `json:"file"`

	Exceptions []exceptionRow `json:"exceptions,omitempty"`
}

// exceptionRow is an exception of a rule, as of now.
type exceptionRow struct {
	Name    string `json:"name"`
	Reason  string `json:"reason"`
	Expires string `json:"expires"`
	Expired bool   `json:"expired"`
}

// exceptions is how many exceptions a rule has, and how many of them have ended.
func (r *ruleRow) exceptions() string {
	expired := 0
	for _, x := range r.Exceptions {
		if x.Expired {
			expired++
		}
	}
	switch {
	case len(r.Exceptions) == 0:
		return ""
	case expired == 0:
		return strconv.Itoa(len(r.Exceptions))
	}
	return fmt.Sprintf("%d (%d expired)", len(r.Exceptions), expired)
}

func rowOf(r *detect.Rule) ruleRow {
	row := ruleRow{
		ID: r.Info.ID, Name: r.Info.Name, Title: r.Info.Title, Severity: r.Severity, Mode: r.Mode.String(), Status: r.Status,
		Detector: r.Detector.Kind.String(), GroupBy: []string{}, Suppress: detect.Span(r.Suppress), Tags: r.Info.Tags, Hash: r.Info.Hash, File: r.File,
	}
	if r.Detector.Window > 0 {
		row.Window = detect.Span(r.Detector.Window)
	}
	for _, t := range r.GroupBy {
		row.GroupBy = append(row.GroupBy, t.String())
	}
	for i := range r.Exceptions {
		x := &r.Exceptions[i]
		row.Exceptions = append(row.Exceptions, exceptionRow{x.Name, x.Reason, x.Expires.Format(time.DateOnly), x.Expired(time.Now())})
	}
	return row
}

func newRulesListCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the rules in force",
		Args:    cobra.NoArgs,
		Example: "  picket rules list\n  picket rules list --json | jq -r .id",
		RunE: func(*cobra.Command, []string) error {
			_, rs, err := e.rulesIn("")
			if err != nil {
				return err
			}
			if asJSON {
				return printRulesJSON(e.stdout, rs)
			}
			return listRules(e.stdout, rs, e.width(e.stdout))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON line for each rule")
	return cmd
}

// listRules prints a table. A terminal gets lines that fit its width: what says nothing goes
// first, then what rules group by, their exceptions, and ends of titles. Width 0 is no terminal.
func listRules(out io.Writer, rs *detect.RuleSet, width int) error {
	rows := [][]string{{"ID", "SEVERITY", "MODE", "DETECTOR", "WINDOW", "GROUP BY", "EXCEPTIONS", "TITLE"}}
	const mode, groupBy, exceptions, title = 2, 5, 6, 7
	for _, r := range rs.Rules() {
		row := rowOf(r)
		rows = append(rows, []string{row.ID, row.Severity, row.Mode, row.Detector, row.Window, strings.Join(row.GroupBy, ", "), row.exceptions(), row.Title})
	}
	longest := make([]int, title+1)
	same := []bool{mode: true, exceptions: true, title: false} // and said nowhere
	for _, row := range rows[1:] {
		same[mode] = same[mode] && row[mode] == detect.ModeAlert.String()
		same[exceptions] = same[exceptions] && row[exceptions] == ""
	}
	for _, row := range rows {
		for i, cell := range row {
			longest[i] = max(longest[i], utf8.RuneCountInString(cell))
		}
	}
	if width > 0 {
		rest := width
		for i, n := range longest {
			switch {
			case i == groupBy || i == title:
			case same[i]:
				longest[i] = 0
			default:
				rest -= n + 2
			}
		}
		const least = 12 // characters of a group, of which fewer say nothing
		if longest[groupBy] = min(longest[groupBy], rest-longest[title]-2); longest[groupBy] < least {
			longest[groupBy] = 0
			if longest[title] > rest && longest[exceptions] > 0 {
				rest += longest[exceptions] + 2
				longest[exceptions] = 0
			}
			longest[title] = max(least, min(longest[title], rest))
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		var cells []string
		for i, cell := range row {
			if longest[i] > 0 {
				cells = append(cells, cut(cell, longest[i]))
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// cut shortens a text to n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

func printRulesJSON(w io.Writer, rs *detect.RuleSet) error {
	enc := json.NewEncoder(w)
	for _, r := range rs.Rules() {
		if err := enc.Encode(rowOf(r)); err != nil {
			return fmt.Errorf("print rule %s: %w", r.Info.ID, err)
		}
	}
	return nil
}

func newRulesShowCmd(e *env) *cobra.Command {
	var asYAML bool
	cmd := &cobra.Command{
		Use:     "show <id>",
		Short:   "Show what a rule is for, and what to do when it fires",
		Args:    cobra.ExactArgs(1),
		Example: "  picket rules show AU-01\n  picket rules show AU-01 --yaml > rules/my-01.yaml",
		Long: `Show says when a rule fires, what it is for, and what to do when it does. 'picket explain' shows its conditions.

With --yaml it prints the rule as it is written in its file, with its comments and tests: a start for a rule of your own.
Give that an id and a name of its own, and turn the original off (rules.disabled).`,
		ValidArgsFunction: e.completeRules,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			id := strings.ToUpper(args[0])
			off := slices.Contains(cfg.Rules.Disabled, id)
			if off { // whoever has put another in its place may want to look at it again
				cfg.Rules.Disabled = nil
			}
			rs, err := e.rules(cfg)
			if err != nil {
				return err
			}
			r := rs.ByID(id)
			if r == nil {
				return unknownRule(rs, args[0])
			}
			if asYAML {
				text := r.YAML()
				if !strings.HasSuffix(text, "\n") {
					text += "\n"
				}
				_, err := io.WriteString(e.stdout, text)
				return err
			}
			showRule(e.stdout, r, off)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asYAML, "yaml", false, "print the rule as its file has it")
	return cmd
}

func unknownRule(rs *detect.RuleSet, id string) error {
	var ids []string
	for _, r := range rs.Rules() {
		ids = append(ids, r.Info.ID)
	}
	if near := diag.Closest(strings.ToUpper(id), ids); near != "" {
		return usagef("no rule %q: did you mean %s?", id, near)
	}
	return usagef("no rule %q: 'picket rules list' shows what there is", id)
}

func showRule(w io.Writer, r *detect.Rule, off bool) {
	row := rowOf(r)
	fmt.Fprintf(w, "%s  %s\n%s\n\n", row.ID, row.Name, row.Title)
	pair := func(what, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-10s %s\n", what, text)
		}
	}
	pair("severity", row.Severity+", mode "+row.Mode+", status "+row.Status)
	if off {
		pair("turned off", "by rules.disabled")
	}
	pair("fires on", r.Summary())
	pair("one alert", "every "+row.Suppress)
	pair("tags", strings.Join(row.Tags, ", "))
	pair("from", fmt.Sprintf("%s:%d", r.File, r.Line))
	pair("hash", row.Hash)
	var except strings.Builder
	for _, x := range row.Exceptions {
		fmt.Fprintf(&except, "%s: %s (%s %s)\n", x.Name, x.Reason, map[bool]string{true: "expired", false: "expires"}[x.Expired], x.Expires)
	}
	for _, part := range []struct{ head, text string }{
		{"", r.Info.Description},
		{"Exceptions", except.String()},
		{"What to do", r.Info.Runbook},
		{"Likely false alarms", strings.Join(r.FalsePositives, "\n")},
		{"References", strings.Join(r.Info.References, "\n")},
	} {
		if part.text == "" {
			continue
		}
		fmt.Fprintln(w)
		if part.head != "" {
			fmt.Fprintln(w, part.head)
		}
		for line := range strings.Lines(part.text) {
			fmt.Fprint(w, "  ", line)
		}
		if !strings.HasSuffix(part.text, "\n") {
			fmt.Fprintln(w)
		}
	}
}
