package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"picket/cmd/internal/config"
	"picket/detect/diag"
)

// env is what commands may touch of the process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool) // of environment variables

	configFlag string // --config
	started    bool   // a command's own code runs: its errors are no usage errors
	warned     bool   // the configuration's warnings were written, which one command may load twice
}

const (
	groupRun   = "run"
	groupLook  = "look"
	groupCheck = "check"
	groupSetup = "setup"
)

// commands is every command, in the order of their groups.
func commands(e *env) []*cobra.Command {
	return []*cobra.Command{
		newDemoCmd(e),
		newRunCmd(e),
		newTapCmd(e),
		newEmbeddedCmd(e),
		newReplayCmd(e),
		newExplainCmd(e),
		newRulesCmd(e),
		newAlertsCmd(e),
		newAuditCmd(e),
		newDeadCmd(e),
		newHashCmd(e),
		newCheckCmd(e),
		newTestCmd(e),
		newKeysCmd(e),
		newTopicsCmd(e),
		newMigrateCmd(e),
		newVersionCmd(e),
	}
}

const rootLong = `Picket watches MCP servers. It reads their security events from Kafka, replaces personal data by
keyed pseudonyms, stores every event in ClickHouse exactly once, and tells Slack, PagerDuty and
others when a rule fires.

Without a configuration it starts a broker and a ClickHouse engine of its own, on loopback.`

const rootExample = `  picket demo                           see all of it work, with nothing configured
  picket keys new && picket run         run it on the embedded servers
  picket check config                   show everything wrong with ./picket.yaml
  picket check config --print-default   a file with every option to start from`

// newRoot builds the command tree.
func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "picket",
		Short:         "Watch MCP servers and tell people when something is wrong",
		Long:          rootLong,
		Example:       rootExample,
		Version:       buildVersion().String(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("picket {{.Version}}\n")
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.PersistentFlags().StringVarP(&e.configFlag, "config", "c", "",
		"configuration `file` (default $PICKET_CONFIG, else picket.yaml if it is there)")
	if err := root.MarkPersistentFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // the flag is two lines up
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run"},
		&cobra.Group{ID: groupLook, Title: "Look"},
		&cobra.Group{ID: groupCheck, Title: "Check"},
		&cobra.Group{ID: groupSetup, Title: "Set up"},
	)
	root.SetHelpCommandGroupID(groupLook)
	root.SetCompletionCommandGroupID(groupSetup)
	root.AddCommand(commands(e)...)
	root.InitDefaultCompletionCmd() // now, so that prepare sees it too
	for _, cmd := range root.Commands() {
		e.prepare(cmd)
	}
	return root
}

// prepare makes a parent name its children when it is called without one or
// with a wrong one, a command say which argument is wrong, and notes when a
// command's own code starts.
func (e *env) prepare(cmd *cobra.Command) {
	for _, child := range cmd.Commands() {
		e.prepare(child)
	}
	if cmd.ValidArgsFunction == nil && cmd.Args != nil && cmd.Args(cmd, []string{"x"}) != nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	if cmd.HasSubCommands() && cmd.Args == nil {
		cmd.Args = knownChild
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s needs one of: %s", cmd.CommandPath(), strings.Join(children(cmd), ", "))
		}
		return
	}
	if own := cmd.Args; own != nil && !cmd.HasSubCommands() {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := own(cmd, args); err != nil {
				return countArgs(cmd, args, err)
			}
			return nil
		}
	}
	if own := cmd.RunE; own != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			e.started = true
			return own(cmd, args)
		}
	}
}

func knownChild(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if cmd.SuggestionsMinimumDistance == 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%s: did you mean %s?", msg, strings.Join(near, " or "))
	}
	return fmt.Errorf("%s: it has %s", msg, strings.Join(children(cmd), ", "))
}

func children(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// usagef is an error about the command line that only the command itself can find.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// configPath is the file to read, "" for none.
func (e *env) configPath() (string, error) {
	if e.configFlag != "" {
		return e.configFlag, nil
	}
	if p, ok := e.lookup("PICKET_CONFIG"); ok && p != "" {
		return p, nil
	}
	const beside = "picket.yaml"
	switch _, err := os.Stat(beside); {
	case err == nil:
		return beside, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	default:
		return "", &exitError{exitConfig, fmt.Errorf("look for a configuration: %w", err)}
	}
}

// sameConfig is the flag that gives another command the configuration of this one.
func (e *env) sameConfig() string {
	if e.configFlag == "" {
		return ""
	}
	return " -c " + e.configFlag
}

// config loads the configuration for a command. What is wrong with it is
// written to standard error; the error that is returned only sums it up.
func (e *env) config() (*config.Config, error) {
	path, err := e.configPath()
	if err != nil {
		return nil, err
	}
	cfg, problems := config.Load(path, e.lookup)
	if err := e.refuse(path, problems); err != nil {
		return nil, err
	}
	cfg.Version = buildVersion().Version
	if !e.warned {
		for _, w := range cfg.Warnings {
			fmt.Fprintf(e.stderr, "warning: %s\n", w)
		}
	}
	e.warned = true
	return cfg, nil
}

// refuse writes down what is wrong with the configuration, and sums it up.
func (e *env) refuse(path string, problems diag.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	problems.Write(e.stderr, e.color(e.stderr))
	fmt.Fprintln(e.stderr)
	return &exitError{exitConfig, fmt.Errorf("%s in %s", count(len(problems), "problem"), path)}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// terminal reports whether a person reads w.
func (e *env) terminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is how many characters a line of the terminal w has; 0 where it is none.
func (e *env) width(w io.Writer) int {
	if f, ok := w.(interface{ Fd() uintptr }); ok {
		n, _, _ := term.GetSize(int(f.Fd())) // 0 with its error
		return n
	}
	return 0
}

// color reports whether w may get colours: see no-color.org.
func (e *env) color(w io.Writer) bool {
	if v, ok := e.lookup("NO_COLOR"); ok && v != "" {
		return false
	}
	if v, _ := e.lookup("TERM"); v == "dumb" {
		return false
	}
	return e.terminal(w)
}

// countArgs explains arguments that are too few or too many, which cobra only counts.
func countArgs(cmd *cobra.Command, args []string, err error) error {
	if s := err.Error(); !strings.HasPrefix(s, "accepts ") && !strings.HasPrefix(s, "requires ") && !strings.HasPrefix(s, "unknown command ") {
		return err // the command's own words
	}
	takes := strings.Fields(cmd.Use)[1:]
	msg := ""
	switch {
	case len(takes) == 0:
		msg = fmt.Sprintf("%s takes no arguments, and got %q", cmd.CommandPath(), args[0])
	case len(args) < len(takes):
		msg = strings.TrimSuffix(takes[len(args)], "...") + " is missing"
	default:
		msg = fmt.Sprintf("%q is an argument too many", args[len(takes)])
	}
	msg += "\nUsage:   " + cmd.UseLine()
	for line := range strings.Lines(cmd.Example) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, cmd.CommandPath()+" ") {
			msg += "\nExample: " + line
			break
		}
	}
	return errors.New(msg)
}
