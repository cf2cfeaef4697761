package role_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/cmd/internal/role"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
	"picket/store"
	"picket/store/embedded/embeddedtest"
)

// front stands before a real engine and refuses what it is told to.
type front struct {
	*httptest.Server
	direct *store.DB

	mu     sync.Mutex
	refuse func(query string) bool
	seen   map[string]int // inserts that came, by table
}

func newFront(t *testing.T) *front {
	t.Helper()
	u, err := url.Parse(embeddedtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	name := u.Query().Get("database")
	u.RawQuery = ""
	f := &front{seen: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(u)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query().Get("query")
		f.mu.Lock()
		for _, table := range []string{"events", "dead_letters", "ingest_ledger"} {
			if strings.HasPrefix(q, "INSERT") && strings.Contains(q, ".`"+table+"`") {
				f.seen[table]++
			}
		}
		no := f.refuse != nil && f.refuse(q)
		f.mu.Unlock()
		if no {
			http.Error(w, "upstream is away", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	f.direct = f.open(t, u.String(), name)
	if _, err := store.Migrate(t.Context(), f.direct, store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *front) open(t *testing.T, at, database string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: at, User: "default", Database: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func (f *front) set(refuse func(string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

func (f *front) inserts(table string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[table]
}

// count is rows and distinct offsets of a table.
func (f *front) count(t *testing.T, table string) string {
	t.Helper()
	_, rows, err := f.direct.Query(t.Context(), "SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM "+f.direct.Database()+"."+table)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(rows[0], " ")
}

func (k *bench) storer(db *store.DB, c *consumer) *role.Storer {
	s := &role.Storer{
		Loop: k.loop("store"), Consumer: c, Producer: k.b, Writer: store.NewWriter(db, store.WriterOptions{}), Reader: k.reader(),
		Dead: "dead", Generation: func() int32 { return 1 },
	}
	s.Backoff = role.Backoff{First: time.Millisecond, Most: 20 * time.Millisecond}
	return s
}

func (k *bench) mixed(n int) {
	for i := range n {
		r := failure(int32(i%2), i, "203.0.113.1")
		if i%5 == 0 {
			r.Value = r.Value[:20]
			r.Headers = []kafka.Header{{Key: ingest.HeaderRedrive, Value: fmt.Appendf(nil, "events:7:%d", i)}}
		}
		k.b.put(r)
	}
}

func (k *bench) done(c *consumer, n int64) func() bool {
	return func() bool {
		k.b.mu.Lock()
		defer k.b.mu.Unlock()
		at := k.b.commits[c.group]
		return at[0].offset+at[1].offset == n
	}
}

func TestStoreThroughAnOutage(t *testing.T) {
	for name, refuse := range map[string]func(string) bool{
		"of everything":      func(string) bool { return true },
		"of dead letters":    func(q string) bool { return strings.Contains(q, "`dead_letters`") },
		"of the last insert": func(q string) bool { return strings.Contains(q, "`ingest_ledger`") },
	} {
		t.Run(name, func(t *testing.T) {
			k, f := newBench(t), newFront(t)
			k.mixed(40)
			c := k.b.consumer("events", "g", 100, 0, 1)
			db := f.open(t, f.URL, f.direct.Database())
			f.set(refuse)
			stop := k.start(k.storer(db, c).Run)
			kafkatest.Eventually(t, 10*time.Second, "some attempts", func() bool { return len(k.log.with("parked")) > 4 })
			f.set(nil)
			kafkatest.Eventually(t, 10*time.Second, "it is stored", k.done(c, 40))
			stop()
			if e, d := f.count(t, "events"), f.count(t, "dead_letters"); e != "32 32" || d != "8 8" {
				t.Errorf("%s events, %s dead letters", e, d)
			}
			if n := len(k.b.all("dead")); n != 8 {
				t.Errorf("%d dead letters on their topic: an outage must not fill it", n)
			}
			if n := k.value(k.metrics.Stored); n != 32 {
				t.Errorf("%v stored are counted", n)
			}
			dead := 0.0
			for _, class := range ingest.Classes() {
				dead += k.value(k.metrics.Dead.WithLabelValues(string(class)))
			}
			if dead != 8 {
				t.Errorf("%v dead letters are counted", dead)
			}
		})
	}
}

// What is stored of a batch is not sent again while another part of it fails.
func TestStoreRepeatsOnlyWhatFailed(t *testing.T) {
	k, f := newBench(t), newFront(t)
	k.mixed(40)
	c := k.b.consumer("events", "g", 100, 0, 1)
	ledgers := 0
	f.set(func(q string) bool {
		if strings.Contains(q, "`ingest_ledger`") {
			ledgers++
		}
		return ledgers > 1 && ledgers < 8 && strings.Contains(q, "`ingest_ledger`") // the second range's
	})
	stop := k.start(k.storer(f.open(t, f.URL, f.direct.Database()), c).Run)
	kafkatest.Eventually(t, 10*time.Second, "it is stored", k.done(c, 40))
	stop()
	if n := f.inserts("events"); n != 2 {
		t.Errorf("%d inserts of events, want one of each range: what is stored is looked for before it is sent again", n)
	}
}

func TestStoreRedoesWhatAnotherDeclared(t *testing.T) {
	k, f := newBench(t), newFront(t)
	k.mixed(40)
	db := f.open(t, f.URL, f.direct.Database())
	c := k.b.consumer("events", "g", 100, 0, 1)
	c.refuse = kafka.ErrFenced // stored, and not acknowledged
	stop := k.start(k.storer(db, c).Run)
	kafkatest.Eventually(t, 10*time.Second, "it is stored twice", k.done(c, 40))
	stop()
	if e := f.count(t, "events"); e != "32 32" {
		t.Errorf("%s events", e)
	}
	if n := f.inserts("events"); n != 2 {
		t.Errorf("%d inserts of events: a redone batch is looked for first", n)
	}
	if n := k.value(k.metrics.Batches.WithLabelValues("store", "redone")); n != 1 {
		t.Error(n)
	}
}

func TestStoreWaitsForItsDeadLetters(t *testing.T) {
	k, f := newBench(t), newFront(t)
	k.mixed(10)
	failed := 0
	k.b.setFail(func([]kafka.Record) (error, bool) { failed++; return errDown, false })
	c := k.b.consumer("events", "g", 100, 0, 1)
	s := k.storer(f.direct, c)
	stop := k.start(func(ctx context.Context) error { return s.Run(ctx) })
	kafkatest.Eventually(t, 10*time.Second, "some attempts", func() bool { return len(k.log.with("parked")) > 3 })
	if d := f.count(t, "dead_letters"); d != "0 0" {
		t.Errorf("%s rows point to dead letters that are not there", d)
	}
	k.b.setFail(nil)
	kafkatest.Eventually(t, 10*time.Second, "it is stored", k.done(c, 10))
	stop()
	if got := fmt.Sprint(f.count(t, "dead_letters"), len(k.b.all("dead"))); got != "2 22" {
		t.Errorf("dead letters: rows, distinct, on the topic: %s", got)
	}
	sent := map[string]bool{}
	was := func(r kafka.Record) string {
		for _, h := range r.Headers {
			if h.Key == ingest.HeaderRedrive {
				return string(h.Value)
			}
		}
		return "none"
	}
	for _, r := range k.b.all("events") {
		sent[string(r.Value)+was(r)] = true
	}
	for _, d := range k.b.all("dead") { // which outlive the records
		if was(d) == "none" || !sent[string(d.Value)+was(d)] {
			t.Errorf("a dead letter of %q, redrive of %s, which nobody sent", d.Value, was(d))
		}
	}
}

// Ranges are stored side by side, which must not show in what is stored.
func TestStoreSideBySideStoresTheSame(t *testing.T) {
	k := newBench(t)
	k.mixed(400)
	content := func(consumers ...*consumer) (out []string) {
		f := newFront(t)
		for _, c := range consumers {
			stop := k.start(k.storer(f.direct, c).Run)
			kafkatest.Eventually(t, time.Minute, "it is stored", func() bool {
				k.b.mu.Lock()
				defer k.b.mu.Unlock()
				for _, p := range c.parts {
					if k.b.commits[c.group][p].offset != 200 {
						return false
					}
				}
				return true
			})
			stop()
		}
		for _, table := range []string{"events", "dead_letters", "ingest_ledger"} {
			_, rows, err := f.direct.Query(t.Context(), "SELECT * EXCEPT "+map[string]string{
				"events": "(kafka_topic)", "dead_letters": "(kafka_topic)", "ingest_ledger": "(stored_at, generation)",
			}[table]+" FROM "+f.direct.Database()+"."+table+" ORDER BY ALL")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				out = append(out, strings.Join(r, " "))
			}
		}
		return out
	}
	side := content(k.b.consumer("events", "side", 50, 0, 1))
	one := content(k.b.consumer("events", "one", 50, 0), k.b.consumer("events", "one", 50, 1))
	if len(side) != 400+8 || !slices.Equal(side, one) {
		t.Errorf("%d rows side by side, and %d one by one, or not the same", len(side), len(one))
	}
}

// sums are the events that each roll-up says there are.
func (f *front) sums(t *testing.T) string {
	t.Helper()
	_, rows, err := f.direct.Query(t.Context(), fmt.Sprintf("SELECT (SELECT sum(events) FROM %[1]s.events_1m), (SELECT sum(events) FROM %[1]s.entity_1h WHERE kind = 'source')", f.direct.Database()))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(rows[0], " ")
}

// Somebody moves the group's offsets back: what comes again is there once, and what is new too.
func TestStoreTakesOnceWhatComesAgain(t *testing.T) {
	for name, next := range map[string]func(k *bench, c *consumer) int64{
		"all of it": func(k *bench, c *consumer) int64 {
			c.commit(0, committed{end: -1})
			c.commit(1, committed{end: -1})
			return 40
		},
		"a part, and new records": func(k *bench, c *consumer) int64 {
			c.commit(0, committed{offset: 7, end: -1})
			k.mixed(20)
			return 60
		},
		"a part, and a crash in what is new": func(k *bench, c *consumer) int64 {
			k.mixed(20)
			c.commit(0, committed{offset: 7, end: 30}) // declared
			return 60
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, f := newBench(t), newFront(t)
			k.mixed(40)
			c := k.b.consumer("events", "g", 15, 0, 1)
			stop := k.start(k.storer(f.direct, c).Run)
			kafkatest.Eventually(t, 10*time.Second, "it is stored", k.done(c, 40))
			stop()
			n := next(k, c)
			c = k.b.consumer("events", "g", 100, 0, 1)
			stop = k.start(k.storer(f.direct, c).Run)
			kafkatest.Eventually(t, 10*time.Second, "the rest is stored", k.done(c, n))
			stop()
			events, dead := n*4/5, n/5
			if got, want := f.count(t, "events"), fmt.Sprintf("%[1]d %[1]d", events); got != want {
				t.Errorf("%s events, want %s", got, want)
			}
			if got, want := f.count(t, "dead_letters"), fmt.Sprintf("%[1]d %[1]d", dead); got != want {
				t.Errorf("%s dead letters, want %s", got, want)
			}
			if got, want := f.sums(t), fmt.Sprintf("%[1]d %[1]d", events); got != want {
				t.Errorf("roll-ups of %s events, want %s", got, want)
			}
		})
	}
}

// The offsets of a topic that was made anew name other records.
func TestStoreKeepsATopicThatWasMadeAnew(t *testing.T) {
	f := newFront(t)
	for want := range 2 {
		k := newBench(t)
		k.mixed(40)
		c := k.b.consumer("events", "g", 100, 0, 1)
		stop := k.start(k.storer(f.direct, c).Run)
		kafkatest.Eventually(t, 10*time.Second, "it is stored", k.done(c, 40))
		stop()
		if got, want := f.count(t, "events"), fmt.Sprintf("%d 32", 32*(want+1)); got != want {
			t.Errorf("%s events, want %s", got, want)
		}
		if got, want := f.sums(t), fmt.Sprintf("%[1]d %[1]d", 32*(want+1)); got != want {
			t.Errorf("roll-ups of %s events, want %s", got, want)
		}
	}
}
