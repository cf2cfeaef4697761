package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"picket/alerting"
	"picket/store"
)

// alertHistory is an alert with all that is known of it.
type alertHistory struct {
	*store.AlertState
	Actions    []store.Action   `json:"actions"`
	Deliveries []store.Delivery `json:"deliveries"`
}

func newAlertsShowCmd(e *env) *cobra.Command {
	var asJSON bool
	var tenant string
	cmd := &cobra.Command{
		Use:               "show <id>",
		Short:             "Show an alert with its evidence, what was told and what was done",
		Args:              cobra.ExactArgs(1),
		Example:           "  picket alerts show m5rj4q2cx3n7kqhghwyl6l5y3c\n  picket alerts show m5rj4q2c --json | jq .actions",
		ValidArgsFunction: e.completeAlerts,
		Long: `Show takes an id from a message or from 'picket alerts list', or the first characters of one. Evidence outlives the
events that it is about. What could act on a terminal is replaced.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := alertID(args[0])
			if err != nil {
				return err
			}
			db, err := e.alertStore(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			a, err := findAlert(cmd.Context(), db, id, tenant)
			if err != nil {
				return err
			}
			h := alertHistory{AlertState: a}
			if h.Actions, err = db.Actions(cmd.Context(), a.Tenant, a.ID); err != nil {
				return classify(err)
			}
			if h.Deliveries, err = db.Deliveries(cmd.Context(), a.Tenant, a.ID); err != nil {
				return classify(err)
			}
			if asJSON {
				if err := jsonTo(e.stdout).Encode(&h); err != nil {
					return fmt.Errorf("print the alert: %w", err)
				}
				return nil
			}
			return h.write(e.stdout, db.Database())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&tenant, "tenant", "", "only if it is this `tenant`'s")
	completeFlag(cmd, "tenant", cobra.NoFileCompletions)
	return cmd
}

// write shows it to a person. Texts of events come through Clean or escape.
func (h *alertHistory) write(out io.Writer, database string) error {
	a, clean := h.AlertState, alerting.Clean
	at := func(t time.Time) string { return t.UTC().Format(time.DateTime) }
	fmt.Fprintf(out, "%s  %s  %s\n%s\n\n", clean(a.ID), clean(a.Rule.ID), clean(a.Rule.Title), clean(a.Title))
	pair := func(what, text string) {
		if text != "" {
			fmt.Fprintf(out, "%-10s %s\n", what, text)
		}
	}
	pair("severity", clean(a.Severity)+", mode "+clean(a.Mode)+", tenant "+clean(a.Tenant))
	pair("state", stateText(a))
	settled := ""
	if !a.Settled {
		settled = ", may still grow"
	}
	pair("fired", fmt.Sprintf("%s, events from %s to %s", at(a.FiredAt), at(a.First), at(a.Last)))
	pair("events", fmt.Sprintf("%d%s", a.Count, settled))
	pair("why", clean(a.Why))
	var group []string
	for _, g := range a.Group {
		group = append(group, clean(g.Field)+" "+clean(g.Value))
	}
	pair("for", strings.Join(group, ", "))
	pair("tags", clean(strings.Join(a.Rule.Tags, ", ")))

	if n := len(a.Evidence); n > 0 {
		fmt.Fprintf(out, "\nEvidence, %s of %d\n", count(n, "event"), a.Count)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  TIME\tPLACE\tSERVER\tTYPE\tOUTCOME\tTOOL\tFINDING\tCONTEXT")
		for _, e := range a.Evidence {
			var context []string
			for _, g := range e.Context {
				context = append(context, clean(g.Field)+"="+clean(g.Value))
			}
			fmt.Fprintf(w, "  %s\t%d:%d\t%s\t%s\t%s\t%s\t%s\t%s\n", at(e.Time), e.Partition, e.Offset, clean(e.Server), clean(e.Type), clean(e.Outcome),
				clean(e.Tool), clean(e.Finding), strings.Join(context, " "))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		section(out, "Its rows", strings.Replace(alerting.EvidenceQuery(a.Alert), "picket.events", database+".events", 1))
	}
	var done, told strings.Builder
	for _, x := range h.Actions {
		fmt.Fprintf(&done, "%s  %s by %s", at(x.At), x.State, clean(x.Actor))
		if x.Note != "" {
			fmt.Fprintf(&done, ": %s", clean(x.Note))
		}
		done.WriteString("\n")
	}
	for _, d := range h.Deliveries {
		fmt.Fprintf(&told, "%s  %s %s", at(d.At), clean(d.Destination), clean(d.Outcome))
		if d.Error != "" {
			fmt.Fprintf(&told, ": %s", clean(d.Error))
		}
		told.WriteString("\n")
	}
	section(out, "What was told", told.String())
	section(out, "What was done", done.String())
	section(out, "What to do", a.Rule.Runbook)
	return nil
}

// section is a head with indented lines, or nothing.
func section(out io.Writer, head, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(out, "\n%s\n", head)
	for line := range strings.SplitSeq(strings.TrimRight(escape([]byte(text)), "\n"), "\n") {
		fmt.Fprintf(out, "  %s\n", line)
	}
}
