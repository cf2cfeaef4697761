package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

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
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSEVERITY\tMODE\tDETECTOR\tWINDOW\tGROUP BY\tEXCEPTIONS\tTITLE")
			for _, r := range rs.Rules() {
				row := rowOf(r)
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.ID, row.Severity, row.Mode, row.Detector, row.Window, strings.Join(row.GroupBy, ", "), row.exceptions(), row.Title)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON line for each rule")
	return cmd
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
	return &cobra.Command{
		Use:               "show <id>",
		Short:             "Show what a rule is for, and what to do when it fires",
		Args:              cobra.ExactArgs(1),
		Example:           "  picket rules show AU-01",
		ValidArgsFunction: e.completeRules,
		RunE: func(_ *cobra.Command, args []string) error {
			_, rs, err := e.rulesIn("")
			if err != nil {
				return err
			}
			r := rs.ByID(strings.ToUpper(args[0]))
			if r == nil {
				return unknownRule(rs, args[0])
			}
			showRule(e.stdout, r)
			return nil
		},
	}
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

func showRule(w io.Writer, r *detect.Rule) {
	row := rowOf(r)
	fmt.Fprintf(w, "%s  %s\n%s\n\n", row.ID, row.Name, row.Title)
	pair := func(what, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-10s %s\n", what, text)
		}
	}
	pair("severity", row.Severity+", mode "+row.Mode+", status "+row.Status)
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
