package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"picket/alerting"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/ingest"
)

func newReplayCmd(e *env) *cobra.Command {
	var dir, before string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "replay <file|->",
		Short:   "Judge recorded events by the rules, without Kafka or ClickHouse",
		GroupID: groupLook,
		Args:    cobra.ExactArgs(1),
		Long: `Replay reads events, one a line in any accepted format, through the engine that runs live, and prints the
final state of every alert. Lines are taken in the order in which they would have been appended: an event
that lies further back than the lateness behind those before it counts as late, as it would live.

Pseudonyms and alert ids are those of the configured keys; without keys they are made up for this replay.
Lines that cannot be read are counted, and the first are told on standard error; the exit code is 1 when none could be.

With --diff it judges the events also by the rules of another folder, such as a checkout of the main branch, and sums
up which rules differ, and which alerts the change gains, loses and changes, by rule, group and bucket. The folder takes
the place of the configured ones; if it has rules of the built-in pack, or is named "builtin" for the pack itself, it
stands for all rules. Rules that only the folder has are listed last, with how many alerts go with them, and are not
counted before: so one changed rule (--rules au-01.yaml) can be compared with the whole pack. --json prints every
difference, the alerts of such rules too.`,
		Example: `  picket replay events.jsonl
  picket replay events.jsonl --rules ./rules --json
  picket replay events.jsonl --rules ./rules --diff ../main/rules
  picket replay events.jsonl --rules au-01.yaml --diff builtin
  kcat -C -b kafka:9092 -t mcp.events -e | picket replay -`,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, rs, err := e.rulesIn(dir)
			if err != nil {
				return err
			}
			keys, err := e.replayKeys(cfg)
			if err != nil {
				return err
			}
			in, err := e.events(args[0])
			if err != nil {
				return fmt.Errorf("replay: %w", err)
			}
			defer in.Close()
			runs := []*replay{newReplay(cfg, rs, keys, e.stderr)}
			if before != "" {
				was, err := e.rulesBefore(cfg, before)
				if err != nil {
					return err
				}
				runs = append(runs, newReplay(cfg, was, keys, io.Discard))
			}
			if err := readLines(in, runs); err != nil {
				return fmt.Errorf("replay %s: %w", args[0], err)
			}
			now := runs[0].finish()
			if err := readable(runs[0].lines, runs[0].rejected); err != nil {
				return fmt.Errorf("replay %s: %w", args[0], err)
			}
			if before == "" {
				return showAlerts(e.stdout, now, asJSON)
			}
			d := newReplayDiff(runs[1].rules, rs, runs[1].finish(), now)
			if asJSON {
				return d.json(e.stdout)
			}
			return d.write(e.stdout)
		},
	}
	cmd.Flags().StringVar(&dir, "rules", "", "only the rules of this `folder` or file")
	cmd.Flags().StringVar(&before, "diff", "", "show what changes against the rules of this `folder` or file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines: alerts, or with --diff what changes")
	_ = cmd.MarkFlagFilename("rules", "yaml", "yml") // both flags are above
	_ = cmd.MarkFlagFilename("diff", "yaml", "yml")
	return cmd
}

// rulesIn loads the configured rules, or only those of a folder.
func (e *env) rulesIn(dir string) (*config.Config, *detect.RuleSet, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, nil, err
	}
	if dir != "" {
		onlyDir(cfg, dir)
	}
	rs, err := e.rules(cfg)
	return cfg, rs, err
}

// events opens a file of events, or standard input for "-".
func (e *env) events(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(e.stdin), nil
	}
	return os.Open(name)
}

// replayKeys are the configured keys, or new ones that are forgotten at the end.
func (e *env) replayKeys(cfg *config.Config) (*ingest.Keyring, error) {
	keys, err := ingest.LoadKeyring(cfg.Privacy.KeysFile)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(e.stderr, "no keys: pseudonyms and alert ids are made up for this replay")
		return ingest.NewKeyring(rand.Reader, time.Now())
	}
	if err != nil {
		return nil, keysError(cfg.Privacy.KeysFile, e.sameConfig(), err)
	}
	return keys, nil
}

// replay is one run over recorded lines.
type replay struct {
	lateness time.Duration
	decoder  *ingest.Decoder
	engine   *detect.Engine
	rules    *detect.RuleSet
	errs     io.Writer

	event    detect.Event
	clock    time.Time // append time of the newest line
	lines    int       // that are not empty
	rejected int
	said     []detect.Alert
	final    map[string]detect.Alert
}

func newReplay(cfg *config.Config, rs *detect.RuleSet, keys *ingest.Keyring, errs io.Writer) *replay {
	return &replay{
		lateness: cfg.Lateness, rules: rs, errs: errs, final: map[string]detect.Alert{},
		decoder: ingest.NewDecoder(ingest.Options{Lateness: cfg.Lateness, KeepLabels: cfg.Privacy.KeepLabels}),
		engine:  detect.NewEngine(rs, keys.Hasher(), cfg.Lateness, detect.WindowOptions{}),
	}
}

// readLines gives every line to all of the replays.
func readLines(in io.Reader, runs []*replay) error {
	lines := bufio.NewReaderSize(in, 1<<16)
	for n := int64(1); ; n++ {
		line, err := lines.ReadBytes('\n')
		if text := strings.TrimSpace(string(line)); text != "" {
			for _, r := range runs {
				r.line(n, []byte(text))
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// maxTold is how many unreadable lines are told one by one.
const maxTold = 10

func (r *replay) line(n int64, text []byte) {
	r.lines++
	ev := &r.event
	// The claim is only known once the line is read; the append time is then as late as it must be.
	if err := r.decoder.Decode(ev, ingest.Record{Topic: "replay", Offset: n, Value: text}); err != nil {
		if r.rejected++; r.rejected <= maxTold {
			fmt.Fprintf(r.errs, "line %d: %v\n", n, err)
		}
		return
	}
	if ev.Claimed.After(r.clock) {
		r.clock = ev.Claimed
	}
	ev.Append = r.clock
	ev.Stamp(r.lateness)
	r.take(r.engine.Observe(r.said[:0], ev, r.decoder.KeepLabel))
}

func (r *replay) take(said []detect.Alert) {
	r.said = said
	for i := range said {
		r.final[said[i].ID] = said[i]
	}
}

// finish settles what is open, and returns the final alerts by time, rule and group.
func (r *replay) finish() []detect.Alert {
	r.take(r.engine.Settle(r.said[:0], r.clock.Add(detect.Rewind(r.rules, r.lateness))))
	alerts := slices.SortedFunc(maps.Values(r.final), func(a, b detect.Alert) int { return compareAlerts(&a, &b) })
	if r.rejected > maxTold {
		fmt.Fprintf(r.errs, "... and %s more that cannot be read\n", count(r.rejected-maxTold, "line"))
	}
	fmt.Fprintf(r.errs, "%s, %d unreadable, %s\n", count(r.lines, "line"), r.rejected, count(len(alerts), "alert"))
	return alerts
}

// readable is an error when there was no event at all: no alert, or no line, would look like a good answer.
func readable(lines, rejected int) error {
	switch {
	case lines == 0:
		return errors.New("there is no event in it")
	case rejected == lines:
		return fmt.Errorf("none of %s could be read: events are one a line ('jq -c' makes them so), in a format that docs/events.md has", count(lines, "line"))
	}
	return nil
}

func showAlerts(w io.Writer, alerts []detect.Alert, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		for i := range alerts {
			if err := enc.Encode(&alerts[i]); err != nil {
				return fmt.Errorf("print alert: %w", err)
			}
		}
		return nil
	}
	for i := range alerts {
		a := &alerts[i]
		fmt.Fprintf(w, "%s  %-8s  %s  %s\n    %s\n", a.First.Format(time.DateTime), a.Severity, a.Rule.ID, alerting.Clean(a.Title), alerting.Clean(a.Why))
	}
	return nil
}
