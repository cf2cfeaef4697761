package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"picket/cmd/internal/config"
	"picket/ingest"
)

// newCheckCmd is the parent of every check; by itself it runs all of them.
func newCheckCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check",
		Short:   "Show everything wrong with the configuration and the rules",
		GroupID: groupCheck,
		Long: `Check reads what 'picket run' would read, and shows everything wrong with it: file, line, column, and
what to write instead. It starts nothing and connects to nothing.

Without a subcommand it makes every check. The exit code is 78 when something is wrong.`,
		Example: "  picket check\n  picket check config picket.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := e.config(); err != nil {
				return err // every check needs one that can be read
			}
			var found []error
			for _, child := range cmd.Commands() {
				if child.RunE == nil {
					continue
				}
				child.SetContext(cmd.Context())
				found = append(found, child.RunE(child, nil))
			}
			return allOf(found)
		},
	}
	cmd.AddCommand(newCheckConfigCmd(e), newCheckRulesCmd(e))
	return cmd
}

// allOf is the errors of several checks as one, with the first exit code that one of them chose.
func allOf(found []error) error {
	err := errors.Join(found...)
	var exit *exitError
	if errors.As(err, &exit) {
		return &exitError{exit.code, err}
	}
	return err
}

// checkKeys reads the key file. One that nobody named may be made later, before 'picket run' needs it.
func (e *env) checkKeys(cfg *config.Config) error {
	_, err := ingest.LoadKeyring(cfg.Privacy.KeysFile)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist) && cfg.Privacy.KeysFile == filepath.Join(cfg.DataDir, "keys.json"):
		fmt.Fprintf(e.stdout, "no keys at %s yet: 'picket keys new' makes them, and 'picket run' needs them\n", cfg.Privacy.KeysFile)
		return nil
	}
	return keysError(cfg.Privacy.KeysFile, e.sameConfig(), err)
}

func newCheckConfigCmd(e *env) *cobra.Command {
	var printDefault bool
	cmd := &cobra.Command{
		Use:   "config [file]",
		Short: "Show everything wrong with the configuration",
		Args:  cobra.MaximumNArgs(1),

		ValidArgsFunction: files("yaml", "yml"),
		Long: `Check config reads the configuration as 'picket run' does, with the environment and the secret files
of this shell, and shows every problem at once. It also reads the key file.`,
		Example: `  picket check config
  picket check config /etc/picket/picket.yaml
  picket check config --print-default > picket.yaml`,
		RunE: func(_ *cobra.Command, args []string) error {
			if printDefault {
				if len(args) > 0 {
					return usagef("--print-default reads no file")
				}
				return config.PrintDefault(e.stdout)
			}
			if len(args) > 0 {
				e.configFlag = args[0]
			}
			cfg, err := e.config()
			if err != nil {
				return err
			}
			path := cfg.Path
			if path == "" {
				path = "no configuration file, so the defaults"
			}
			if err := e.checkKeys(cfg); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.stdout, "%s: ok\n", path)
			return err
		},
	}
	cmd.Flags().BoolVar(&printDefault, "print-default", false, "print a file with every option, its default and its documentation")
	return cmd
}
