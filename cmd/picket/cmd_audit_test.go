package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/detect"
	"picket/ingest/kafka"
	"picket/store"
)

// audited is a broker and an engine in a process of their own, with a topic of three partitions.
type audited struct {
	t    *testing.T
	conf string
	cfg  kafka.Config
	db   *store.DB
	w    *store.Writer

	clickhouse string // URL
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	engine(t)
	servers := start(t, "picket", "embedded", "--kafka", "127.0.0.1:0", "--clickhouse", "127.0.0.1:0", "-c", setting(t, ""))
	broker, clickhouse := servers.says(t, `kafka: +(\S+)`), servers.says(t, `clickhouse: +(\S+)`)
	a := &audited{t: t, cfg: kafka.Config{Brokers: []string{broker}}, clickhouse: clickhouse}
	a.conf = setting(t, fmt.Sprintf("kafka: {brokers: ['%s'], partitions: {events: 3, signals: 2}}\nclickhouse: {url: '%s'}", broker, clickhouse))
	if e := picket(t, "topics", "create", "-c", a.conf); e.code != exitOK {
		t.Fatal(e.stderr)
	}
	if e := picket(t, "migrate", "-c", a.conf); e.code != exitOK {
		t.Fatal(e.stderr)
	}
	var err error
	if a.db, err = store.Open(t.Context(), store.Config{URL: clickhouse}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.db.Close() })
	a.w = store.NewWriter(a.db, store.WriterOptions{Instance: "one"})
	return a
}

func (a *audited) produce(topic string, partition int32, n int, headers ...kafka.Header) {
	a.t.Helper()
	p, err := kafka.NewProducer(a.cfg, kafka.ProducerOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	defer p.Close()
	var rs []kafka.Record
	for i := range n {
		rs = append(rs, kafka.Record{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, `{"n":%d}`, i), Headers: headers})
	}
	if err := p.Produce(a.t.Context(), rs); err != nil {
		a.t.Fatal(err)
	}
}

// consume commits all that there is, in batches of ten, and calls with each of them first.
func (a *audited) consume(with func(kafka.Range)) {
	a.t.Helper()
	c, err := kafka.NewConsumer(a.cfg, kafka.ConsumerOptions{Topic: "mcp.events", Group: "picket.store", MaxRows: 10, MaxWait: 200 * time.Millisecond})
	if err != nil {
		a.t.Fatal(err)
	}
	for empty := 0; empty < 3; {
		b, err := c.Poll(a.t.Context())
		if err != nil {
			a.t.Fatal(err)
		}
		if b.Empty() {
			if len(c.Assigned()) > 0 {
				empty++
			}
			continue
		}
		for _, r := range b.Ranges {
			with(r)
		}
		if err := c.Commit(a.t.Context(), b); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := c.Close(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}

// store inserts the offsets of a range, without those left out; every tenth is a dead letter.
func (a *audited) store(r kafka.Range, without ...int64) {
	a.t.Helper()
	b := a.w.NewBlock()
	for rec := range r.All() {
		skip := false
		for _, o := range without {
			skip = skip || o == rec.Offset
		}
		switch {
		case skip:
		case rec.Offset%10 == 9:
			b.AppendDead(&store.DeadLetter{Topic: r.Topic, Partition: r.Partition, Offset: rec.Offset, Append: rec.Append, Stage: "decode", Class: "not_json"})
		default:
			ev := &detect.Event{Topic: r.Topic, Partition: r.Partition, Offset: rec.Offset, Append: rec.Append}
			ev.Set(detect.Type, "tool_call")
			ev.Stamp(time.Minute)
			b.Append(ev)
		}
	}
	if err := a.w.Insert(a.t.Context(), store.BatchID{Topic: r.Topic, Partition: r.Partition, Begin: r.Begin, End: r.End}, b); err != nil {
		a.t.Fatal(err)
	}
}

func (a *audited) audit(args ...string) (ended, auditReport) {
	a.t.Helper()
	var r auditReport
	e := picket(a.t, append([]string{"audit", "--json", "-c", a.conf}, args...)...)
	if err := json.Unmarshal([]byte(e.stdout), &r); err != nil {
		a.t.Fatalf("%v\n%s\n%s", err, e.stdout, e.stderr)
	}
	return e, r
}

func TestAuditAddsUp(t *testing.T) {
	a := newAudited(t)
	if e, r := a.audit(); e.code != exitOK || !r.OK || len(r.Partitions) != 3 || r.Partitions[0].Committed != -1 {
		t.Errorf("empty topics: code %d, %+v", e.code, r)
	}
	for p := range int32(3) {
		a.produce("mcp.events", p, 25)
	}
	if e, r := a.audit(); e.code != exitOK || r.InFlight != 75 {
		t.Errorf("nothing stored yet: code %d, %+v", e.code, r)
	}
	a.consume(func(r kafka.Range) { a.store(r) })
	a.produce("mcp.events", 1, 5)
	e, r := a.audit()
	if e.code != exitOK || !r.OK || r.Events != 69 || r.Dead != 6 || r.InFlight != 5 || r.Partitions[1].End != 30 || r.Partitions[1].Committed != 25 {
		t.Errorf("code %d, %+v", e.code, r)
	}
	if e := picket(t, "audit", "-c", a.conf); e.code != exitOK || !strings.Contains(e.stdout, "PARTITION  LOG START ") || !strings.Contains(e.stdout, "mcp.events adds up: 69 events and 6 dead letters stored once each, 5 in flight") {
		t.Errorf("code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
	e = picket(t, "audit", "--ledger", "--limit", "2", "-c", a.conf)
	if e.code != exitOK || strings.Count(e.stdout, "one") != 2 || !strings.HasPrefix(e.stdout, "STORED AT") {
		t.Errorf("ledger: code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
}

func TestAuditFindsWhatDoesNotAddUp(t *testing.T) {
	a := newAudited(t)
	for p := range int32(3) {
		a.produce("mcp.events", p, 25)
	}
	a.consume(func(r kafka.Range) {
		switch r.Partition {
		case 0: // acknowledged and never stored
			a.store(r, 3, 4, 17)
		case 1: // stored twice, under other borders
			a.store(r)
			a.store(r.Part(r.Begin, r.Begin+1))
		default: // nobody stored the first
			if r.Begin > 0 {
				a.store(r)
			}
		}
	})
	if err := a.w.Insert(t.Context(), store.BatchID{Topic: "mcp.events", Partition: 1, Begin: 90, End: 91}, func() *store.Block {
		b := a.w.NewBlock()
		b.AppendDead(&store.DeadLetter{Topic: "mcp.events", Partition: 1, Offset: 90, Append: time.Now()})
		return b
	}()); err != nil {
		t.Fatal(err)
	}
	e, r := a.audit()
	if e.code != exitFailure || r.OK || !strings.Contains(e.stderr, "in 3 of 3 partitions") {
		t.Errorf("code %d, %s", e.code, e.stderr)
	}
	p := r.Partitions
	if p[0].Lost != 3 || fmt.Sprint(p[0].Missing) != "[{3 5} {17 18}]" {
		t.Errorf("lost: %+v", p[0])
	}
	if p[1].Twice < 1 || p[1].Lost != 0 || p[1].Beyond != 1 {
		t.Errorf("twice and beyond: %+v", p[1])
	}
	if p[2].Lost == 0 || p[2].Missing[0].Begin != 0 {
		t.Errorf("skipped: %+v", p[2])
	}
	for _, want := range []string{"partition 0: 3 records below the committed offset 25 without a row, in [3, 5) [17, 18)", "partition 1: ", "truncated or made anew"} {
		if !strings.Contains(strings.Join(r.Problems, "\n"), want) {
			t.Errorf("problems lack %q: %q", want, r.Problems)
		}
	}
}

// expire removes the records before an offset, as retention does.
func (a *audited) expire(partition int32, before int64) {
	a.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(a.cfg.Brokers...))
	if err != nil {
		a.t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = "mcp.events", append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(a.t.Context(), client)
	if err != nil {
		a.t.Fatal(err)
	}
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		a.t.Fatalf("delete records: error code %d", code)
	}
}

func TestAuditWhenTheLogHasExpired(t *testing.T) {
	a := newAudited(t)
	a.produce("mcp.events", 0, 25)
	a.consume(func(r kafka.Range) { a.store(r) })
	a.expire(0, 15)
	if e, r := a.audit(); e.code != exitOK || r.Partitions[0].Start != 15 || r.Events+r.Dead != 10 {
		t.Errorf("stored before it expired: code %d, %+v", e.code, r)
	}
	if e, r := a.audit("--everything"); e.code != exitOK || r.Events+r.Dead != 25 {
		t.Errorf("with all that is stored: code %d, %+v", e.code, r)
	}
	a.produce("mcp.events", 0, 10)
	a.expire(0, 30)
	e, r := a.audit()
	if e.code != exitFailure || r.Partitions[0].Expired != 5 || r.InFlight != 5 {
		t.Errorf("expired unread: code %d, %+v", e.code, r)
	}
	if e, r := a.audit("--expired-ok"); e.code != exitOK || r.Partitions[0].Expired != 5 {
		t.Errorf("and that is known: code %d, %+v", e.code, r)
	}
}

// Each transaction leaves an offset without a record. A record that is lost behind many of them is found,
// and only where it is.
func TestAuditLooksBehindManyTransactions(t *testing.T) {
	a := newAudited(t)
	const transactions = 1100
	c, err := kgo.NewClient(kgo.SeedBrokers(a.cfg.Brokers...), kgo.TransactionalID("audited"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range transactions {
		if err := c.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "mcp.events", Value: []byte("{}")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := c.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	const last = 2 * (transactions - 1)
	a.consume(func(r kafka.Range) { a.store(r, last) })
	e, r := a.audit()
	p := r.Partitions[0]
	if e.code != exitFailure || p.Lost != 1 || p.NoData != transactions || fmt.Sprint(p.Missing) != fmt.Sprintf("[{%d %d}]", last-1, last+2) {
		t.Errorf("code %d, %+v", e.code, p)
	}
}

func TestAuditSaysThatNobodyReadsAnAddedPartition(t *testing.T) {
	a := newAudited(t)
	a.produce("mcp.events", 0, 10)
	a.consume(func(r kafka.Range) { a.store(r) })
	a.produce("mcp.events", 2, 10)
	if e, r := a.audit(); e.code != exitOK || r.InFlight != 10 {
		t.Errorf("one that just has its first records: code %d, %+v", e.code, r)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(a.cfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = 10_000
	more := kmsg.NewCreatePartitionsRequestTopic()
	more.Topic, more.Count = "mcp.events", 4
	req.Topics = append(req.Topics, more)
	if res, err := req.RequestWith(t.Context(), client); err != nil || res.Topics[0].ErrorCode != 0 {
		t.Fatal(err, res)
	}
	a.produce("mcp.events", 3, 5)
	e, r := a.audit()
	if e.code != exitFailure || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "partition 3: nobody reads its 5 records") {
		t.Errorf("code %d, %q", e.code, r.Problems)
	}
}

// An operator moved the offset forward, and Kafka no longer has what was skipped.
func TestAuditRemembersWhatWasSkipped(t *testing.T) {
	a := newAudited(t)
	a.produce("mcp.events", 2, 25)
	a.consume(func(r kafka.Range) {
		if r.Begin != 10 {
			a.store(r)
		}
	})
	if e, r := a.audit(); e.code != exitFailure || r.Partitions[2].Lost != 10 {
		t.Errorf("while Kafka has them: code %d, %+v", e.code, r)
	}
	a.expire(2, 25)
	e, r := a.audit()
	if e.code != exitFailure || r.Partitions[2].Skipped != 10 || !strings.Contains(r.Problems[0], "10 offsets were skipped: the ledger has holes") {
		t.Errorf("afterwards: code %d, %+v", e.code, r)
	}
}

func TestLongWorkSaysWhatItIsAt(t *testing.T) {
	var out strings.Builder
	clock := time.Now()
	tell := stages(&out, 3*time.Second, func() time.Time { return clock })
	for n := range 9 {
		tell("partition %d", n)
		clock = clock.Add(time.Second)
	}
	if out.String() != "partition 3 ...\npartition 6 ...\n" {
		t.Errorf("%q", out.String())
	}
}
