package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"

	"picket/ingest/kafka"
)

// picket runs a command to its end: what it printed, and its exit code.
func (w *world) picket(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	file, err := binary()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(file, append([]string{"--config", w.config("command", 0)}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// audit checks what picket audit says, its last words and its exit code.
func (w *world) audit(code int, says ...string) {
	w.t.Helper()
	out, errs, got := w.picket("audit")
	w.t.Logf("picket audit, exit code %d:\n%s%s", got, out, errs)
	for _, s := range says {
		if !strings.Contains(out+errs, s) {
			w.t.Errorf("audit does not say %q", s)
		}
	}
	if got != code {
		w.t.Errorf("exit code %d, want %d", got, code)
	}
}

// do runs a statement.
func (w *world) do(sql string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.clickhouse, strings.NewReader(sql))
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %s", sql, b)
	}
}

// events produces n events for a partition, of which every tenth is unreadable.
func (w *world) events(partition int32, n int) {
	w.t.Helper()
	p, err := kafka.NewProducer(w.kafka(), kafka.ProducerOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Close()
	var rs []kafka.Record
	for i := range n {
		value := event(int(partition), i, "tool_call", "success", "192.0.2.1")
		if i%10 == 9 {
			value = value[:20]
		}
		rs = append(rs, kafka.Record{Topic: "mcp.events", Partition: partition, Value: []byte(value)})
	}
	if err := p.Produce(w.t.Context(), rs); err != nil {
		w.t.Fatal(err)
	}
}

// reset commits an offset for the store role, as kafka-consumer-groups --reset-offsets does.
func (w *world) reset(partition int, offset int64) {
	w.t.Helper()
	client := &kgo.Client{Addr: kgo.TCP(w.brokers...)}
	var err error
	eventually(w.t, 30*time.Second, fmt.Sprintf("an operator set partition %d to %d", partition, offset), func() bool {
		var res *kgo.OffsetCommitResponse
		res, err = client.OffsetCommit(w.t.Context(), &kgo.OffsetCommitRequest{
			GroupID: "picket.store", GenerationID: -1, Topics: map[string][]kgo.OffsetCommit{"mcp.events": {{Partition: partition, Offset: offset}}},
		})
		return err == nil && res.Topics["mcp.events"][0].Error == nil
	})
}

// storeAll runs the store role until nothing is left, and stops it.
func (w *world) storeAll() {
	w.t.Helper()
	r := w.run("a", "--roles", "store")
	r.ready(60 * time.Second)
	eventually(w.t, 60*time.Second, "all is stored", func() bool {
		out, _, _ := w.picket("audit", "--json")
		return strings.Contains(out, `"in_flight": 0,`)
	})
	r.interrupt()
}

// TestAudit injects trouble behind Picket's back, and reads what the audit says of it.
func TestAudit(t *testing.T) {
	short(t)
	needsJava(t)
	t.Parallel()
	w := newWorld(t, true)
	w.audit(78, "run `picket migrate`") // nobody has made the tables yet
	w.storeAll()
	w.audit(0, "mcp.events adds up: 0 events and 0 dead letters stored once each, 0 in flight")
	for p := range int32(3) {
		w.events(p, 20)
	}
	w.audit(0, "0 dead letters stored once each, 60 in flight")
	w.storeAll()
	w.audit(0, "mcp.events adds up: 54 events and 6 dead letters stored once each, 0 in flight")

	w.do("ALTER TABLE picket.events DELETE WHERE kafka_partition = 0 AND kafka_offset IN (3, 4, 8) SETTINGS mutations_sync = 1")
	w.audit(1, "partition 0: 3 records below the committed offset 20 without a row, in [3, 5) [8, 9)", "audit: 1 problem of mcp.events in 1 of 3 partitions")
	w.do("INSERT INTO picket.events SELECT * FROM picket.events WHERE kafka_partition = 1 AND kafka_offset = 5")
	w.audit(1, "partition 1: 1 row too many", "audit: 2 problems of mcp.events in 2 of 3 partitions")

	// An operator skips what nobody has stored.
	w.events(2, 10)
	w.reset(2, 25)
	w.audit(1, "partition 2: 5 records below the committed offset 25 without a row, in [20, 25)", "audit: 3 problems of mcp.events in 3 of 3 partitions")
	w.reset(2, 20)
	w.storeAll()
	w.audit(1, "audit: 2 problems of mcp.events in 2 of 3 partitions")
	w.do("ALTER TABLE picket.events DELETE WHERE kafka_partition = 1 AND kafka_offset = 5 SETTINGS mutations_sync = 1")
	w.audit(1, "partition 1: 1 record below the committed offset 20 without a row, in [5, 6)")

	// An operator has stored records read again: the ledger knows them.
	w.reset(2, 7)
	w.audit(1, "audit: 2 problems of mcp.events in 2 of 3 partitions")
	w.storeAll()
	w.audit(1, "audit: 2 problems of mcp.events in 2 of 3 partitions")

	// The topic is made anew, and ends before what was stored.
	client := &kgo.Client{Addr: kgo.TCP(w.brokers...)}
	if _, err := client.DeleteTopics(t.Context(), &kgo.DeleteTopicsRequest{Topics: []string{"mcp.events"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the topic is made anew", func() bool {
		_, errs, code := w.picket("topics", "create")
		return code == 0 && !strings.Contains(errs, "no leader")
	})
	w.events(0, 5)
	w.audit(1, "partition 0: the log ends at 5, but 14 stored offsets lie beyond it and nothing is committed", "truncated or made anew", "in 3 of 3 partitions")
	w.killKafka()
	w.audit(69, "connect")
}
