package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"picket": main, "clickhouse": clickhouse})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits CODE COMMAND [ARG...] runs the command and checks its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func TestVersionOf(t *testing.T) {
	recorded := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"},
		{Key: "vcs.time", Value: "2026-11-22T10:00:00Z"},
		{Key: "vcs.modified", Value: "true"},
	}}
	installed := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}
	for _, tt := range []struct {
		name string
		got  versionInfo
		want string
	}{
		{"linked", versionOf("v0.1.0-3-gabcdef1", "abcdef1234567890", "2026-11-22", recorded), "v0.1.0-3-gabcdef1 (2026-11-22, "},
		{"tagged", versionOf("v0.1.0", "abcdef1234567890", "", recorded), "v0.1.0 (commit abcdef123456, "},
		{"go build", versionOf("", "", "", recorded), "devel-0123456789ab-dirty (2026-11-22T10:00:00Z, "},
		{"go install", versionOf("", "", "", installed), "v1.2.3 (go"},
		{"nothing known", versionOf("", "", "", &debug.BuildInfo{}), "devel (go"},
	} {
		if s := tt.got.String(); !strings.HasPrefix(s, tt.want) {
			t.Errorf("%s: %q, want %q...", tt.name, s, tt.want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	if got := run(t.Context(), []string{"version"}, nil, &bytes.Buffer{}, &bytes.Buffer{}); got != exitOK {
		t.Error("version ended", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		err    error
		want   int
		stderr string
	}{
		{nil, exitOK, ""},
		{errors.New("write 3 events: refused"), exitFailure, "picket: write 3 events: refused\n"},
		{&exitError{exitUnavailable, errors.New("no broker")}, exitUnavailable, "picket: no broker\n"},
		{&exitError{exitConfig, nil}, exitConfig, ""},
		{fmt.Errorf("run: %w", &exitError{exitConfig, errors.New("no keys")}), exitConfig, "picket: run: no keys\n"},
		{usagef("--once needs no terminal"), exitUsage, "picket: --once needs no terminal\n"},
		{fmt.Errorf("poll: %w", context.Canceled), exitInterrupted, ""},
	} {
		var stderr bytes.Buffer
		if got := exitCode(ctx, tt.err, &cobra.Command{Use: "picket"}, true, &stderr); got != tt.want || stderr.String() != tt.stderr {
			t.Errorf("%v: exit code %d and %q, want %d and %q", tt.err, got, stderr.String(), tt.want, tt.stderr)
		}
	}
}

// A command in one group with a name of its own, a summary and an example: help is the manual.
func TestEveryCommandIsDocumented(t *testing.T) {
	var walk func(cmd *cobra.Command, top bool)
	walk = func(cmd *cobra.Command, top bool) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: summary %q", cmd.CommandPath(), cmd.Short)
		}
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if top && cmd.GroupID == "" {
			t.Errorf("%s is in no group", cmd.CommandPath())
		}
		if !cmd.HasSubCommands() && cmd.Args == nil {
			t.Errorf("%s takes any arguments", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			walk(child, false)
		}
	}
	for _, cmd := range newRoot(&env{lookup: os.LookupEnv}).Commands() {
		if cmd.Name() != "completion" { // cobra's own
			walk(cmd, true)
		}
	}
}

func TestColor(t *testing.T) {
	for _, vars := range []map[string]string{{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}} {
		e := &env{lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}
		if e.color(&bytes.Buffer{}) {
			t.Error("a buffer is no terminal")
		}
	}
}
