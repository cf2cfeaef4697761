package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/ingest/kafka"
)

// The broker goes away and comes back, twice, under a producer and a consumer that only try
// again: every acknowledged record is read, and none is skipped.
func TestBrokerOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(addr string) *kafka.Embedded {
		t.Helper()
		e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: dir, Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := start("127.0.0.1:0")
	t.Cleanup(func() { e.Close() }) // after the consumer's
	addr := e.Brokers()[0]
	makeTopics(t, e.Brokers(), kafka.TopicSpec{Name: "events", Partitions: 1, Retention: time.Hour})
	p, err := kafka.NewProducer(kafka.Config{Brokers: []string{addr}}, kafka.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := consumer(t, e.Brokers(), "events", func(o *kafka.ConsumerOptions) { o.InstanceID, o.MaxRows = "only", 7 })

	seen := map[string]bool{}
	next, errs := int64(0), 0
	readAll := func(n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for len(seen) < n {
			b, err := c.Poll(ctx)
			if ctx.Err() != nil {
				var missing []int
				for i := range n {
					if !seen[fmt.Sprint(i)] {
						missing = append(missing, i)
					}
				}
				t.Fatalf("values %v were not read in time, offsets up to %d were; last error %v", missing, next, err)
			}
			if err != nil {
				errs++
				if kafka.Permanent(err) {
					t.Fatalf("an outage is no permanent error: %v", err)
				}
				continue
			}
			for _, r := range b.Ranges {
				if r.Begin > next {
					t.Fatalf("range begins at %d, and everything was done to %d", r.Begin, next)
				}
				next = r.End
				for rec := range r.All() {
					seen[string(rec.Value)] = true
				}
			}
			_ = c.Commit(ctx, b)
		}
	}
	n := 0
	for range 2 {
		for range 20 {
			if err := p.Produce(t.Context(), []kafka.Record{{Topic: "events", Value: fmt.Append(nil, n)}}); err != nil {
				t.Fatal(err)
			}
			n++
		}
		if _, err := c.Poll(t.Context()); err != nil { // declares a batch, which is open when the broker goes
			t.Fatal(err)
		}
		e.Close()
		// Produce and Poll find no broker, and go on until there is one.
		sent := make(chan error, 1)
		go func() { sent <- p.Produce(t.Context(), []kafka.Record{{Topic: "events", Value: fmt.Append(nil, n)}}) }()
		down, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		for down.Err() == nil {
			_, _ = c.Poll(down)
		}
		cancel()
		e = start(addr)
		if err := <-sent; err != nil {
			t.Fatalf("produce over an outage: %v", err)
		}
		n++
		readAll(n)
	}
	t.Logf("Poll reported %d errors meanwhile", errs)
}

// Where nothing is to be read, only heartbeats show that the broker is gone. That must not take
// until the session is over.
func TestIdleConsumerSeesAnOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	makeTopics(t, e.Brokers(), kafka.TopicSpec{Name: "events", Partitions: 1, Retention: time.Hour})
	c := consumer(t, e.Brokers(), "events", func(o *kafka.ConsumerOptions) {
		o.InstanceID, o.MaxWait, o.SessionTimeout = "only", 100*time.Millisecond, 15*time.Second
	})
	if _, err := c.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := func(gone bool) time.Duration {
		t.Helper()
		began := time.Now()
		for {
			b, err := c.Poll(t.Context())
			switch took := time.Since(began); {
			case !b.Empty():
				t.Fatalf("read %v of nothing", b.Ranges)
			case (err != nil) == gone:
				return took
			case took > 8*time.Second:
				t.Fatalf("after %s: %v", took, err)
			}
		}
	}
	addr := e.Brokers()[0]
	e.Close()
	t.Logf("an outage is seen after %s", until(true))
	if e, err = kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: dir, Addr: addr}); err != nil {
		t.Fatal(err)
	}
	until(false)
}

// What kafka-go calls its functions says nothing to the one who reads the log.
func TestErrorsDoNotNameFunctions(t *testing.T) {
	t.Parallel()
	e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	specs := []kafka.TopicSpec{{Name: "events", Partitions: 1, Retention: time.Hour}}
	makeTopics(t, e.Brokers(), specs...)
	c := consumer(t, e.Brokers(), "events")
	admin, err := kafka.NewTopics(t.Context(), kafka.Config{Brokers: e.Brokers()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	e.Close()
	for what, try := range map[string]func(context.Context) error{
		"join":   func(ctx context.Context) error { _, err := c.Poll(ctx); return err },
		"create": func(ctx context.Context) error { _, err := admin.Create(ctx, specs); return err },
		"verify": func(ctx context.Context) error { _, err := admin.Verify(ctx, specs); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := try(ctx); err == nil || ctx.Err() != nil || strings.Contains(err.Error(), "kafka.(*") {
			t.Errorf("%s: %v, %v", what, err, ctx.Err())
		} else {
			t.Log(err)
		}
		cancel()
	}
}
