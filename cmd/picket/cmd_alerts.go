package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"picket/alerting"
	"picket/detect"
	"picket/detect/diag"
	"picket/store"
)

func newAlertsCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "alerts",
		Short:   "Look at alerts, and say what was done about them",
		GroupID: groupLook,
		Example: "  picket alerts list --open\n  picket alerts show m5rj4q2c\n  picket alerts ack m5rj4q2c --note 'the owner of the client is asked'",
		Long: `Alerts are in ClickHouse, with what people did about them. An alert is open until somebody acknowledges it, closes it
or calls it a false positive; the newest action counts, and the older ones stay as its history. Picket does nothing
with that: messages go on as before, and PagerDuty has an acknowledgement of its own. It is for whoever looks next, and
for picket.v_rule_noise, which says which rules cost attention for nothing.`,
	}
	cmd.AddCommand(newAlertsListCmd(e), newAlertsShowCmd(e))
	for _, v := range verbs {
		cmd.AddCommand(newAlertsActCmd(e, v))
	}
	return cmd
}

// alertStore opens ClickHouse for an analyst or responder, who may read alerts and nothing about the schema.
func (e *env) alertStore(ctx context.Context) (*store.DB, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	return openStoreAs(ctx, cfg, (*store.DB).Ping)
}

// severities are those of rules, the worst first.
func severities() []string {
	all := slices.DeleteFunc(slices.Clone(detect.Severity.Info().Enum), func(s string) bool { return s == "debug" || s == "info" })
	slices.Reverse(all)
	return all
}

func modes() []string {
	return []string{detect.ModeAlert.String(), detect.ModeShadow.String(), detect.ModeSignal.String()}
}

// alertFlags are what list chooses by.
type alertFlags struct {
	f            store.AlertFilter
	since, until string
	open         bool
}

func (f *alertFlags) flags(e *env, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.since, "since", "7d", "only fired since: a `time` like 2026-11-22T14:00:00Z, or a span like 2h or 3d")
	flags.StringVar(&f.until, "until", "", "only fired before: a `time` or a span")
	flags.StringSliceVar(&f.f.Rules, "rule", nil, "only of these `rules` (AU-01 ...)")
	flags.StringSliceVar(&f.f.Severities, "severity", nil, "only of these `severities` (critical, high, medium, low)")
	flags.StringVar(&f.f.Tenant, "tenant", "", "only of this `tenant`")
	flags.BoolVar(&f.open, "open", false, "only what is left to do: open and acked")
	flags.StringSliceVar(&f.f.States, "state", nil, "only in these `states` (open, acked, resolved, suppressed)")
	flags.StringSliceVar(&f.f.Modes, "mode", []string{detect.ModeAlert.String()}, "of rules in these `modes` (alert, shadow, signal)")
	flags.IntVar(&f.f.Limit, "limit", 100, "at most so many, the newest")
	for _, name := range []string{"since", "until", "tenant", "limit"} {
		completeFlag(cmd, name, cobra.NoFileCompletions)
	}
	completeFlag(cmd, "rule", e.completeRuleIDs)
	completeFlag(cmd, "severity", inOrder(oneOf(severities()...)))
	completeFlag(cmd, "state", inOrder(oneOf(store.AlertStates()...)))
	completeFlag(cmd, "mode", inOrder(oneOf(modes()...)))
}

// inOrder keeps a shell from sorting by the alphabet.
func inOrder(of completion) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		out, how := of(cmd, args, typed)
		return out, how | cobra.ShellCompDirectiveKeepOrder
	}
}

// check reads the flags' texts.
func (f *alertFlags) check(now time.Time) error {
	for _, x := range []struct {
		flag       string
		given, all []string
	}{{"severity", f.f.Severities, severities()}, {"state", f.f.States, store.AlertStates()}, {"mode", f.f.Modes, modes()}} {
		for _, v := range x.given {
			if !slices.Contains(x.all, v) {
				hint := "use one of " + strings.Join(x.all, ", ")
				if near := diag.Closest(v, x.all); near != "" {
					hint = "did you mean " + near + "?"
				}
				return usagef("--%s: there is no %q: %s", x.flag, v, hint)
			}
		}
	}
	switch {
	case f.open && len(f.f.States) > 0:
		return usagef("--open is --state open,acked: give one of the two")
	case f.open:
		f.f.States = []string{store.StateOpen, store.StateAcked}
	}
	if f.f.Limit < 1 {
		return usagef("--limit %d: it has to be 1 or more", f.f.Limit)
	}
	for i := range f.f.Rules {
		f.f.Rules[i] = strings.ToUpper(f.f.Rules[i])
		if strings.HasPrefix(f.f.Rules[i], "PICKET-") { // alerts about Picket itself
			f.f.Rules[i] = strings.ToLower(f.f.Rules[i])
		}
	}
	var err error
	if f.f.Since, err = moment(f.since, now); err != nil {
		return usagef("--since: %v", err)
	}
	if f.f.Until, err = moment(f.until, now); err != nil {
		return usagef("--until: %v", err)
	}
	return nil
}

func newAlertsListCmd(e *env) *cobra.Command {
	var f alertFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List alerts, the newest first",
		Args:    cobra.NoArgs,
		Example: "  picket alerts list --open\n  picket alerts list --since 2h --severity critical,high\n  picket alerts list --rule AU-01 --state suppressed --json | jq -r .note",
		Long: `List shows alerts of the last seven days as they stand. Rules in mode shadow tell nobody, and are left out unless
--mode says otherwise.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(time.Now()); err != nil {
				return err
			}
			db, err := e.alertStore(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			limit := f.f.Limit
			f.f.Limit++ // one more tells whether there are more
			alerts, err := db.Alerts(cmd.Context(), f.f)
			if err != nil {
				return classify(err)
			}
			if len(alerts) > limit {
				alerts = alerts[:limit]
				fmt.Fprintf(e.stderr, "there are more: these are the newest %d (--limit)\n", limit)
			}
			if asJSON {
				enc := jsonTo(e.stdout)
				for i := range alerts {
					if err := enc.Encode(&alerts[i]); err != nil {
						return fmt.Errorf("print an alert: %w", err)
					}
				}
				return nil
			}
			return listAlerts(e.stdout, alerts, e.width(e.stdout))
		},
	}
	f.flags(e, cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines, with evidence")
	return cmd
}

// listAlerts prints a table, whose titles are cut to a terminal's width, and sums up.
func listAlerts(out io.Writer, alerts []store.AlertState, width int) error {
	rows := [][]string{{"FIRED", "SEVERITY", "RULE", "EVENTS", "STATE", "ID", "TITLE"}}
	bySeverity, byState := map[string]int{}, map[string]int{}
	for i := range alerts {
		a := &alerts[i]
		rows = append(rows, []string{
			a.FiredAt.UTC().Format(time.DateTime), alerting.Clean(a.Severity), alerting.Clean(a.Rule.ID), fmt.Sprint(a.Count),
			alerting.Clean(a.State), alerting.Clean(a.ID), alerting.Clean(a.Title),
		})
		bySeverity[a.Severity]++
		byState[a.State]++
	}
	const title = 6
	left := width
	for i := range title {
		longest := 0
		for _, r := range rows {
			longest = max(longest, utf8.RuneCountInString(r[i]))
		}
		left -= longest + 2
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if width > 0 {
			r[title] = cut(r[title], max(left, len("TITLE")))
		}
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(out, count(len(alerts), "alert"))
	sep := ": "
	for _, of := range []struct {
		order []string
		n     map[string]int
	}{{severities(), bySeverity}, {store.AlertStates(), byState}} {
		for _, v := range of.order {
			if of.n[v] > 0 {
				fmt.Fprintf(out, "%s%d %s", sep, of.n[v], v)
				sep = ", "
			}
		}
		if sep == ", " {
			sep = "; "
		}
	}
	fmt.Fprintln(out)
	return nil
}

// alertID is the text of a command line as an id, or its first characters.
func alertID(s string) (string, error) {
	const shown = "'picket alerts list' shows them"
	id := strings.ToLower(s)
	for _, r := range id {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz234567", r) {
			return "", usagef("%q is no id of an alert: %q is in none, they are of the letters a to z and the digits 2 to 7 (%s)", s, r, shown)
		}
	}
	switch n := len(id); {
	case n < 4:
		return "", usagef("%q is no id of an alert: write 4 of its 26 characters at least (%s)", s, shown)
	case n > 26:
		return "", usagef("%q is no id of an alert: they have 26 characters, and this has %d (%s)", s, n, shown)
	}
	return id, nil
}

// findAlert is the one alert that is meant.
func findAlert(ctx context.Context, db *store.DB, id, tenant string) (*store.AlertState, error) {
	found, err := db.Alerts(ctx, store.AlertFilter{ID: id, Tenant: tenant, Limit: 3})
	switch {
	case err != nil:
		return nil, classify(err)
	case len(found) == 0 && tenant != "":
		return nil, fmt.Errorf("tenant %q has no alert %s: 'picket alerts list --tenant' shows those of the last seven days", tenant, id)
	case len(found) == 0:
		return nil, fmt.Errorf("there is no alert %s: 'picket alerts list' shows those of the last seven days", id)
	case len(found) > 1:
		return nil, fmt.Errorf("several alerts begin with %s, such as %s and %s: write more of it", id, found[0].ID, found[1].ID)
	}
	return &found[0], nil
}

// stateText says in what state an alert is, and who says so.
func stateText(a *store.AlertState) string {
	text := alerting.Clean(a.State)
	if a.StateAt.IsZero() {
		return text
	}
	text += " by " + cmp.Or(alerting.Clean(a.StateBy), "nobody named") + ", " + a.StateAt.UTC().Format(time.DateTime)
	if a.Note != "" {
		text += ": " + alerting.Clean(a.Note)
	}
	return text
}
