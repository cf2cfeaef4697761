package main

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"picket/alerting"
	"picket/store"
)

// verb is a way to act on alerts.
type verb struct {
	name, state string
	aliases     []string
	short, long string
	why         bool // --note is required
}

var verbs = []verb{
	{
		"ack", store.StateAcked,
		[]string{"acknowledge"},
		"Say that somebody looks at an alert",
		"Ack says that you look at the alert, so that nobody else has to.", false,
	},
	{
		"close", store.StateResolved,
		[]string{"resolve"},
		"Say that an alert was dealt with",
		"Close says that the alert was right and that what had to be done was done: its state is resolved.", true,
	},
	{
		"false-positive", store.StateSuppressed,
		[]string{"suppress"},
		"Say that an alert was a false alarm",
		`False-positive says that nothing was wrong: the alert's state is suppressed. It keeps no other alert from being told;
many of one rule (picket.v_rule_noise counts them) ask for an exception or another threshold.`, true,
	},
	{
		"reopen", store.StateOpen, nil, "Take back what was said about an alert",
		"Reopen puts the alert back among those on which somebody has to act. What was said before stays in its history.", false,
	},
}

// maxNote is the longest note: it is a line in a list, not a report.
const maxNote = 1000

func newAlertsActCmd(e *env, v verb) *cobra.Command {
	var note, by, tenant string
	cmd := &cobra.Command{
		Use:     v.name + " <id>...",
		Aliases: v.aliases,
		Short:   v.short,
		Args:    cobra.MinimumNArgs(1),
		Example: fmt.Sprintf("  picket alerts %s m5rj4q2cx3n7kqhghwyl6l5y3c --note 'the owner of the client was asked'\n  picket alerts %s m5rj4q2c 7xk2nd5f --by soc-bot --note 'ticket 4711'", v.name, v.name),
		Long: v.long + `

It adds a row to picket.alert_actions; all ids must be known, or nothing is written. An alert that is ` + v.state + ` already
stays as it is, with the note and the name that it has. Note and name are stored as you write them, and everybody who
may read alerts reads them: no personal data, no secrets.`,
		ValidArgsFunction: e.completeAlerts,
		RunE: func(cmd *cobra.Command, args []string) error {
			note = strings.TrimSpace(note)
			if v.why && note == "" {
				return usagef("%s needs --note: who looks next wants to know why", v.name)
			}
			if by == "" {
				by = e.whoami()
			}
			for _, x := range []struct{ flag, text string }{{"note", note}, {"by", by}} {
				if !utf8.ValidString(x.text) || utf8.RuneCountInString(x.text) > maxNote {
					return usagef("--%s: up to %d characters of text", x.flag, maxNote)
				}
			}
			ids := make([]string, len(args))
			for i, arg := range args {
				var err error
				if ids[i], err = alertID(arg); err != nil {
					return err
				}
			}
			db, err := e.alertStore(cmd.Context())
			if err != nil {
				return err
			}
			defer db.Close()
			var found []*store.AlertState
			var actions []store.Action
			for _, id := range ids {
				a, err := findAlert(cmd.Context(), db, id, tenant)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(found, func(b *store.AlertState) bool { return b.ID == a.ID && b.Tenant == a.Tenant }) {
					continue
				}
				found = append(found, a)
				if a.State != v.state { // of two people at once both may be written: the newer counts
					actions = append(actions, store.Action{Tenant: a.Tenant, AlertID: a.ID, State: v.state, Actor: by, Note: note})
				}
			}
			if err := store.NewAlertWriter(db).Act(cmd.Context(), actions...); err != nil {
				return classify(err)
			}
			for _, a := range found {
				now := fmt.Sprintf("%s by %s, was %s", v.state, alerting.Clean(by), stateText(a))
				if a.State == v.state {
					now = "already " + stateText(a)
				}
				fmt.Fprintf(e.stdout, "%s is %s\n    %s  %s\n", alerting.Clean(a.ID), now, alerting.Clean(a.Rule.ID), alerting.Clean(a.Title))
			}
			if n := len(found) - len(actions); n > 0 && note != "" {
				fmt.Fprintf(e.stderr, "nothing was written for %s, nor was the note\n", count(n, "alert"))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&note, "note", "m", "", "why, in a `sentence`")
	cmd.Flags().StringVar(&by, "by", "", "`who` says so (default $USER@host)")
	cmd.Flags().StringVar(&tenant, "tenant", "", "only if the alert is this `tenant`'s")
	for _, name := range []string{"note", "by", "tenant"} {
		completeFlag(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}

// whoami is who acts when nobody says otherwise.
func (e *env) whoami() string {
	name, _ := e.lookup("USER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}
