package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picket/detect"
	"picket/ingest"
)

func newExplainCmd(e *env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:     "explain <rule> [file|-]",
		Short:   "Show what a rule compiled to, and why an event matches it or not",
		GroupID: groupLook,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which rule? Name one, such as: picket explain AU-01 events.jsonl ('picket rules list' shows them)")
			}
			return cobra.MaximumNArgs(2)(cmd, args)
		},
		ValidArgsFunction: e.completeRules,
		Long: `Explain says when a rule fires, prints its conditions, and how they are evaluated. With
a file of events, one a line in any accepted format, it prints for each what every condition saw and said;
the exit code is 1 when none could be read.

What it prints of events is raw: their values as they came, without pseudonyms. It is meant for the terminal
of whoever may read the events anyway.`,
		Example: `  picket explain AU-01
  picket explain IN-01 events.jsonl
  tail -1 events.jsonl | picket explain IN-01 -`,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, rs, err := e.rulesIn(dir)
			if err != nil {
				return err
			}
			rule := rs.ByID(strings.ToUpper(args[0]))
			if rule == nil {
				return unknownRule(rs, args[0])
			}
			if len(args) == 1 {
				var b strings.Builder
				x := rs.Explain(rule)
				x.Write(&b)
				_, err := io.WriteString(e.stdout, escape([]byte(b.String())))
				return err
			}
			in, err := e.events(args[1])
			if err != nil {
				return fmt.Errorf("explain: %w", err)
			}
			defer in.Close()
			decoder := ingest.NewDecoder(ingest.Options{Lateness: cfg.Lateness, KeepLabels: cfg.Privacy.KeepLabels})
			if err := explainEvents(e.stdout, rs, rule, decoder, cfg.Lateness, in); err != nil {
				return fmt.Errorf("explain %s: %w", args[1], err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "rules", "", "only the rules of this `folder` or file")
	_ = cmd.MarkFlagFilename("rules", "yaml", "yml") // the flag is the line above
	return cmd
}

// explainEvents prints one trace for each line, and is an error where none could be read.
func explainEvents(w io.Writer, rs *detect.RuleSet, rule *detect.Rule, decoder *ingest.Decoder, lateness time.Duration, in io.Reader) error {
	matcher, scanner := detect.NewMatcher(rs), detect.NewScanner()
	var ev detect.Event
	seen, rejected := 0, 0
	lines := bufio.NewReaderSize(in, 1<<16)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if text := strings.TrimSpace(string(line)); text != "" {
			var b strings.Builder
			seen++
			fmt.Fprintf(&b, "line %d: ", n)
			if err := decoder.Decode(&ev, ingest.Record{Topic: "explain", Offset: int64(n), Value: []byte(text)}); err != nil {
				rejected++
				fmt.Fprintf(&b, "%v\n", err)
			} else {
				ev.Append = ev.Claimed // exceptions end by the event's time
				ev.Stamp(lateness)
				scanner.Scan(&ev)
				t := matcher.ExplainEvent(rule, &ev)
				t.Write(&b)
			}
			if _, err := io.WriteString(w, escape([]byte(b.String()))); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return readable(seen, rejected)
		}
	}
}
