package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/cmd/internal/demo"
	"picket/detect"
	"picket/ingest/kafka"
)

// TestDemo runs the whole demo and then turns every stone: raw values are in the two raw
// topics, and nowhere else; and who may look a value up finds it.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the whole demo")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil && os.Getenv("CI") == "" {
			t.Skipf("the demo needs %s, which is not installed here", tool)
		}
	}
	dir := filepath.Join(t.TempDir(), "kept")
	seen := &places{at: map[string]*bytes.Buffer{}}
	tapLog := filepath.Join(t.TempDir(), "tap.log")
	tapErr, err := os.Create(tapLog)
	if err != nil {
		t.Fatal(err)
	}
	defer tapErr.Close()
	e := &env{stdout: io.Discard, stderr: seen.writer("rule warnings"), lookup: os.LookupEnv}
	out := seen.writer("what the demo shows")
	var cfg config.Config
	err = demo.Run(t.Context(), demo.Options{
		JSON: true,
		Out:  out, Err: seen.writer("log"), TapErr: tapErr, Level: slog.LevelDebug, Dir: dir, Tap: []string{"picket", "tap"},
		Rules: func(c *config.Config) (*detect.RuleSet, error) { return e.rules(c) },
		Inspect: func(ctx context.Context, c *config.Config) error {
			cfg = *c
			lookUp(t, ctx, c)
			return errors.Join(seen.topics(ctx, c), seen.tables(ctx, c), seen.pages(ctx, c))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := seen.tapLog(tapLog); err != nil {
		t.Fatal(err)
	}
	summary(t, seen.at["what the demo shows"].String())
	if shown := seen.at["what the demo shows"].String(); strings.Contains(shown, "/preview") || strings.Contains(shown, cfg.Kafka.Brokers[0]) {
		t.Error("it names addresses where nobody listens any more")
	}

	raw := []string{"topic " + cfg.Kafka.Topics.Events, "topic " + cfg.Kafka.Topics.Dead}
	for _, place := range []string{
		raw[0], raw[1], "topic " + cfg.Kafka.Topics.Signals, "topic " + cfg.Kafka.Topics.Alerts, "topic " + cfg.Kafka.Topics.Deliveries,
		"topic " + kafka.MetaTopic, "table events", "table events_1m", "table alerts", "table dead_letters", "table deliveries", "table ingest_ledger",
		"table v_alerts", "table v_timeline", "page /preview", "page /preview.json", "page /metrics", "page /readyz", "log",
	} {
		if b := seen.at[place]; b == nil || b.Len() == 0 {
			t.Errorf("%s: empty, so nothing was looked for there", place)
		}
	}
	folded := map[string][]byte{}
	for place, b := range seen.at {
		folded[place] = bytes.ToLower(b.Bytes())
	}
	for _, c := range canaries(filepath.Join(dir, "workspace")) {
		controls := 0
		for _, place := range slices.Sorted(maps.Keys(folded)) {
			around, found := c.in(folded[place])
			switch {
			case found && slices.Contains(raw, place):
				controls++
			case found:
				t.Errorf("the %s is in %s: %q", c.name, place, around)
			}
		}
		if controls == 0 {
			t.Errorf("the %s is in no raw topic, so not finding it elsewhere says nothing", c.name)
		}
	}
	for _, name := range []string{demo.CanaryUser, demo.CanaryIP, demo.CanaryMail, demo.CanaryClient} {
		if !bytes.Contains(folded[raw[1]], []byte(name)) {
			t.Errorf("%s is not in the dead letter, which keeps the record as it came", name)
		}
	}
	t.Logf("looked into %d places, %d bytes", len(folded), seen.size())
}

// canaries are all raw values of the demo's traffic.
func canaries(root string) []canary {
	return []canary{
		newCanary("user", demo.CanaryUser, "ada.lovelace"),
		newCanary("mail address in a user agent", demo.CanaryMail, "grace.hopper"),
		newCanary("label", demo.CanaryHost, "adas-laptop"),
		newCanary("client id", demo.CanaryClient),
		newCanary("tap's client id", demo.CanaryAgent),
		newCanary("address", demo.CanaryIP),
		newCanary("IPv6 address", demo.CanaryIP6, "bad:cafe"),
		newCanary("file name", demo.CanaryFile, "merger-with-initech"),
		newCanary("folder", root),
		newCanary("home directory", demo.CanaryHome),
		newCanary("resource", demo.CanaryResource, "salaries-of-the-board"),
		newCanary("text of an argument", demo.CanaryText, "ides of march"),
		newCanary("secret", demo.CanarySecret, demo.CanarySecret[4:]),
		newCanary("SQL", demo.CanarySQL, "DROP TABLE audit", "SELECT login, password"),
		newCanary("shell command", demo.CanaryShell, "curl http://169.254.169.254"),
	}
}

// summary checks the last line that was shown.
func summary(t *testing.T, out string) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	last := lines[len(lines)-1]
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(last), &keys); err != nil {
		t.Fatalf("the last line is %q: %v", last, err)
	}
	want := []string{"alerts", "dead_letters", "elapsed_ms", "events_read", "events_stored", "first_alert_ms", "messages", "rules"}
	if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, want) {
		t.Errorf("the summary has %v, want %v", got, want)
	}
	var s demo.Summary
	if err := json.Unmarshal([]byte(last), &s); err != nil {
		t.Fatal(err)
	}
	if s.EventsRead != s.EventsStored+s.DeadLetters || s.EventsStored == 0 || s.DeadLetters != 1 {
		t.Errorf("read %d, stored %d, dead %d", s.EventsRead, s.EventsStored, s.DeadLetters)
	}
	for _, id := range []string{"AU-01", "AZ-01", "RA-01", "IN-01", "IN-02", "IN-05", "IN-06", "DX-04"} {
		if !slices.Contains(s.Rules, id) {
			t.Errorf("%s did not fire: %v", id, s.Rules)
		}
	}
	if s.Alerts < len(s.Rules) || s.Messages < s.Alerts || s.FirstAlertMS <= 0 || s.ElapsedMS <= s.FirstAlertMS {
		t.Errorf("summary %+v", s)
	}
}

// lookUp searches the store for raw values, as an analyst does: picket hash, and a query.
func lookUp(t *testing.T, ctx context.Context, cfg *config.Config) {
	file := filepath.Join(t.TempDir(), "picket.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "privacy:\n  keys_file: %q\n", cfg.Privacy.KeysFile), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		field, value, column string
		rows                 string // of events that have it
	}{
		{"net.ip", demo.CanaryIP, "net_ip", "7"},
		{"net.ip", "2001:0DB8:77:1:0::BAD:CAFE", "net_ip", "12"}, // as somebody else writes it
		{"actor.subject", demo.CanaryUser, "actor_subject", "1"},
		{"actor.client_id", demo.CanaryClient, "actor_client_id", "7"},
		{"perm.resource", demo.CanaryResource, "perm_resource_hash", "1"},
		{"perm.resource", "/etc/shadow", "perm_resource_hash", "2"}, // denied by the filesystem server, seen by the tap
		{"label:reverse_dns", demo.CanaryHost, "labels['reverse_dns']", "7"},
		{"net.ip", "203.0.113.78", "net_ip", "0"},
	} {
		var out, stderr bytes.Buffer
		if code := run(ctx, []string{"hash", tt.field, tt.value, "--config", file}, nil, &out, &stderr); code != 0 {
			t.Errorf("picket hash %s: exit code %d: %s", tt.field, code, stderr.String())
			continue
		}
		hash := strings.Fields(out.String())[0]
		got, err := query(ctx, cfg, "SELECT count() FROM events WHERE "+tt.column+" = '"+hash+"'")
		if err != nil || strings.TrimSpace(string(got)) != tt.rows {
			t.Errorf("%s %s: %s rows, want %s (%v)", tt.field, tt.value, got, tt.rows, err)
		}
	}
}

// query asks ClickHouse over plain HTTP.
func query(ctx context.Context, cfg *config.Config, sql string) ([]byte, error) {
	v := url.Values{"query": {sql}, "database": {cfg.ClickHouse.Database}, "output_format_json_escape_forward_slashes": {"0"}}
	return get(ctx, cfg.ClickHouse.URL+"/?"+v.Encode())
}

func get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK {
		err = cmp.Or(err, fmt.Errorf("%s: %s: %s", address, res.Status, body))
	}
	return body, err
}

// places is everything that was written anywhere, by place.
type places struct {
	mu sync.Mutex
	at map[string]*bytes.Buffer
}

func (p *places) add(place string, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.at[place]
	if b == nil {
		b = &bytes.Buffer{}
		p.at[place] = b
	}
	b.Write(text)
}

func (p *places) size() (n int) {
	for _, b := range p.at {
		n += b.Len()
	}
	return n
}

type placeWriter struct {
	p     *places
	place string
}

func (w placeWriter) Write(b []byte) (int, error) {
	w.p.add(w.place, b)
	return len(b), nil
}

func (p *places) writer(place string) io.Writer { return placeWriter{p, place} }

// topics adds every record of every topic that the broker has: keys, headers, values, and
// signals decoded.
func (p *places) topics(ctx context.Context, cfg *config.Config) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Kafka.Brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	all, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, topic := range all.Topics {
		place := "topic " + *topic.Topic
		err := kafka.Scan(ctx, app.KafkaConfig(cfg), *topic.Topic, func(r kafka.Record) error {
			p.add(place, slices.Concat(texts(r.Key), []byte("\n"), texts(r.Value), []byte("\n")))
			for _, h := range r.Headers {
				p.add(place, fmt.Appendf(nil, "%s: %s\n", h.Key, h.Value))
			}
			if *topic.Topic != cfg.Kafka.Topics.Signals {
				return nil
			}
			signals, progress, err := detect.DecodeSignals(r.Value)
			if err != nil {
				return err
			}
			for _, v := range []any{signals, progress} {
				text, err := json.Marshal(v)
				if err != nil {
					return err
				}
				p.add(place, texts(text))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("read topic %s: %w", *topic.Topic, err)
		}
	}
	return nil
}

// tables adds every column of every table and view.
func (p *places) tables(ctx context.Context, cfg *config.Config) error {
	names, err := query(ctx, cfg, "SELECT table, groupArray(concat('`', name, '`')) FROM system.columns WHERE database = currentDatabase() AND default_kind != 'EPHEMERAL' GROUP BY table FORMAT JSONCompactEachRow")
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(names))
	for dec.More() {
		var table string
		var columns []string
		if err := dec.Decode(&[]any{&table, &columns}); err != nil {
			return err
		}
		for _, format := range []string{"JSONEachRow", "TSVRaw", "RowBinary"} { // aggregate states are binary
			rows, err := query(ctx, cfg, "SELECT "+strings.Join(columns, ", ")+" FROM `"+table+"` FORMAT "+format)
			if err != nil {
				return err
			}
			p.add("table "+table, rows)
			if format == "JSONEachRow" {
				p.add("table "+table, texts(rows))
			}
		}
	}
	return nil
}

// pages adds what the admin server says.
func (p *places) pages(ctx context.Context, cfg *config.Config) error {
	for _, page := range []string{"/", "/preview", "/preview/feed", "/preview.json", "/metrics", "/healthz", "/readyz"} {
		body, err := get(ctx, "http://"+cfg.Admin.Listen+page)
		if err != nil {
			return err
		}
		p.add("page "+page, texts(body))
	}
	return nil
}

// tapLog adds the tap's own lines: the server writes to the same standard error, and may
// write there what it likes.
func (p *places) tapLog(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("time=")) || bytes.HasPrefix(line, []byte("picket")) {
			p.add("tap's log", line)
		}
	}
	return nil
}
