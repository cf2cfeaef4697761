package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"picket/alerting"
	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/detect/diag"
	"picket/ingest"
)

func newDeadCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dead",
		Short:   "Look at records that could not become an event, and send them again",
		GroupID: groupLook,
		Example: "  picket dead list\n  picket dead show mcp.events:3:1042\n  picket dead redrive --class unknown_field --yes",
		Long: `A record that is no event is a dead letter: the topic picket.dead keeps its bytes as they came, as long as
raw records are kept, and ClickHouse keeps a row without them. Its name is where it came from:
topic:partition:offset. Once a newer Picket reads it, redrive sends it through the pipeline again, byte for byte.`,
	}
	cmd.AddCommand(newDeadListCmd(e), newDeadShowCmd(e), newDeadRedriveCmd(e))
	return cmd
}

// deadFilter is what list and redrive choose by.
type deadFilter struct {
	classes      []string
	since, until string
	offsets      string
	partition    int

	from, to       time.Time
	fromOff, toOff int64
}

func (f *deadFilter) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.classes, "class", nil, "only of these `classes` (not_json, unknown_field ...)")
	cmd.Flags().StringVar(&f.since, "since", "", "only appended since: a `time` like 2026-11-22T14:00:00Z, or a span like 2h or 3d")
	cmd.Flags().StringVar(&f.until, "until", "", "only appended before: a `time` or a span")
	cmd.Flags().IntVar(&f.partition, "partition", -1, "only of this `partition` of the events topic (default all)")
	cmd.Flags().Lookup("partition").DefValue = "0" // pflag would print the -1
	cmd.Flags().StringVar(&f.offsets, "offsets", "", "only of these offsets: `first-last`")
	completeFlag(cmd, "class", oneOf(classNames()...))
	for _, name := range []string{"since", "until", "partition", "offsets"} {
		completeFlag(cmd, name, cobra.NoFileCompletions)
	}
}

func classNames() []string {
	var out []string
	for _, c := range ingest.Classes() {
		out = append(out, string(c))
	}
	return out
}

// check reads the flags' texts.
func (f *deadFilter) check(now time.Time) error {
	for _, c := range f.classes {
		known := false
		for _, k := range ingest.Classes() {
			known = known || string(k) == c
		}
		if !known {
			return usagef("--class: there is no class %q: use one of %s", c, strings.Join(classNames(), ", "))
		}
	}
	var err error
	if f.from, err = moment(f.since, now); err != nil {
		return usagef("--since: %v", err)
	}
	if f.to, err = moment(f.until, now); err != nil {
		return usagef("--until: %v", err)
	}
	f.fromOff, f.toOff = -1, -1
	if f.offsets != "" {
		first, last, ok := strings.Cut(f.offsets, "-")
		if !ok {
			last = first
		}
		var err1, err2 error
		f.fromOff, err1 = strconv.ParseInt(first, 10, 64)
		f.toOff, err2 = strconv.ParseInt(last, 10, 64)
		if err1 != nil || err2 != nil || f.toOff < f.fromOff {
			return usagef("--offsets %q: write first-last, such as 100-200", f.offsets)
		}
	}
	return nil
}

func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := diag.ParseDuration(s); err == nil {
		return now.Add(-d.Abs()), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is no time like 2026-11-22T14:00:00Z and no span like 2h or 3d", s)
	}
	return t, nil
}

// any reports whether the filter narrows at all.
func (f *deadFilter) any() bool {
	return len(f.classes) > 0 || f.since != "" || f.until != "" || f.offsets != "" || f.partition >= 0
}

func (f *deadFilter) match(l *letter) bool {
	ok := len(f.classes) == 0
	for _, c := range f.classes {
		ok = ok || c == l.Class
	}
	return ok && (f.from.IsZero() || !l.Append.Before(f.from)) && (f.to.IsZero() || l.Append.Before(f.to)) &&
		(f.partition < 0 || int(l.Partition) == f.partition) && (f.offsets == "" || l.Offset >= f.fromOff && l.Offset <= f.toOff)
}

func newDeadListCmd(e *env) *cobra.Command {
	var f deadFilter
	var asJSON, stored bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List dead letters, the oldest first",
		Args:    cobra.NoArgs,
		Example: "  picket dead list --since 2h\n  picket dead list --class not_json --json\n  picket dead list --stored",
		Long: `List reads the topic of dead letters. With --stored it reads ClickHouse alone, whose rows are there for 90 days,
longer than the bytes. Nothing of a record's content is shown but names of fields that the format defines.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(time.Now()); err != nil {
				return err
			}
			cfg, err := e.config()
			if err != nil {
				return err
			}
			letters, err := e.deadLetters(cmd.Context(), cfg, stored)
			if err != nil {
				return err
			}
			var out []*letter
			for _, l := range letters {
				if f.match(l) {
					out = append(out, l)
				}
			}
			return listLetters(e.stdout, out, asJSON)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	cmd.Flags().BoolVar(&stored, "stored", false, "list ClickHouse's rows")
	return cmd
}

func (e *env) deadLetters(ctx context.Context, cfg *config.Config, stored bool) ([]*letter, error) {
	if !stored {
		m, err := readMorgue(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return m.letters, nil
	}
	db, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.DeadLetters(ctx, cfg.Kafka.Topics.Events)
	if err != nil {
		return nil, classify(err)
	}
	var out []*letter
	for _, r := range rows {
		out = append(out, &letter{
			Name: fmt.Sprintf("%s:%d:%d", r.Topic, r.Partition, r.Offset), Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
			Append: r.Append, Stage: r.Stage, Class: r.Class, Reason: r.Error, Bytes: r.Bytes,
		})
	}
	return out, nil
}

func listLetters(out io.Writer, letters []*letter, asJSON bool) error {
	if asJSON {
		enc := jsonTo(out)
		for _, l := range letters {
			if err := enc.Encode(l); err != nil {
				return fmt.Errorf("print a dead letter: %w", err)
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tAPPENDED\tCLASS\tBYTES\tREASON")
	for _, l := range letters {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s%s\n", alerting.Clean(l.Name), l.Append.UTC().Format(time.DateTime), alerting.Clean(l.Class), l.Bytes, alerting.Clean(l.reason()), l.redrives())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, count(len(letters), "dead letter"))
	return nil
}

// maxOnTerminal is how many bytes of a record a terminal gets.
const maxOnTerminal = 4 << 10

func newDeadShowCmd(e *env) *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "show <topic:partition:offset>",
		Short: "Show one dead letter and why it is one",
		Args:  cobra.ExactArgs(1),

		ValidArgsFunction: e.completeLetters,
		Long: `Show prints why a record was refused and its bytes as they came, raw personal data included. What could act on a
terminal is escaped, and a terminal gets the first 4 KiB only; --raw writes the bytes alone and as they are, to a file
or another program only.`,
		Example: "  picket dead show mcp.events:3:1042\n  picket dead show mcp.events:3:1042 --raw > record.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && e.terminal(e.stdout) {
				return usagef("--raw writes bytes as they came, which can act on a terminal: send them to a file or a program, such as | xxd")
			}
			if err := letterNames(args); err != nil {
				return err
			}
			m, err := e.morgue(cmd.Context())
			if err != nil {
				return err
			}
			l := m.byName[args[0]]
			if l == nil {
				return fmt.Errorf("there is no dead letter %q in %s: names are as 'picket dead list' shows them, and bytes are kept for %s only", args[0], m.topics.Dead, detect.Span(m.kept))
			}
			if raw {
				_, err := e.stdout.Write(l.value)
				return err
			}
			w := e.stdout
			fmt.Fprintf(w, "%s, appended %s\n%s: %s: %s%s\n", alerting.Clean(l.Name), l.Append.UTC().Format(time.RFC3339Nano),
				alerting.Clean(l.Stage), alerting.Clean(l.Class), alerting.Clean(l.reason()), l.redrives())
			if l.key != nil {
				fmt.Fprintf(w, "key: %q\n", l.key)
			}
			if l.Class == string(ingest.ClassUnreadable) {
				fmt.Fprintln(w, "its bytes could not be unpacked, and are only in the topic that it came from")
				return nil
			}
			fmt.Fprintf(w, "%s:\n", count(l.Bytes, "byte"))
			shown := l.value
			if e.terminal(w) && len(shown) > maxOnTerminal {
				shown = shown[:maxOnTerminal]
			}
			for line := range strings.SplitSeq(escape(shown), "\n") {
				fmt.Fprintf(w, "  | %s\n", line)
			}
			if rest := len(l.value) - len(shown); rest > 0 {
				fmt.Fprintf(w, "and %s more: send them all to a file or a program, such as | less\n", count(rest, "byte"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes as they came, not to a terminal")
	return cmd
}

// escape keeps what is printable and line breaks; all else is shown as Go writes it.
func escape(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n <= 1:
			fmt.Fprintf(&s, `\x%02x`, b[0])
		case r == '\n' || unicode.IsPrint(r):
			s.WriteRune(r)
		case r == '\t':
			s.WriteString(`\t`)
		case r == '\r':
			s.WriteString(`\r`)
		case r < 0x80:
			fmt.Fprintf(&s, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&s, `\u%04x`, r)
		default:
			fmt.Fprintf(&s, `\U%08x`, r)
		}
		b = b[n:]
	}
	return s.String()
}

func newDeadRedriveCmd(e *env) *cobra.Command {
	var f deadFilter
	var all, failed, yes bool
	cmd := &cobra.Command{
		Use:   "redrive [<topic:partition:offset>...]",
		Short: "Send dead letters through the pipeline again",
		Args:  cobra.ArbitraryArgs,

		ValidArgsFunction: e.completeLetters,
		Long: `Redrive sends the original bytes and key of the chosen dead letters to the partition that they came from, with the
header picket-redrive naming the original. Choose by names, by flags, or --all. Without --yes it only says what it would send.
A letter that failed again after a redrive is sent only by its name, or with --failed.

What was sent is written down beside the dead letters, so no letter is sent twice, also not by a redrive after one
that was killed in the middle. Run one at a time. A record that fails again is a new dead letter with a name of its own,
and says which letter it was.`,
		Example: "  picket dead redrive mcp.events:3:1042\n  picket dead redrive --class unknown_field --since 24h --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(time.Now()); err != nil {
				return err
			}
			if len(args) == 0 && !f.any() && !all {
				return usagef("choose dead letters by name, by --class, --since, --until, --partition or --offsets, or --all of them")
			}
			if err := letterNames(args); err != nil {
				return err
			}
			m, err := e.morgue(cmd.Context())
			if err != nil {
				return err
			}
			chosen, err := m.choose(args, &f)
			if err != nil {
				return err
			}
			return m.redrive(cmd.Context(), e, chosen, failed || len(args) > 0, yes)
		},
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "choose all dead letters")
	cmd.Flags().BoolVar(&failed, "failed", false, "send those too that failed again after a redrive")
	cmd.Flags().BoolVar(&yes, "yes", false, "send them")
	return cmd
}

// letterNames refuses what cannot be the name of a dead letter.
func letterNames(names []string) error {
	for _, n := range names {
		parts := strings.Split(n, ":")
		ok := len(parts) == 3 && parts[0] != ""
		for _, number := range parts[1:] {
			_, err := strconv.ParseUint(number, 10, 63)
			ok = ok && err == nil
		}
		if !ok {
			return usagef("%q is no name of a dead letter: write topic:partition:offset, such as mcp.events:3:1042 ('picket dead list' shows them)", n)
		}
	}
	return nil
}

// morgue reads the topic of dead letters.
func (e *env) morgue(ctx context.Context) (*morgue, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	return readMorgue(ctx, cfg)
}

func readMorgue(ctx context.Context, cfg *config.Config) (*morgue, error) {
	if err := needBrokers(cfg); err != nil {
		return nil, err
	}
	m := &morgue{kafka: app.KafkaConfig(cfg), topics: cfg.Kafka.Topics, kept: cfg.Kafka.Retention.Raw, byName: map[string]*letter{}}
	if err := m.read(ctx); err != nil {
		return nil, classify(err)
	}
	return m, nil
}
