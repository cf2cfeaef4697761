package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/ingest/kafka"
	"picket/store"
)

func newAuditCmd(e *env) *cobra.Command {
	var asJSON, ledger, everything, expiredOK bool
	var limit int
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Compare what Kafka has with what is stored, offset by offset",
		GroupID: groupLook,
		Args:    cobra.NoArgs,
		Long: `Audit asks Kafka for each partition's log and for the offset that the store role has committed, and ClickHouse
which of these offsets have a row. Every record below the committed offset must have exactly one, as an event or as
a dead letter; what lies above it is in flight. It exits with 1 if something does not add up:

  lost        a record that Kafka has, below the committed offset, without a row, such as after an operator
              moved the offset forward
  expired     offsets that left Kafka before they were stored; the ledger remembers them for 90 days
  skipped     a range that nobody stored, seen after Kafka has dropped it; until then it is lost
  twice       rows too many for one offset
  beyond      rows or a commit beyond the end of the log: the topic was truncated or made anew

It joins no consumer group and changes nothing, so it may run beside the pipeline. The embedded servers of a
'picket run' on this machine are found by its data_dir.`,
		Example: "  picket audit\n  picket audit --json | jq .ok\n  picket audit --ledger",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if err := needBrokers(cfg); err != nil {
				return err
			}
			db, err := openStore(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer db.Close()
			if ledger {
				return e.showLedger(cmd.Context(), db, cfg.Kafka.Topics.Events, limit, asJSON)
			}
			a := auditor{db: db, cfg: cfg, kafka: app.KafkaConfig(cfg), everything: everything, expiredOK: expiredOK, tell: e.stages()}
			r, err := a.run(cmd.Context())
			if err != nil {
				return classify(err)
			}
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				if err := enc.Encode(r); err != nil {
					return fmt.Errorf("print the audit: %w", err)
				}
			} else {
				r.write(e.stdout)
			}
			if !r.OK {
				return &exitError{exitFailure, fmt.Errorf("audit: %s of %s in %d of %s", count(len(r.Problems), "problem"), r.Topic, r.bad(), count(len(r.Partitions), "partition"))}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.BoolVar(&ledger, "ledger", false, "show instead who stored which range when, the newest first")
	f.IntVar(&limit, "limit", 50, "ranges that --ledger shows")
	f.BoolVar(&everything, "everything", false, "look for duplicates below the start of Kafka's log too")
	f.BoolVar(&expiredOK, "expired-ok", false, "do not fail on what expired unread, or was a marker of a transaction")
	return cmd
}

// openStore opens ClickHouse, whose schema must be this version's.
func openStore(ctx context.Context, cfg *config.Config) (*store.DB, error) {
	return openStoreAs(ctx, cfg, (*store.DB).Verify)
}

// openStoreAs opens ClickHouse for somebody who may perhaps not read what Verify does: then check is another one.
func openStoreAs(ctx context.Context, cfg *config.Config, check func(*store.DB, context.Context) error) (*store.DB, error) {
	if err := app.FindEngine(cfg); err != nil {
		return nil, &exitError{exitConfig, err}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	db, err := store.Open(ctx, app.StoreConfig(cfg))
	if err == nil {
		if err = check(db, ctx); err != nil {
			db.Close()
		}
	}
	if err != nil && store.Classify(err) == store.Retry {
		return nil, &exitError{exitUnavailable, err}
	}
	return db, classify(err)
}

// needBrokers finds the brokers: the configured ones, or those of a 'picket run' on the same data_dir.
func needBrokers(cfg *config.Config) error {
	if err := app.FindBroker(cfg); err != nil {
		return &exitError{exitConfig, err}
	}
	return nil
}

// auditReport is what the command prints.
type auditReport struct {
	Topic      string           `json:"topic"`
	Group      string           `json:"group"`
	OK         bool             `json:"ok"`
	Events     uint64           `json:"events"`
	Dead       uint64           `json:"dead"`
	Lost       int64            `json:"lost"`
	Twice      uint64           `json:"twice"`
	InFlight   int64            `json:"in_flight"`
	Partitions []partitionAudit `json:"partitions"`
	Problems   []string         `json:"problems"`
}

// partitionAudit is one row of it.
type partitionAudit struct {
	Partition int          `json:"partition"`
	Start     int64        `json:"log_start"`
	End       int64        `json:"log_end"`
	Committed int64        `json:"committed"` // -1: nothing yet
	Events    uint64       `json:"events"`    // rows of offsets in the log, or of all with --everything
	Dead      uint64       `json:"dead"`
	Lost      int64        `json:"lost"`
	NoData    int64        `json:"no_data"` // offsets without a row that hold no record either
	Expired   uint64       `json:"expired"`
	Skipped   int64        `json:"skipped"`
	Twice     uint64       `json:"twice"`
	Beyond    uint64       `json:"beyond"`
	InFlight  int64        `json:"in_flight"`
	Ahead     uint64       `json:"ahead"`             // in flight and stored already
	Missing   []store.Span `json:"missing,omitempty"` // ranges with a lost record
	Unseen    int64        `json:"unseen,omitempty"`  // from here on, nobody looked for lost records
	Problems  []string     `json:"problems,omitempty"`
}

// auditor does one audit.
type auditor struct {
	db                    *store.DB
	cfg                   *config.Config
	kafka                 kafka.Config
	everything, expiredOK bool
	tell                  func(format string, args ...any) // what it is at
}

func (a *auditor) run(ctx context.Context) (*auditReport, error) {
	r := &auditReport{Topic: a.cfg.Kafka.Topics.Events, Group: a.cfg.Kafka.GroupPrefix + "." + role.Store, Problems: []string{}}
	logs, made, err := a.offsets(ctx, r.Group, r.Topic)
	if err != nil {
		return nil, err
	}
	for i, l := range logs {
		a.tell("audit: partition %d of %d", i+1, len(logs))
		p, err := a.partition(ctx, r.Topic, i, l)
		if err != nil {
			return nil, err
		}
		r.Partitions = append(r.Partitions, p)
	}
	if err := a.sortMissing(ctx, r); err != nil {
		return nil, err
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		a.judge(p)
		if made > 0 && i >= made && p.Committed < 0 && p.InFlight > 0 {
			p.Problems = append(p.Problems, fmt.Sprintf("nobody reads its %s: it was added, and the topic was made with %d partitions (picket topics verify says what to do)", count(int(p.InFlight), "record"), made))
		}
		r.Events, r.Dead, r.Twice = r.Events+p.Events, r.Dead+p.Dead, r.Twice+p.Twice
		r.Lost, r.InFlight = r.Lost+p.Lost, r.InFlight+p.InFlight
		for _, text := range p.Problems {
			r.Problems = append(r.Problems, fmt.Sprintf("partition %d: %s", p.Partition, text))
		}
	}
	r.OK = len(r.Problems) == 0
	return r, nil
}

// offsets are those of each partition, and how many of them the topic was made with where that matters: 0 elsewhere.
func (a *auditor) offsets(ctx context.Context, group, topic string) ([]kafka.Offsets, int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t, err := kafka.NewTopics(ctx, a.kafka)
	if err != nil {
		return nil, 0, err
	}
	defer t.Close()
	out, err := t.Offsets(ctx, group, topic)
	if err != nil {
		return nil, 0, err
	}
	unread := func(o kafka.Offsets) bool { return o.Committed < 0 && o.End > o.Start }
	if !slices.ContainsFunc(out, unread) || !slices.ContainsFunc(out, func(o kafka.Offsets) bool { return o.Committed >= 0 }) {
		return out, 0, nil // as while nothing was stored yet
	}
	made, err := t.Recorded(ctx, topic)
	if err != nil {
		made = 0 // who may not read it gets the rest of the audit
	}
	return out, made, nil
}

// maxSpans is how many ranges of a partition without a row are looked at: each transaction of a producer
// leaves one.
const maxSpans = 1_000_000

func (a *auditor) partition(ctx context.Context, topic string, n int, l kafka.Offsets) (partitionAudit, error) {
	p := partitionAudit{Partition: n, Start: l.Start, End: l.End, Committed: l.Committed}
	done := l.Committed // everything below must be stored
	if done < 0 {
		done = l.Start
	}
	promised := min(done, l.End)
	p.InFlight = max(0, l.End-max(done, l.Start))
	from := l.Start
	if a.everything {
		from = 0
	}
	all, err := a.db.Audit(ctx, topic, int32(n), from, max(from, l.End))
	if err != nil {
		return p, err
	}
	p.Events, p.Dead, p.Twice = all.Events, all.Dead, all.Twice()
	if promised > l.Start {
		s, err := a.db.Audit(ctx, topic, int32(n), l.Start, promised)
		if err != nil {
			return p, err
		}
		if s.Distinct() < uint64(promised-l.Start) {
			if p.Missing, err = a.db.Missing(ctx, topic, int32(n), l.Start, promised, maxSpans); err != nil {
				return p, err
			}
		}
	}
	if p.InFlight > 0 {
		s, err := a.db.Audit(ctx, topic, int32(n), max(done, l.Start), l.End)
		if err != nil {
			return p, err
		}
		p.Ahead = s.Distinct()
	}
	beyond, err := a.db.Audit(ctx, topic, int32(n), l.End, math.MaxInt64)
	if err != nil {
		return p, err
	}
	p.Beyond = beyond.Distinct()
	return p, a.below(ctx, topic, &p, done)
}

// below asks the ledger about what Kafka no longer has.
func (a *auditor) below(ctx context.Context, topic string, p *partitionAudit, done int64) error {
	sum, err := a.db.LedgerSum(ctx, topic, int32(p.Partition), p.Start)
	if err != nil {
		return err
	}
	p.Expired = sum.Bare
	for _, h := range sum.Holes {
		p.Skipped += h.End - h.Begin
	}
	if p.Committed >= 0 && done < p.Start { // expired under the reader's eyes
		s, err := a.db.Audit(ctx, topic, int32(p.Partition), done, p.Start)
		if err != nil {
			return err
		}
		p.Expired += uint64(p.Start-done) - min(uint64(p.Start-done), s.Distinct())
	}
	return nil
}

// errSeen ends a scan early.
var errSeen = errors.New("all is seen")

// sortMissing tells records without a row from offsets that hold none, such as markers of
// transactions. It reads the topic, and only if something is missing.
func (a *auditor) sortMissing(ctx context.Context, r *auditReport) error {
	last := -1
	lost := make([]map[store.Span]bool, len(r.Partitions)) // which of the missing ranges have a record
	for i := range r.Partitions {
		p := &r.Partitions[i]
		for _, s := range p.Missing {
			p.NoData += s.End - s.Begin
			last = i
		}
		lost[i] = map[store.Span]bool{}
	}
	if last < 0 {
		return nil
	}
	read := 0
	// saw is called with offsets that have a record.
	saw := func(partition int32, begin, end int64) error {
		if int(partition) > last {
			return errSeen
		}
		p := &r.Partitions[partition]
		n, _ := slices.BinarySearchFunc(p.Missing, begin, func(s store.Span, offset int64) int { return cmp.Compare(s.End, offset+1) })
		for ; n < len(p.Missing) && p.Missing[n].Begin < end; n++ {
			s := p.Missing[n]
			both := min(s.End, end) - max(s.Begin, begin)
			p.Lost, p.NoData = p.Lost+both, p.NoData-both
			lost[partition][s] = true
		}
		return nil
	}
	err := kafka.ScanPast(ctx, a.kafka, r.Topic, func(rec kafka.Record) error {
		if read++; read%10_000 == 0 {
			a.tell("audit: %d records of %s read, to tell lost ones from offsets without a record", read, r.Topic)
		}
		return saw(rec.Partition, rec.Offset, rec.Offset+1)
	}, func(partition int32, u kafka.Unreadable) error { // each of its offsets is to have a dead letter
		return saw(partition, u.Begin, u.End)
	})
	if err != nil && !errors.Is(err, errSeen) {
		return fmt.Errorf("look for what is missing: %w", err)
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if len(p.Missing) == maxSpans {
			p.Unseen = p.Missing[maxSpans-1].End
		}
		p.Missing = slices.DeleteFunc(p.Missing, func(s store.Span) bool { return !lost[i][s] })
	}
	return nil
}

func (a *auditor) judge(p *partitionAudit) {
	say := func(format string, args ...any) { p.Problems = append(p.Problems, fmt.Sprintf(format, args...)) }
	if p.Lost > 0 {
		say("%s below the committed offset %d without a row, in %s", count(int(p.Lost), "record"), p.Committed, spans(p.Missing))
	}
	if p.Unseen > 0 {
		say("%s without a row: what is missing from offset %d on was not looked at", count(maxSpans, "range"), p.Unseen)
	}
	if p.Twice > 0 {
		say("%s too many", count(int(p.Twice), "row"))
	}
	if p.Expired > 0 && !a.expiredOK {
		say("%s left Kafka without having been stored (or were markers of transactions: --expired-ok)", count(int(p.Expired), "offset"))
	}
	if p.Skipped > 0 {
		say("%s were skipped: the ledger has holes", count(int(p.Skipped), "offset"))
	}
	if p.Beyond > 0 || p.Committed > p.End {
		at := "nothing"
		if p.Committed >= 0 {
			at = fmt.Sprint(p.Committed)
		}
		say("the log ends at %d, but %s lie beyond it and %s is committed: the topic was truncated or made anew", p.End, count(int(p.Beyond), "stored offset"), at)
	}
}

// spans names the first few.
func spans(ss []store.Span) string {
	var parts []string
	for i, s := range ss {
		if i == 5 {
			parts = append(parts, fmt.Sprintf("and %d more", len(ss)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("[%d, %d)", s.Begin, s.End))
	}
	return strings.Join(parts, " ")
}

func (r *auditReport) bad() (n int) {
	for i := range r.Partitions {
		if len(r.Partitions[i].Problems) > 0 {
			n++
		}
	}
	return n
}

func (r *auditReport) write(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "PARTITION\tLOG START\tCOMMITTED\tLOG END\tEVENTS\tDEAD\tLOST\tTWICE\tIN FLIGHT\t")
	for i := range r.Partitions {
		p := &r.Partitions[i]
		at := "none"
		if p.Committed >= 0 {
			at = fmt.Sprint(p.Committed)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Partition, p.Start, at, p.End, p.Events, p.Dead, p.Lost, p.Twice, p.InFlight)
	}
	_ = w.Flush() // a broken pipe ends the process anyway
	for _, text := range r.Problems {
		fmt.Fprintln(out, text)
	}
	if r.OK {
		fmt.Fprintf(out, "%s adds up: %s and %s stored once each, %d in flight\n", r.Topic, count(int(r.Events), "event"), count(int(r.Dead), "dead letter"), r.InFlight)
	}
}

func (e *env) showLedger(ctx context.Context, db *store.DB, topic string, limit int, asJSON bool) error {
	rows, err := db.Ledger(ctx, topic, limit)
	if err != nil {
		return classify(err)
	}
	if asJSON {
		enc := json.NewEncoder(e.stdout)
		for i := range rows {
			if err := enc.Encode(&rows[i]); err != nil {
				return fmt.Errorf("print the ledger: %w", err)
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STORED AT\tPARTITION\tOFFSETS\tEVENTS\tDEAD\tINSTANCE\tGENERATION")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t[%d, %d)\t%d\t%d\t%s\t%d\n", r.StoredAt.UTC().Format("2006-01-02 15:04:05.000"), r.Partition, r.Begin, r.End, r.Events, r.Dead, r.Instance, r.Generation)
	}
	return w.Flush()
}
