package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"picket/alerting"
	"picket/detect"
	"picket/store"
)

// completion is what cobra asks for candidates.
type completion = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// oneOf completes a list of values that are parted by commas, each once.
func oneOf(values ...string) completion {
	return func(_ *cobra.Command, _ []string, typed string) (out []string, _ cobra.ShellCompDirective) {
		before, last := "", typed
		if i := strings.LastIndexByte(typed, ','); i >= 0 {
			before, last = typed[:i+1], typed[i+1:]
		}
		for _, v := range values {
			if strings.HasPrefix(v, last) && !slices.Contains(strings.Split(before, ","), v) {
				out = append(out, before+v)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// files completes the names of files with these endings, and folders, as the only argument.
func files(endings ...string) completion {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return endings, cobra.ShellCompDirectiveFilterFileExt
	}
}

// completeFlag is for flags that the line above has made.
func completeFlag(cmd *cobra.Command, name string, fn completion) {
	if err := cmd.RegisterFlagCompletionFunc(name, fn); err != nil {
		panic(err)
	}
}

// completeRules offers the rules' ids with their titles as the first argument.
func (e *env) completeRules(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	_, rs, err := e.quiet().rulesIn("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, r := range rs.Rules() {
		if strings.HasPrefix(r.Info.ID, strings.ToUpper(typed)) {
			out = append(out, r.Info.ID+"\t"+r.Info.Title)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeRuleIDs offers ids of rules for a flag, each once.
func (e *env) completeRuleIDs(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	_, rs, err := e.quiet().rulesIn("")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return oneOf(ruleIDs(rs)...)(cmd, args, strings.ToUpper(typed))
}

// completeAlerts offers the newest alerts, as long as ClickHouse answers at once.
func (e *env) completeAlerts(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() == "show" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
	defer cancel()
	db, err := e.quiet().alertStore(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer db.Close()
	alerts, err := db.Alerts(ctx, store.AlertFilter{ID: typed, Modes: []string{detect.ModeAlert.String()}, Limit: 100})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for i := range alerts {
		if a := &alerts[i]; !slices.Contains(args, a.ID) {
			out = append(out, alerting.Clean(a.ID)+"\t"+alerting.Clean(fmt.Sprintf("%s %s %s %s", a.Rule.ID, a.Severity, a.State, a.Rule.Title)))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeLetters offers dead letters, as long as the broker answers at once.
func (e *env) completeLetters(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() == "show" {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
	defer cancel()
	m, err := e.quiet().morgue(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, l := range m.letters {
		if name := alerting.Clean(l.Name); strings.HasPrefix(name, typed) && !slices.Contains(args, l.Name) {
			out = append(out, name+"\t"+alerting.Clean(l.Class))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// quiet is for a shell, which has no use for messages.
func (e *env) quiet() *env {
	q := *e
	q.stderr = io.Discard
	return &q
}

// plainUsage takes the marks out of the flags' texts that name their values in help: a shell
// would show them.
func plainUsage(cmd *cobra.Command) {
	plain := func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") }
	cmd.Flags().VisitAll(plain)
	cmd.PersistentFlags().VisitAll(plain)
	for _, child := range cmd.Commands() {
		plainUsage(child)
	}
}
