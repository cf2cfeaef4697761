package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"picket/cmd/internal/config"
	"picket/cmd/internal/demo"
	"picket/detect"
)

func newDemoCmd(e *env) *cobra.Command {
	var once, asJSON bool
	var dir string
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Watch the whole path on real MCP traffic, with nothing configured",
		GroupID: groupRun,
		Args:    cobra.NoArgs,
		Long: `Demo starts everything on free loopback ports, lets an MCP client work with the official filesystem server
under the tap, first well and then badly, feeds a burst of log lines of another server, and shows each alert
as it fires. Its data lives in a temporary folder.

On a terminal it goes on until Ctrl-C. Elsewhere, or with --once, it ends by itself. Its last line is a summary:
a sentence on a terminal, JSON elsewhere or with --json.`,
		Example: "  picket demo\n  picket demo --once | tail -1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program, to run its tap: %w", err)
			}
			err = demo.Run(cmd.Context(), demo.Options{
				Out: e.stdout, Err: e.stderr, Color: e.color(e.stdout), Progress: e.progress(), Dir: dir,
				Tap:   []string{self, "tap"},
				Rules: func(c *config.Config) (*detect.RuleSet, error) { return e.rules(c) },
				Stay:  !once && e.terminal(e.stdout),
				JSON:  asJSON || !e.terminal(e.stdout),
			})
			if err != nil {
				return classify(err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end by itself, also on a terminal")
	cmd.Flags().BoolVar(&asJSON, "json", false, "end with a line of JSON, also on a terminal")
	cmd.Flags().StringVar(&dir, "dir", "", "keep the data in this `folder` instead of a temporary one")
	return cmd
}
