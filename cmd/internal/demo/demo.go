package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"picket/alerting"
	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/store"
)

// Options are what the demo needs of its surroundings.
type Options struct {
	Out      io.Writer    // the show; the last line is the summary
	Err      io.Writer    // the pipeline's log
	TapErr   io.Writer    // standard error of the tap and of the server under it; dropped when nil
	Level    slog.Leveler // of the pipeline's log; warnings when nil
	Color    bool
	Progress app.Progress
	Tap      []string // command line of this program's tap, to which the flags and the server's command are added
	Rules    func(*config.Config) (*detect.RuleSet, error)
	Dir      string // for all data; made, and removed afterwards when empty
	Stay     bool   // go on until the context ends, for looking around
	JSON     bool   // of the last line

	// Inspect is called when all traffic is judged, stored and told, and everything still
	// runs; the configuration says where. May be nil.
	Inspect func(context.Context, *config.Config) error
}

// Summary is the last line of a demo that ends by itself.
type Summary struct {
	EventsRead   int      `json:"events_read"`
	EventsStored int      `json:"events_stored"`
	DeadLetters  int      `json:"dead_letters"`
	Alerts       int      `json:"alerts"`
	Rules        []string `json:"rules"`
	Messages     int      `json:"messages"`
	FirstAlertMS int64    `json:"first_alert_ms"` // from the first hostile record to an alert shown
	ElapsedMS    int64    `json:"elapsed_ms"`
}

// String is the summary for a person.
func (s *Summary) String() string {
	took := func(ms, to time.Duration) time.Duration { return (ms * time.Millisecond).Round(to * time.Millisecond) }
	first := "nothing fired"
	if s.Alerts > 0 {
		first = fmt.Sprintf("%d alerts of %d rules in %d messages, the first %s after the first hostile record",
			s.Alerts, len(s.Rules), s.Messages, took(time.Duration(s.FirstAlertMS), 10))
	}
	return fmt.Sprintf("done in %s: %d events stored, %d unreadable, %s", took(time.Duration(s.ElapsedMS), 100), s.EventsStored, s.DeadLetters, first)
}

// Run is the whole demo.
func Run(ctx context.Context, o Options) error {
	start := time.Now()
	d := &demo{Options: o, show: newShow(o.Out, o.Color)}
	dir := o.Dir
	if dir == "" {
		tmp, done, err := scratch(os.TempDir())
		if err != nil {
			return fmt.Errorf("make a folder for the demo: %w", err)
		}
		defer done()
		dir = tmp
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	server, err := fetchServer(ctx, d.show.step)
	if err != nil {
		return err
	}
	cfg, err := d.configure(dir)
	if err != nil {
		return err
	}
	a, err := d.start(ctx, cfg)
	if err != nil {
		return err
	}
	// Its error is about leaving groups in time; the demo has said what it had to say by then.
	defer func() { _ = a.Stop() }()
	sum, err := d.perform(ctx, cfg, a, server, filepath.Join(dir, "workspace"))
	if err != nil {
		return err
	}
	if o.Inspect != nil {
		if err := o.Inspect(ctx, cfg); err != nil {
			return fmt.Errorf("inspect the demo: %w", err)
		}
	}
	sum.ElapsedMS = time.Since(start).Milliseconds()
	if o.Stay {
		d.show.note("Everything keeps running until Ctrl-C, so look around.")
		<-ctx.Done()
	}
	if o.JSON {
		return json.NewEncoder(o.Out).Encode(sum)
	}
	d.show.step(sum.String())
	return nil
}

type demo struct {
	Options
	show *show
	tell *teller
}

// configure is a configuration as somebody with nothing would run it, on free ports.
func (d *demo) configure(dir string) (*config.Config, error) {
	cfg, problems := config.Load("", func(string) (string, bool) { return "", false })
	if len(problems) > 0 {
		return nil, problems
	}
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.Privacy.KeysFile = filepath.Join(dir, "keys.json")
	cfg.Admin.Listen, cfg.Kafka.Embedded.Listen, cfg.ClickHouse.Embedded.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Kafka.Partitions = config.Partitions{Events: 3, Signals: 3}
	cfg.Batch.MaxWait = 100 * time.Millisecond
	keys, err := ingest.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		return nil, err
	}
	if err := keys.WriteNew(cfg.Privacy.KeysFile); err != nil && !errors.Is(err, fs.ErrExist) { // of the demo before in the same folder
		return nil, err
	}
	return cfg, nil
}

func (d *demo) start(ctx context.Context, cfg *config.Config) (*app.App, error) {
	keys, err := ingest.LoadKeyring(cfg.Privacy.KeysFile)
	if err != nil {
		return nil, err
	}
	rules, err := d.Rules(cfg)
	if err != nil {
		return nil, err
	}
	d.show.step("starting a Kafka broker, ClickHouse and the pipeline on loopback")
	d.tell = &teller{show: d.show}
	level := d.Level
	if level == nil {
		level = slog.LevelWarn
	}
	a, err := app.Start(ctx, cfg, app.Options{
		Log:  slog.New(slog.NewTextHandler(d.Err, &slog.HandlerOptions{Level: level})),
		Keys: keys, Rules: rules, Progress: d.Progress, Tell: []alerting.Destination{d.tell},
	})
	if err != nil {
		return nil, err
	}
	cfg.Admin.Listen = strings.TrimPrefix(a.AdminURL(), "http://")
	return a, nil
}

// perform makes the traffic, waits until all of it is judged, and shows what came of it.
func (d *demo) perform(ctx context.Context, cfg *config.Config, a *app.App, server []string, root string) (*Summary, error) {
	if err := makeRoot(root); err != nil {
		return nil, fmt.Errorf("make the demo's files: %w", err)
	}
	d.show.step("a server logs failed logins, exhausted limits, and one line that is cut off")
	d.tell.begin()
	if err := sendLog(ctx, cfg, securityLog(time.Now())); err != nil {
		return nil, err
	}
	d.show.step("an agent works with the official MCP filesystem server, under `picket tap`")
	tap := slices.Concat(d.Tap, []string{"--brokers", cfg.Kafka.Brokers[0], "--client-id", CanaryAgent, "--"}, server, []string{root})
	if err := converse(ctx, tap, d.TapErr, root, d.show.call); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := a.Drain(wait); err != nil {
		return nil, fmt.Errorf("wait for the pipeline to finish: %w", err)
	}
	sum, db, err := d.count(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return sum, d.look(ctx, cfg, a, db, sum)
}

func sendLog(ctx context.Context, cfg *config.Config, lines [][]byte) error {
	p, err := kafka.NewProducer(app.KafkaConfig(cfg), kafka.ProducerOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	records := make([]kafka.Record, len(lines))
	for i, l := range lines {
		records[i] = kafka.Record{Topic: cfg.Kafka.Topics.Events, Partition: -1, Key: []byte("mcp_security"), Value: l}
	}
	return p.Produce(ctx, records)
}

// count asks the broker and ClickHouse, not the pipeline, what there is.
func (d *demo) count(ctx context.Context, cfg *config.Config) (*Summary, *store.DB, error) {
	sum := &Summary{}
	err := kafka.Scan(ctx, app.KafkaConfig(cfg), cfg.Kafka.Topics.Events, func(kafka.Record) error {
		sum.EventsRead++
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, app.StoreConfig(cfg))
	if err != nil {
		return nil, nil, err
	}
	for table, n := range map[string]*int{"events": &sum.EventsStored, "dead_letters": &sum.DeadLetters, "v_alerts": &sum.Alerts} {
		if *n, err = countRows(ctx, db, cfg.ClickHouse.Database+"."+table); err != nil {
			return nil, nil, errors.Join(err, db.Close())
		}
	}
	sum.Rules, sum.Messages, sum.FirstAlertMS = d.tell.seen()
	return sum, db, nil
}

func countRows(ctx context.Context, db *store.DB, table string) (n int, err error) {
	_, rows, err := db.Query(ctx, "SELECT count() FROM "+table)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", table, err)
	}
	_, err = fmt.Sscan(rows[0][0], &n)
	return n, err
}

// look says how to see more, with the answers that the questions have now.
func (d *demo) look(ctx context.Context, cfg *config.Config, a *app.App, db *store.DB, sum *Summary) error {
	d.show.step("what is in the store")
	d.show.note(fmt.Sprintf("%d records read = %d events stored + %d unreadable, kept as dead letters. %d alerts of %d rules: %s",
		sum.EventsRead, sum.EventsStored, sum.DeadLetters, sum.Alerts, len(sum.Rules), strings.Join(sum.Rules, " ")))
	queries, err := store.DemoQueries(cfg.ClickHouse.Database)
	if err != nil {
		return err
	}
	for _, q := range queries {
		cols, rows, err := db.Query(ctx, q.SQL)
		if err != nil {
			return fmt.Errorf("query %s: %w", q.Name, err)
		}
		d.show.table(q.Title, cols, rows)
	}
	if d.Stay { // otherwise all of this is about to end
		d.show.step("look for yourself")
		d.show.pair("messages as Slack would show them", a.AdminURL()+"/preview")
		d.show.pair("metrics, health", a.AdminURL()+"/metrics  /healthz  /readyz")
		d.show.pair("ClickHouse, with any HTTP client", fmt.Sprintf("curl '%s/?query=SELECT+rule_id,severity,why+FROM+%s.v_alerts+FORMAT+PrettyCompact'", cfg.ClickHouse.URL, cfg.ClickHouse.Database))
		d.show.pair("Kafka, with any Kafka client", cfg.Kafka.Brokers[0])
	}
	if a.HasPreview() {
		d.show.note("No Slack or PagerDuty credentials are configured: nothing was sent anywhere.")
	}
	return nil
}
