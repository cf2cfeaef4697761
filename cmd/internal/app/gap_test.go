package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// onBroker is the detect role on a broker of its own, between whose runs somebody else
// works on the broker.
type onBroker struct {
	t    testing.TB
	cfg  *config.Config
	opt  Options
	raw  *kgo.Client
	sent int
}

func newOnBroker(t testing.TB) *onBroker {
	t.Helper()
	brokers := kafkatest.Embedded(t)
	cfg := config.Default()
	cfg.Kafka.Brokers, cfg.Kafka.Partitions = brokers, config.Partitions{Events: 1, Signals: 1}
	cfg.ClickHouse.URL = "http://127.0.0.1:1" // this role does not ask it
	cfg.Admin.Listen, cfg.Alerting.Preview, cfg.Roles, cfg.Instance = "", "never", []string{role.Detect}, "test"
	topics, err := kafka.NewTopics(t.Context(), KafkaConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer topics.Close()
	if _, err := topics.Create(t.Context(), TopicSpecs(cfg)); err != nil {
		t.Fatal(err)
	}
	ring, err := ingest.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rs, _, err := LoadRules(cfg, detect.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MaxVersions(kversion.V2_8_0())) // topics by name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	return &onBroker{t: t, cfg: cfg, raw: raw, opt: Options{Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Keys: ring, Rules: rs}}
}

// send adds events at the end of the topic.
func (x *onBroker) send(n int) {
	x.t.Helper()
	p, err := kafka.NewProducer(KafkaConfig(x.cfg), kafka.ProducerOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	defer p.Close()
	records := make([]kafka.Record, n)
	for i := range records {
		x.sent++
		records[i] = kafka.Record{Topic: "mcp.events", Value: fmt.Appendf(nil,
			`{"schema":"picket.event/1","id":"e-%d","time":%q,"type":"tool_call","outcome":"success","server":{"name":"s","instance":"i"}}`,
			x.sent, time.Now().UTC().Format(time.RFC3339Nano))}
	}
	if err := p.Produce(x.t.Context(), records); err != nil {
		x.t.Fatal(err)
	}
}

// read runs the role until it has read everything.
func (x *onBroker) read() {
	x.t.Helper()
	a, err := Start(x.t.Context(), x.cfg, x.opt)
	if err != nil {
		x.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(x.t.Context(), 30*time.Second)
	defer cancel()
	if err := a.Drain(ctx); err != nil {
		x.t.Error(err)
	}
	if err := a.Stop(); err != nil {
		x.t.Error(err)
	}
}

// expire removes the records before an offset, as retention does, or somebody.
func (x *onBroker) expire(before int64) {
	x.t.Helper()
	req := kmsg.NewDeleteRecordsRequest()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = before
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = "mcp.events", append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(x.t.Context(), x.raw)
	if err != nil {
		x.t.Fatal(err)
	}
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		x.t.Fatalf("delete records: error code %d", code)
	}
}

// set does what kafka-consumer-groups.sh --reset-offsets does.
func (x *onBroker) set(offset int64) {
	x.t.Helper()
	req := kmsg.NewOffsetCommitRequest()
	req.Group, req.Generation = "picket.detect", -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = offset
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = "mcp.events", append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	kafkatest.Eventually(x.t, 20*time.Second, "the group has no members", func() bool {
		res, err := req.RequestWith(x.t.Context(), x.raw)
		return err == nil && res.Topics[0].Partitions[0].ErrorCode == 0
	})
}

// alerts are those about Picket itself, one line each, in the order of the topic.
func (x *onBroker) alerts() (out []string) {
	x.t.Helper()
	err := kafka.Scan(x.t.Context(), KafkaConfig(x.cfg), "picket.alerts", func(r kafka.Record) error {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			return err
		}
		if a.Schema != detect.AlertSchema || a.Mode != "alert" || a.Severity != "high" || len(a.ID) != 26 || a.Rule.Runbook == "" || a.BucketEnd.Before(a.First) {
			return fmt.Errorf("not an alert that would be told: %s", r.Value)
		}
		if strings.HasPrefix(a.Rule.ID, "picket-") {
			out = append(out, fmt.Sprintf("%s x%d: %s", a.Rule.ID, a.Count, a.Why))
		}
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

func (x *onBroker) want(lines ...string) {
	x.t.Helper()
	got := x.alerts()
	ok := len(got) == len(lines)
	for i := range min(len(got), len(lines)) {
		ok = ok && strings.HasPrefix(got[i], lines[i])
	}
	if !ok {
		x.t.Fatalf("alerts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// TestGapsAndResetsAreAlerts expires records that were not read yet, moves a group's offsets
// by hand, and makes the log shorter than what was read.
func TestGapsAndResetsAreAlerts(t *testing.T) {
	x := newOnBroker(t)
	x.send(10)
	x.read()
	x.want()

	x.send(20)
	x.expire(17)
	x.read()
	lost := "picket-gap x7: mcp.events/0 between offsets 10 and"
	x.want(lost)

	x.set(20) // back
	x.read()
	back := "picket-offsets-moved x1: another program committed offset 20 of mcp.events/0 for picket.detect"
	x.want(lost, back)

	x.send(5)
	x.set(35) // forward, over all of them
	x.read()
	forward := "picket-offsets-moved x1: another program committed offset 35"
	x.want(lost, back, forward)

	x.set(1000)
	x.read()
	x.want(lost, back, forward, "picket-offsets-moved x1: another program committed offset 1000", "picket-gap x1: mcp.events/0 ended before the offset that detect had committed")
	x.read()
	if n := len(x.alerts()); n != 5 {
		t.Errorf("%d alerts after a run in which nothing was wrong", n)
	}
}
