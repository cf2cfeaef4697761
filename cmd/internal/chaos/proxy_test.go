//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// between is a consumer of picket with a proxy before the embedded broker.
func between(t *testing.T, weak string) (*kafkaProxy, *kafka.Consumer, []string) {
	t.Helper()
	brokers := kafkatest.Embedded(t)
	admin, err := kafka.NewTopics(t.Context(), kafka.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Create(t.Context(), []kafka.TopicSpec{{Name: topic, Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	p := &kafkaProxy{to: brokers[0], gate: &gate{}, weak: weak, session: 6000}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	c, err := kafka.NewConsumer(kafka.Config{Brokers: []string{p.addr()}}, kafka.ConsumerOptions{Topic: topic, Group: group, MaxWait: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	send(t, brokers, 10)
	return p, c, brokers
}

func send(t *testing.T, brokers []string, n int) {
	t.Helper()
	p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var rs []kafka.Record
	for i := range n {
		rs = append(rs, kafka.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i)})
	}
	if err := p.Produce(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
}

// next polls until there is a batch.
func next(t *testing.T, c *kafka.Consumer) kafka.Batch {
	t.Helper()
	for {
		b, err := c.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !b.Empty() {
			return b
		}
	}
}

func catchOne(t *testing.T, got <-chan *held) *held {
	t.Helper()
	h, err := await(t.Context(), got, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// A declaration that is held before the broker has no effect; what is held after it has.
func TestKafkaProxyTellsCommitsApart(t *testing.T) {
	p, c, _ := between(t, "")
	declared := p.gate.catch(func(p point) bool { return p.kind == declare && !p.after })
	batches := make(chan kafka.Batch, 1)
	go func() {
		for {
			if b, err := c.Poll(t.Context()); err != nil || !b.Empty() {
				batches <- b
				return
			}
		}
	}()
	h := catchOne(t, declared)
	select {
	case b := <-batches:
		t.Fatalf("a batch without a declaration: %+v", b.Ranges)
	default:
	}
	acknowledged := p.gate.catch(func(p point) bool { return p.kind == commit && p.after })
	h.release(true)
	b := <-batches
	if b.Empty() || b.Len() != 10 {
		t.Fatalf("%d records, want 10", b.Len())
	}
	if err := c.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Poll(t.Context()) }() // finds nothing, and acknowledges
	h = catchOne(t, acknowledged)
	h.release(true)
	if p.session == 0 || c.Generation() < 0 {
		t.Error("the consumer is no member")
	}
}

// Without the declared end nobody after a crash knows the borders.
func TestKafkaProxyWithoutDeclaration(t *testing.T) {
	for _, weak := range []string{"", weakDeclaration} {
		t.Run("weak "+weak, func(t *testing.T) {
			t.Parallel() // it waits for a session to end
			p, c, brokers := between(t, weak)
			b := next(t, c)
			// It dies without a word: the next one comes with another name.
			p.gate.close()
			other := &kafkaProxy{to: brokers[0], gate: &gate{}, weak: weak, session: 6000}
			if err := other.start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(other.stop)
			p.stop()
			send(t, brokers, 5)
			d, err := kafka.NewConsumer(kafka.Config{Brokers: []string{other.addr()}}, kafka.ConsumerOptions{Topic: topic, Group: group, MaxWait: 100 * time.Millisecond, Linger: 500 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close(context.WithoutCancel(t.Context())) })
			again := next(t, d)
			if same := again.Len() == b.Len(); same != (weak == "") || again.Ranges[0].Redo != (weak == "") {
				t.Errorf("weak %q: first %d records, then %d, redo %v", weak, b.Len(), again.Len(), again.Ranges[0].Redo)
			}
			p.gate.reset()
		})
	}
}

// engine answers every request, and remembers their queries.
type engine struct {
	*httptest.Server
	asked chan url.Values
}

func newEngine(t *testing.T) *engine {
	e := &engine{asked: make(chan url.Values, 10)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked <- r.URL.Query()
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(e.Close)
	return e
}

func insertURL(addr string) string {
	return "http://" + addr + "/?" + url.Values{
		"query": {"INSERT INTO `picket`.`events` (`id`) FORMAT Native"}, "insert_deduplication_token": {"mcp.events:3:10-25/20261122"}, "insert_deduplicate": {"1"},
	}.Encode()
}

func TestClickProxy(t *testing.T) {
	e := newEngine(t)
	stored := make(chan point, 10)
	start := func(weak string) *clickProxy {
		p := &clickProxy{name: "a", to: strings.TrimPrefix(e.URL, "http://"), gate: &gate{}, stored: func(_ string, p point) { stored <- p }, weak: weak}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.stop)
		return p
	}
	post := func(ctx context.Context, addr string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, insertURL(addr), strings.NewReader("rows"))
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "rows" {
			return fmt.Errorf("%q: %w", b, err)
		}
		return nil
	}
	p := start("")
	if err := post(t.Context(), p.addr); err != nil {
		t.Fatal(err)
	}
	if q := <-e.asked; q.Get("insert_deduplicate") != "1" {
		t.Errorf("the request was changed: %v", q)
	}
	if got, want := <-stored, (point{kind: insert, after: true, table: tableEvents, partition: 3, begin: 10, end: 25}); got != want {
		t.Errorf("saw %+v, want %+v", got, want)
	}

	// Held before, and the client dies: the request can still arrive.
	got := p.gate.catch(func(p point) bool { return !p.after && p.table == tableEvents })
	ctx, die := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- post(ctx, p.addr) }()
	h := catchOne(t, got)
	die()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Fatalf("the client heard %v", err)
	}
	if len(e.asked) != 0 {
		t.Fatal("the request was not held")
	}
	h.release(true)
	<-e.asked
	<-stored

	// Held after: it took effect, and the client hears nothing.
	got = p.gate.catch(func(p point) bool { return p.after })
	go func() { failed <- post(t.Context(), p.addr) }()
	h = catchOne(t, got)
	<-e.asked
	h.release(false)
	if err := <-failed; err == nil {
		t.Error("an answer came through")
	}
	<-stored

	if err := post(t.Context(), start(weakToken).addr); err != nil {
		t.Fatal(err)
	}
	if q := <-e.asked; q.Get("insert_deduplicate") != "0" || q.Get("deduplicate_insert") != "disable" {
		t.Error("the token is still in force")
	}
}
