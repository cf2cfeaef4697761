package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/alerting/channeltest"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/store/embedded"
)

// rule fires within the test and settles within it: short windows, short buckets.
const rule = `schema: rule/v1
id: EE-01
name: e2e.failures
revision: 1
title: Failures
status: stable
mode: alert
severity: high
confidence: 80
risk: 30
tags: [attack.t1110.001]
description: Five failed authentications from one address within ten seconds.
runbook: Look.
match: {type: authentication, outcome: failure}
threshold: {count: {gte: 5}, window: 10s, group_by: [net.ip]}
suppress: {for: 10s}
alert: {title: "{{count}} failed logins from {{net.ip}}"}
tests:
  - name: fires
    events: [{repeat: 5, every: 1s, event: {type: authentication, outcome: failure, net.ip: 203.0.113.9}}]
    expect: {alerts: 1}
`

// world is the servers that a run needs, each of which can be killed.
type world struct {
	t          *testing.T
	dir        string
	real       bool
	lateness   time.Duration
	maxRows    int // of a batch
	kafkaPort  int
	clickPort  int
	broker     *proc // nil when it is a real one
	click      *proc
	slack      *channeltest.Slack
	keys       *ingest.Keyring
	keysFile   string
	brokers    []string
	clickhouse string
	runs       int
}

// newWorld has one rule, ClickHouse and Kafka.
func newWorld(t *testing.T, real bool) *world {
	t.Helper()
	w := newFiles(t, real, rule, 5*time.Second)
	w.startClickHouse()
	w.startKafka()
	w.topics()
	return w
}

// newFiles makes what the processes read, and starts none.
func newFiles(t *testing.T, real bool, rules string, lateness time.Duration) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, dir: dir, real: real, lateness: lateness, maxRows: 300, kafkaPort: freePort(t, 2), clickPort: freePort(t, 1),
		slack: channeltest.NewSlack(t), keysFile: filepath.Join(dir, "keys.json"),
	}
	w.brokers = []string{"127.0.0.1:" + strconv.Itoa(w.kafkaPort)}
	w.clickhouse = "http://127.0.0.1:" + strconv.Itoa(w.clickPort)
	var err error
	if w.keys, err = ingest.NewKeyring(rand.Reader, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := w.keys.WriteNew(w.keysFile); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules", "rules.yaml"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) startClickHouse() {
	w.t.Helper()
	if _, err := embedded.Fetch(context.Background(), "", nil); err != nil {
		if os.Getenv("CI") == "" {
			w.t.Skipf("the embedded ClickHouse is not here and cannot be fetched: %v", err)
		}
		w.t.Fatal(err)
	}
	w.click = start(w.t, "clickhouse", w.config("servers", 0), "embedded", "--only", "clickhouse", "--clickhouse", "127.0.0.1:"+strconv.Itoa(w.clickPort))
	eventually(w.t, 30*time.Second, "ClickHouse answers", func() bool { return strings.TrimSpace(w.query("SELECT 1")) == "1" })
}

func (w *world) startKafka() {
	w.t.Helper()
	if !w.real {
		w.broker = start(w.t, "broker", w.config("servers", 0), "embedded", "--only", "kafka", "--kafka", w.brokers[0])
		eventually(w.t, 30*time.Second, "the broker answers", w.kafkaUp)
		return
	}
	w.kafkaScript("start", "--port", strconv.Itoa(w.kafkaPort), "--with", strconv.Itoa(os.Getpid()))
	w.t.Cleanup(func() { w.kafkaScript("stop") })
	eventually(w.t, 60*time.Second, "Kafka answers", w.kafkaUp)
}

func (w *world) kafkaScript(verb string, args ...string) {
	w.t.Helper()
	cmd := exec.Command("../../../deploy/dev/kafka.sh", append([]string{verb, "--dir", filepath.Join(w.dir, "kafka-real")}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s kafka: %v\n%s", verb, err, out)
	}
}

// killKafka is kill -9 of the broker.
func (w *world) killKafka() {
	w.t.Helper()
	if !w.real {
		w.broker.kill()
		return
	}
	file := filepath.Join(w.dir, "kafka-real", "pid")
	b, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, 10*time.Second, "Kafka is gone", func() bool { return syscall.Kill(pid, 0) != nil })
	_ = os.Remove(file)
}

func (w *world) kafka() kafka.Config {
	return kafka.Config{Brokers: w.brokers, ClientID: "e2e", DialTimeout: time.Second}
}

func (w *world) kafkaUp() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	t, err := kafka.NewTopics(ctx, w.kafka())
	if err != nil {
		return false
	}
	t.Close()
	return true
}

func (w *world) topics() {
	w.t.Helper()
	p := start(w.t, "topics", w.config("servers", 0), "topics", "create")
	<-p.done
	if p.err != nil {
		w.t.Fatalf("create the topics: %v\n%s", p.err, strings.Join(p.log(), "\n"))
	}
}

// config writes the configuration of one instance.
func (w *world) config(instance string, admin int) string {
	w.t.Helper()
	listen := "127.0.0.1:0"
	if admin > 0 {
		listen = "127.0.0.1:" + strconv.Itoa(admin)
	}
	text := fmt.Sprintf(`instance: %s
data_dir: %q
lateness: %s
log: {format: json}
admin: {listen: %q}
kafka: {brokers: [%q], dial_timeout: 2s, partitions: {events: 3, signals: 2}}
clickhouse: {url: %q}
privacy: {keys_file: %q}
rules: {builtin: false, dirs: [%q]}
batch: {max_rows: %d, max_wait: 100ms}
limits: {window_evidence: 1000000} # watermarks lag behind kills, and what is shown is compared
alerting: {preview: never, slack: {bot_token: %q, channel: %s, api_url: %q}}
`, instance, filepath.Join(w.dir, "data"), w.lateness, listen, w.brokers[0], w.clickhouse, w.keysFile, filepath.Join(w.dir, "rules"), w.maxRows,
		w.slack.Token, w.slack.Channel, w.slack.APIURL())
	file := filepath.Join(w.dir, instance+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// run is `picket run` as one instance.
type run struct {
	*proc
	url string
}

func (w *world) run(instance string, args ...string) *run {
	w.t.Helper()
	w.runs++
	port := freePort(w.t, 1)
	r := &run{proc: start(w.t, fmt.Sprintf("run %s (%d)", instance, w.runs), w.config(instance, port), append([]string{"run"}, args...)...), url: "http://127.0.0.1:" + strconv.Itoa(port)}
	w.t.Cleanup(r.kill) // before the Slack that it calls goes
	return r
}

// ready waits until every role does its work.
func (r *run) ready(within time.Duration) {
	r.t.Helper()
	eventually(r.t, within, r.name+" is ready", func() bool { return r.roles()[""] == "ready" })
}

// roles is what /readyz says of each role: "" when ready, or why not. The key "" says of all.
func (r *run) roles() map[string]string {
	var s struct {
		Ready bool
		Roles []struct {
			Name, Why string
		}
	}
	out := map[string]string{}
	if json.Unmarshal([]byte(get(r.url+"/readyz")), &s) != nil {
		return out
	}
	for _, l := range s.Roles {
		out[l.Name] = l.Why
	}
	if s.Ready {
		out[""] = "ready"
	}
	return out
}

// metric is the sum of the samples whose name and labels start as given; -1 without one.
func (r *run) metric(prefix string) float64 {
	sum, found := 0.0, false
	for line := range strings.Lines(get(r.url + "/metrics")) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64); err == nil {
			sum, found = sum+v, true
		}
	}
	if !found {
		return -1
	}
	return sum
}

// query asks ClickHouse; "" when it does not answer.
func (w *world) query(sql string) string {
	return get(w.clickhouse + "/?query=" + url.QueryEscape(sql))
}

// count is the one number that a query answers, or -1.
func (w *world) count(sql string) int {
	n, err := strconv.Atoi(strings.TrimSpace(w.query(sql)))
	if err != nil {
		return -1
	}
	return n
}

// scan reads a whole topic, in order of partition and offset.
func (w *world) scan(topic string) []kafka.Record {
	w.t.Helper()
	var out []kafka.Record
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := kafka.Scan(ctx, w.kafka(), topic, func(r kafka.Record) error {
		r.Key, r.Value = slices.Clone(r.Key), slices.Clone(r.Value)
		out = append(out, r)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}
