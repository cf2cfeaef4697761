package kafka_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PICKET_EMBEDDED_CHILD"); dir != "" {
		child(dir)
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8") // tests that are parallel wait more than they work
	}
	kafkatest.Main(m)
}

var topicSerial atomic.Int64

// newTopic makes a topic of its own for the test.
func newTopic(t testing.TB, brokers []string, partitions int) string {
	t.Helper()
	name := fmt.Sprintf("t%d-%s", topicSerial.Add(1), strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()))
	makeTopics(t, brokers, kafka.TopicSpec{Name: name, Partitions: partitions, Retention: time.Hour, LogAppendTime: true})
	return name
}

func makeTopics(t testing.TB, brokers []string, specs ...kafka.TopicSpec) {
	t.Helper()
	admin, err := kafka.NewTopics(t.Context(), kafka.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Create(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
}

// produce writes n records "0".."n-1" to one partition.
func produce(t testing.TB, brokers []string, topic string, partition int32, from, n int) {
	t.Helper()
	p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var rs []kafka.Record
	for i := range n {
		rs = append(rs, kafka.Record{Topic: topic, Partition: partition, Key: []byte("k"), Value: fmt.Append(nil, from+i)})
	}
	if err := p.Produce(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
}

func consumer(t testing.TB, brokers []string, topic string, change ...func(*kafka.ConsumerOptions)) *kafka.Consumer {
	t.Helper()
	o := kafka.ConsumerOptions{
		Topic: topic, Group: "g-" + topic, MaxWait: 200 * time.Millisecond, SessionTimeout: 6 * time.Second,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&o)
	}
	c, err := kafka.NewConsumer(kafka.Config{Brokers: brokers}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// poll polls until a batch has ranges.
func poll(t testing.TB, c *kafka.Consumer) kafka.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		b, err := c.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !b.Empty() {
			return b
		}
	}
}

// pollEmpty polls once, and finds nothing.
func pollEmpty(t testing.TB, c *kafka.Consumer) {
	t.Helper()
	b, err := c.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !b.Empty() {
		t.Fatalf("got %s, want nothing", show(b))
	}
}

func commit(t testing.TB, c *kafka.Consumer, b kafka.Batch) {
	t.Helper()
	if err := c.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

// show renders a batch as "p[begin,end)=first..last" with its flags.
func show(b kafka.Batch) string {
	var s []string
	for i := range b.Ranges {
		r, n := &b.Ranges[i], 0
		for range r.All() {
			n++
		}
		x := fmt.Sprintf("%d[%d,%d)x%d", r.Partition, r.Begin, r.End, n)
		if r.Redo {
			x += " redo"
		}
		if r.Replay {
			x += " replay"
		}
		if r.Gap {
			x += fmt.Sprintf(" gap lost=%d", r.Lost)
		}
		s = append(s, x)
	}
	return strings.Join(s, "; ")
}

func want(t testing.TB, b kafka.Batch, shown string) {
	t.Helper()
	if got := show(b); got != shown {
		t.Fatalf("got batch %q, want %q", got, shown)
	}
}
