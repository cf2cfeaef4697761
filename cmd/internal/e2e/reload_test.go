package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
)

// reloads is a run of detect and correlate over a broker of their own, whose rules change.
type reloads struct {
	t     *testing.T
	run   *run
	kafka kafka.Config
	rules string
	sent  int
}

func reloadRule(id string, count int) string {
	return fmt.Sprintf("{schema: rule/v1, id: %s, name: e2e.%s, title: T, severity: high, match: {type: authentication, outcome: failure}, "+
		"threshold: {count: {gte: %d}, window: 30m, group_by: [net.ip]}, suppress: {for: 1h}}\n", id, strings.ToLower(strings.ReplaceAll(id, "-", "")), count)
}

func newReloads(t *testing.T) *reloads {
	t.Helper()
	dir := t.TempDir()
	x := &reloads{t: t, rules: filepath.Join(dir, "rules")}
	if err := os.Mkdir(x.rules, 0o700); err != nil {
		t.Fatal(err)
	}
	x.write("same.yaml", reloadRule("EE-01", 10))
	x.write("other.yaml", reloadRule("EE-02", 6))
	keys, err := ingest.NewKeyring(strings.NewReader(strings.Repeat("reload", 100)), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keysFile := filepath.Join(dir, "keys.json")
	if err := keys.WriteNew(keysFile); err != nil {
		t.Fatal(err)
	}
	ports := freePort(t, 3)
	broker := "127.0.0.1:" + strconv.Itoa(ports)
	x.kafka = kafka.Config{Brokers: []string{broker}, ClientID: "e2e", DialTimeout: time.Second}
	admin := "127.0.0.1:" + strconv.Itoa(ports+1)
	file := filepath.Join(dir, "picket.yaml")
	text := fmt.Sprintf(`roles: [detect, correlate]
data_dir: %q
log: {format: json}
admin: {listen: %q}
kafka: {embedded: {listen: %q}, partitions: {events: 2, signals: 2}}
clickhouse: {url: "http://127.0.0.1:%d"} # nobody listens: these roles do not ask it
privacy: {keys_file: %q}
rules: {builtin: false, dirs: [%q], watch: 0s}
batch: {max_wait: 100ms}
alerting: {preview: never}
`, filepath.Join(dir, "data"), admin, broker, ports+2, keysFile, x.rules)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run = &run{proc: start(t, "run", file, "run"), url: "http://" + admin}
	x.run.ready(30 * time.Second)
	return x
}

func (x *reloads) write(name, text string) {
	x.t.Helper()
	if err := os.WriteFile(filepath.Join(x.rules, name), []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// fail sends n failures of one address, and waits until the rules have seen them. They all
// happened in one hour, so that no bucket ends between them.
func (x *reloads) fail(n int, ip string, at time.Time) {
	x.t.Helper()
	before := x.run.metric(`picket_rule_matches_total{rule="EE-01"}`)
	p, err := kafka.NewProducer(x.kafka, kafka.ProducerOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	defer p.Close()
	var records []kafka.Record
	for range n {
		x.sent++
		records = append(records, kafka.Record{Topic: "mcp.events", Partition: int32(x.sent % 2), Value: fmt.Appendf(nil,
			`{"schema":"picket.event/1","id":"e-%d","time":%q,"type":"authentication","outcome":"failure","server":{"name":"files","instance":"e2e"},"net":{"ip":%q}}`,
			x.sent, at.Add(time.Duration(x.sent)*time.Millisecond).Format(time.RFC3339Nano), ip)})
	}
	if err := p.Produce(x.t.Context(), records); err != nil {
		x.t.Fatal(err)
	}
	eventually(x.t, 20*time.Second, fmt.Sprintf("%d events are judged", n), func() bool {
		return x.run.metric(`picket_rule_matches_total{rule="EE-01"}`) == before+float64(n)
	})
}

// hangUp sends SIGHUP and waits for what is said then.
func (x *reloads) hangUp(msg string) {
	x.t.Helper()
	before := len(x.run.said(msg, ""))
	x.run.signal(syscall.SIGHUP)
	eventually(x.t, 20*time.Second, msg, func() bool { return len(x.run.said(msg, "")) > before })
}

// alerts are the highest counts told, by the threshold of the rule and the number of its alert.
func (x *reloads) alerts() map[string]uint64 {
	x.t.Helper()
	out := map[string]uint64{}
	names, n := map[string]string{}, map[string]int{}
	err := kafka.Scan(x.t.Context(), x.kafka, "picket.alerts", func(r kafka.Record) error {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			return err
		}
		if names[a.ID] == "" {
			rule := fmt.Sprintf("%s>=%g", a.Rule.ID, a.Threshold)
			n[rule]++
			names[a.ID] = fmt.Sprintf("%s #%d", rule, n[rule])
		}
		out[names[a.ID]] = max(out[names[a.ID]], a.Count)
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

func (x *reloads) want(alerts string) {
	x.t.Helper()
	eventually(x.t, 20*time.Second, "alerts are "+alerts, func() bool { return fmt.Sprint(x.alerts()) == "map["+alerts+"]" })
}

// TestReload changes the rules of a running Picket by SIGHUP, in the middle of a threshold.
func TestReload(t *testing.T) {
	short(t)
	t.Parallel()
	x := newReloads(t)
	at := time.Now().UTC().Add(-time.Minute)
	if at.Add(time.Minute).Hour() != at.Hour() {
		at = at.Add(-time.Minute) // the hour changes; late enough not to be late
	}
	hash := func() string {
		for line := range strings.Lines(get(x.run.url + "/metrics")) {
			if strings.HasPrefix(line, "picket_rules_info{") {
				return line
			}
		}
		return ""
	}
	x.fail(5, "203.0.113.1", at)
	was := hash()
	x.write("other.yaml", reloadRule("EE-02", 7))
	x.hangUp("rules reloaded")
	if now := hash(); now == was || now == "" {
		t.Errorf("the metric of the set in force is %q and was %q", now, was)
	}
	x.fail(5, "203.0.113.1", at)
	x.want("EE-01>=10 #1:10") // and none of EE-02, which has begun anew
	x.fail(2, "203.0.113.1", at)
	x.want("EE-01>=10 #1:10 EE-02>=7 #1:7")

	x.write("bad.yaml", strings.Replace(reloadRule("EE-03", 1), "severity: high", "severity: worst", 1))
	x.hangUp("rules not reloaded: the new ones are wrong, and those in force stay")
	if n := x.run.metric("picket_rules_last_reload_successful"); n != 0 {
		t.Errorf("picket_rules_last_reload_successful is %v", n)
	}
	eventually(t, 10*time.Second, "the log says what is wrong, and where", func() bool {
		return slices.ContainsFunc(x.run.log(), func(line string) bool {
			return strings.Contains(line, "bad.yaml:1:") && strings.Contains(line, `unknown severity \"worst\"`)
		})
	})
	x.fail(10, "203.0.113.2", at)
	eventually(t, 20*time.Second, "the rules in force go on", func() bool { return x.alerts()["EE-01>=10 #2"] == 10 })

	if err := os.Remove(filepath.Join(x.rules, "bad.yaml")); err != nil {
		t.Fatal(err)
	}
	x.hangUp("the rules are right again, and the same as those in force")
	if n := x.run.metric("picket_rules_last_reload_successful"); n != 1 {
		t.Errorf("picket_rules_last_reload_successful is %v", n)
	}
	x.run.interrupt()
}
