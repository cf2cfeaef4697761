package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks; a second one kills, because nothing catches it any more.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes; the larger ones are those of sysexits.h.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUnavailable = 69  // a server that is needed cannot be reached
	exitConfig      = 78  // the configuration, a rule or a key is wrong
	exitInterrupted = 130 // as a shell reports Ctrl-C
)

// exitError is an error that chooses the exit code. Without err nothing more is
// printed: the command has said what is wrong.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, lookup: os.LookupEnv}
	root := newRoot(e)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		plainUsage(root)
	}
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return exitCode(ctx, err, cmd, e.started, stderr)
}

// exitCode prints what cmd ended with, once, and says how the process ends. Errors may quote what a server said.
func exitCode(ctx context.Context, err error, cmd *cobra.Command, started bool, stderr io.Writer) int {
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintf(stderr, "picket: %s\n", escape([]byte(err.Error())))
		}
		return exit.code
	case !started:
		fmt.Fprintf(stderr, "picket: %v\nRun '%s --help' for usage.\n", strings.TrimSpace(err.Error()), cmd.CommandPath())
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		fmt.Fprintf(stderr, "picket: %s\n", escape([]byte(err.Error())))
		return exitFailure
	}
}
