package role_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
)

// broker is a Kafka in memory: topics, and what each group committed.
type broker struct {
	mu      sync.Mutex
	topics  map[string]map[int32][]kafka.Record
	commits map[string]map[int32]committed // by group

	// fail may refuse records; persisted says whether they were written nevertheless.
	fail func(records []kafka.Record) (err error, persisted bool)
}

type committed struct {
	offset, end int64
	meta        string
}

func newBroker() *broker {
	return &broker{topics: map[string]map[int32][]kafka.Record{}, commits: map[string]map[int32]committed{}}
}

// Produce is role.Producer's.
func (b *broker) Produce(ctx context.Context, records []kafka.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	if b.fail != nil {
		var persisted bool
		if err, persisted = b.fail(records); err != nil && !persisted {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.add(records)
	return err
}

func (b *broker) add(records []kafka.Record) {
	for _, r := range records {
		parts := b.topics[r.Topic]
		if parts == nil {
			parts = map[int32][]kafka.Record{}
			b.topics[r.Topic] = parts
		}
		r.Offset, r.Append = int64(len(parts[r.Partition])), time.Now()
		r.Value = bytes.Clone(r.Value)
		parts[r.Partition] = append(parts[r.Partition], r)
	}
}

// put writes records that no role wrote.
func (b *broker) put(records ...kafka.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(records)
}

func (b *broker) setFail(f func([]kafka.Record) (error, bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = f
}

// all is a topic's records, partition by partition.
func (b *broker) all(topic string) (out []kafka.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range int32(10) {
		out = append(out, b.topics[topic][p]...)
	}
	return out
}

func (b *broker) scan(_ context.Context, topic string, fn func(kafka.Record) error) error {
	for _, r := range b.all(topic) {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

func (b *broker) offsetsAt(topic string) func(context.Context, time.Time) (map[int32]int64, error) {
	return func(_ context.Context, t time.Time) (map[int32]int64, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		out := map[int32]int64{}
		for p, rs := range b.topics[topic] {
			out[p] = int64(len(rs))
			for _, r := range slices.Backward(rs) {
				if !r.Append.Before(t) {
					out[p] = r.Offset
				}
			}
		}
		return out, nil
	}
}

// consumer is role.Consumer over a broker in memory, with the same declared batches.
type consumer struct {
	b            *broker
	topic, group string
	parts        []int32
	rows         int
	meta         func(int32) string
	assign       func([]kafka.Assignment) (map[int32]int64, error)

	mu       sync.Mutex
	joined   bool
	moved    chan struct{}
	next     map[int32]int64
	replayTo map[int32]int64
	redoTo   map[int32]int64
	held     kafka.Batch
	refuse   error // of the next Commit
	down     error // of Poll
	polls    int
	busy     int32 // one partition that always has a record; -1: none
}

func (b *broker) consumer(topic, group string, rows int, parts ...int32) *consumer {
	return &consumer{
		b: b, topic: topic, group: group, rows: rows, parts: parts, moved: make(chan struct{}), busy: -1,
		meta: func(int32) string { return "" }, assign: func([]kafka.Assignment) (map[int32]int64, error) { return nil, nil },
	}
}

// rebalance ends the generation; the same partitions come back with the next Poll.
func (c *consumer) rebalance() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.moved)
}

func (c *consumer) Rebalancing() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}

func (c *consumer) Close(context.Context) error { return nil }

func (c *consumer) join() error {
	select {
	case <-c.moved:
		c.moved, c.joined, c.held = make(chan struct{}), false, kafka.Batch{}
	default:
	}
	if c.joined {
		return nil
	}
	c.next, c.replayTo, c.redoTo = map[int32]int64{}, map[int32]int64{}, map[int32]int64{}
	var given []kafka.Assignment
	for _, p := range c.parts {
		at, ok := c.b.commits[c.group][p]
		a := kafka.Assignment{Partition: p, Committed: at.offset, DeclaredEnd: -1, Meta: at.meta, New: !ok}
		if at.end > at.offset {
			a.DeclaredEnd, c.redoTo[p] = at.end, at.end
		}
		given = append(given, a)
		c.next[p], c.replayTo[p] = at.offset, at.offset
	}
	c.b.mu.Unlock() // it may ask the broker
	rewind, err := c.assign(given)
	c.b.mu.Lock()
	if err != nil {
		return err
	}
	for p, from := range rewind {
		c.next[p] = min(c.next[p], from)
	}
	c.joined = true
	return nil
}

func (c *consumer) Poll(ctx context.Context) (kafka.Batch, error) {
	batch, err := c.poll()
	if err != nil || !batch.Empty() {
		return batch, err
	}
	wait := time.NewTimer(100 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return batch, ctx.Err()
	case <-wait.C:
		return batch, nil
	}
}

func (c *consumer) poll() (kafka.Batch, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.polls++
	if c.down != nil {
		return kafka.Batch{}, c.down
	}
	if err := c.join(); err != nil {
		return kafka.Batch{}, err
	}
	if !c.held.Empty() {
		return c.held, nil
	}
	var replay, live kafka.Batch
	for _, p := range c.parts {
		rs := c.b.topics[c.topic][p]
		end := min(int64(len(rs)), c.next[p]+int64(c.rows))
		r := kafka.Range{Topic: c.topic, Partition: p, Begin: c.next[p]}
		switch {
		case c.next[p] < c.replayTo[p]:
			end, r.Replay = min(end, c.replayTo[p]), true
		case c.redoTo[p] > 0:
			end, r.Redo = c.redoTo[p], true
		}
		if r.End = end; r.End == r.Begin {
			continue
		}
		r.Give(lend(rs[r.Begin:r.End]))
		if r.Replay {
			replay.Ranges = append(replay.Ranges, r)
		} else {
			live.Ranges = append(live.Ranges, r)
		}
	}
	if !replay.Empty() {
		for _, r := range replay.Ranges {
			c.next[r.Partition] = r.End
		}
		return replay, nil
	}
	for _, r := range live.Ranges {
		c.commit(r.Partition, committed{r.Begin, r.End, c.meta(r.Partition)})
		c.next[r.Partition], c.redoTo[r.Partition] = r.End, 0
	}
	c.held = live
	return live, nil
}

func (c *consumer) commit(p int32, at committed) {
	if c.b.commits[c.group] == nil {
		c.b.commits[c.group] = map[int32]committed{}
	}
	c.b.commits[c.group][p] = at
}

func (c *consumer) Commit(_ context.Context, b kafka.Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refuse; err != nil {
		c.refuse, c.joined, c.held = nil, false, kafka.Batch{}
		return err
	}
	if b.Empty() || b.Ranges[0].Replay {
		return nil
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, r := range b.Ranges {
		c.commit(r.Partition, committed{r.End, r.End, c.meta(r.Partition)})
	}
	c.held = kafka.Batch{}
	return nil
}

// lend copies each record, and overwrites it before the next: roles must keep nothing of it.
func lend(rs []kafka.Record) iter.Seq[*kafka.Record] {
	return func(yield func(*kafka.Record) bool) {
		for _, rec := range rs {
			rec.Key, rec.Value = slices.Clone(rec.Key), slices.Clone(rec.Value)
			if !yield(&rec) {
				return
			}
			for _, b := range [][]byte{rec.Key, rec.Value} {
				for j := range b {
					b[j] = 0xA5
				}
			}
			rec = kafka.Record{}
		}
	}
}

// ends is what *kafka.Consumer.Ends tells.
func (c *consumer) ends() map[int32]kafka.End {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	out := map[int32]kafka.End{}
	for _, p := range c.parts {
		if at := c.b.commits[c.group][p]; p != c.busy && at.offset == int64(len(c.b.topics[c.topic][p])) {
			out[p] = kafka.End{Offset: at.offset, At: time.Now()}
		}
	}
	return out
}

// bench is what the loops of a test share.
type bench struct {
	t       *testing.T
	b       *broker
	health  *role.Health
	metrics *role.Metrics
	log     *lines
	ring    *ingest.Keyring
	keys    *ingest.Hasher
	rules   *detect.RuleSet
}

const lateness = time.Minute

func newBench(t *testing.T) *bench {
	t.Helper()
	ring, err := ingest.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := detect.Load(fstest.MapFS{"r.yaml": {Data: []byte(`schema: rule/v1
id: TT-01
name: test.failures
revision: 1
title: Failures
status: stable
mode: alert
severity: high
confidence: 80
risk: 30
tags: [attack.t1110.001]
description: Three failed authentications from one address within a minute.
runbook: Look.
match: {type: authentication, outcome: failure}
threshold: {count: {gte: 3}, window: 1m, group_by: [net.ip]}
suppress: {for: 2m}
alert: {title: "{{count}} failed logins from {{net.ip}}"}
tests:
  - name: fires
    events: [{repeat: 3, every: 1s, event: {type: authentication, outcome: failure, net.ip: 203.0.113.9}}]
    expect: {alerts: 1}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{
		t: t, b: newBroker(), health: role.NewHealth(), metrics: role.NewMetrics(prometheus.NewRegistry()),
		log: &lines{}, ring: ring, keys: ring.Hasher(), rules: rules,
	}
}

func (k *bench) reader() role.Reader {
	return role.Reader{
		Decoder: func() *ingest.Decoder { return ingest.NewDecoder(ingest.Options{Lateness: lateness}) },
		Keys:    func() role.Keys { return k.ring.Hasher() },
	}
}

func (k *bench) loop(name string) role.Loop {
	k.metrics.Loop(name)
	return role.Loop{Name: name, Log: slog.New(slog.NewJSONHandler(k.log, nil)), Health: k.health, Metrics: k.metrics}
}

// value is what a counter or gauge shows.
func (k *bench) value(m prometheus.Metric) float64 {
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		k.t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

// start runs a loop; what it returns stops it and waits.
func (k *bench) start(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(k.t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return func() {
		k.t.Helper()
		cancel()
		if err := <-done; err != nil {
			k.t.Errorf("the loop ended with %v", err)
		}
	}
}

func failure(partition int32, id int, ip string) kafka.Record {
	return kafka.Record{Topic: "events", Partition: partition, Value: fmt.Appendf(nil,
		`{"schema":"picket.event/1","id":"e-%d","time":%q,"type":"authentication","outcome":"failure","server":{"name":"s","instance":"i"},"net":{"ip":%q}}`,
		id, time.Now().UTC().Format(time.RFC3339Nano), ip)}
}
