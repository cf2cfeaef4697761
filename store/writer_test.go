package store

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

// complete reports whether n records are stored, each once.
func complete(s Stored, n uint64) bool { return s.Twice() == 0 && s.Events+s.Dead == n }

// checkExact compares everything that a batch should have left behind, roll-up included,
// with how often each thing was sent.
func checkExact(t *testing.T, db *DB, begin, end int64) {
	t.Helper()
	s, err := db.Audit(t.Context(), "mcp.events", 3, begin, end)
	if err != nil {
		t.Fatal(err)
	}
	if !complete(s, uint64(end-begin)) {
		t.Errorf("not each record once: %+v, want %d", s, end-begin)
	}
	if s.First != begin || s.Last != end-1 {
		t.Errorf("offsets %d to %d, want %d to %d", s.First, s.Last, begin, end-1)
	}
	wantNumber(t, db, s.Events, "SELECT sum(events) FROM {db}.events_1m")
	checkRollups(t, db)
}

func TestInsertIsExactHoweverOftenItIsRepeated(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
	}{
		{"plain", func(c *Config) { c.Compression = NoCompression }},
		{"lz4", func(c *Config) { c.Compression = LZ4 }},
		{"zstd", func(c *Config) { c.Compression = ZSTD }},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := migrated(t, c.change)
			w := NewWriter(db, WriterOptions{Instance: "a"})
			for range 3 {
				id, b := batch(w, 1000, 3000) // a fresh block each time: the same bytes, as after a restart
				if err := w.Insert(t.Context(), id, b); err != nil {
					t.Fatal(err)
				}
				checkExact(t, db, 1000, 3000)
			}
			wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger")
			wantNumber(t, db, 2000, "SELECT sum(events + dead) FROM {db}.ingest_ledger WHERE instance = 'a' AND generation = 7")
			id, b := batch(w, 3000, 3100)
			if err := w.Insert(t.Context(), id, b); err != nil {
				t.Fatal(err)
			}
			checkExact(t, db, 1000, 3100)
		})
	}
}

// The positive control: what keeps the counts exact is the token.
func TestWithoutTheTokenItCountsTwice(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	for _, end := range []int64{40, 41} {
		id, b := batch(w, 0, 40)
		id.End = end // another name for the same rows
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
	}
	s, err := db.Audit(t.Context(), "mcp.events", 3, 0, 40)
	if err != nil {
		t.Fatal(err)
	}
	if s.Events != 80 || s.DistinctEvents != 40 || complete(s, 40) {
		t.Errorf("audit did not see the duplicates: %+v", s)
	}
	wantNumber(t, db, 80, "SELECT sum(events) FROM {db}.events_1m")
}

func TestBigBatchIsOneBlock(t *testing.T) {
	if testing.Short() {
		t.Skip("100 k rows")
	}
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	const n = 100_000
	b := w.NewBlock()
	var ev detect.Event
	for o := range int64(n) {
		ev.Reset()
		fill(&ev, o)
		b.Append(&ev)
	}
	id := BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: n}
	for range 2 {
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
		checkExact(t, db, 0, n)
		wantNumber(t, db, 1, "SELECT count() FROM system.parts WHERE database = '"+db.t.Database+"' AND table = 'events' AND active")
		wantNumber(t, db, 1, "SELECT toUInt64(max(max_block_number - min_block_number + 1)) FROM system.parts WHERE database = '"+db.t.Database+"' AND table = 'events'")
	}
}

// crash makes the inserts of a batch end after some of them, as a crash does.
func crash(t *testing.T, c Config, after int, id BatchID, b *Block) (ended bool) {
	t.Helper()
	engine, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&faulty{plan: strings.Repeat("p", after) + strings.Repeat("r", 100), to: engine, rt: http.DefaultTransport})
	defer s.Close()
	c.URL = s.URL
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return NewWriter(db, WriterOptions{}).Insert(t.Context(), id, b) == nil
}

// passWindow makes the server forget all tokens.
func passWindow(t *testing.T, db *DB) {
	t.Helper()
	for _, table := range []string{"events", "events_1m", "entity_1h", "dead_letters", "ingest_ledger"} {
		if err := db.exec(t.Context(), "ALTER TABLE "+db.table(table)+" MODIFY SETTING non_replicated_deduplication_window = 0"); err != nil {
			t.Fatal(err)
		}
	}
}

// overMidnight is a batch with events and dead letters of two days and two months, so that
// each table but the ledger gets two inserts.
func overMidnight(w *Writer) (BatchID, *Block) {
	b := w.NewBlock()
	end := time.Now().UTC().Truncate(24 * time.Hour)
	end = end.AddDate(0, 0, 1-end.Day()) // the first of this month
	for o := range int64(200) {
		ev, at := &detect.Event{}, end.Add(time.Duration(o-100)*time.Second)
		fill(ev, o)
		if o%50 == 49 {
			b.AppendDead(&DeadLetter{Topic: "mcp.events", Partition: 3, Offset: o, Append: at, Stage: "decode", Class: "syntax", Error: "not JSON"})
			continue
		}
		ev.Append, ev.Time = at, at.Add(-time.Millisecond)
		b.Append(ev)
	}
	return BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: 200, Generation: 7}, b
}

// People look for the reason that headers and commands show: the column has both names.
func TestDeadLettersHaveAReason(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	id, b := overMidnight(w)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, 4, "SELECT count() FROM {db}.dead_letters WHERE reason = 'not JSON' AND error = reason")
}

// A crash may leave any prefix of a batch's inserts behind, and the redo may come when the
// server has forgotten their tokens. What is there is left alone, the rest is added.
func TestRedoCompletesWhatACrashLeft(t *testing.T) {
	slow(t)
	for name, make := range map[string]func(w *Writer) (BatchID, *Block){
		"one day":       func(w *Writer) (BatchID, *Block) { return batch(w, 0, 200) },
		"over midnight": overMidnight,
	} {
		for _, passed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, window passed %v", name, passed), func(t *testing.T) {
				for stage, whole := 0, false; !whole; stage++ {
					c := testConfig(t)
					db := dial(t, c)
					if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
						t.Fatal(err)
					}
					w := NewWriter(db, WriterOptions{})
					id, b := make(w)
					whole = crash(t, c, stage, id, b)
					if passed {
						passWindow(t, db)
					}
					for range 2 {
						id, b = make(w) // everything made anew, as after a restart
						if err := w.Redo(t.Context(), id, b); err != nil {
							t.Fatal(err)
						}
					}
					checkExact(t, db, 0, 200)
					wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger FINAL")
					if t.Failed() {
						t.Fatalf("after %d inserts", stage)
					}
				}
			})
		}
	}
}

// The control: without the look at each table a redo counts twice.
func TestInsertCountsTwiceWhenTheWindowHasPassed(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	for range 2 {
		id, b := batch(w, 0, 100)
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
		passWindow(t, db)
	}
	for _, table := range []string{"events", "events_1m"} {
		if n := db.number(t, "SELECT toUInt64("+map[string]string{"events": "count()", "events_1m": "sum(events)"}[table]+") FROM {db}."+table); n != 2*98 {
			t.Errorf("%s has %d, want each of 98 twice", table, n)
		}
	}
}

// An outage in the middle of a batch may be longer than the window: the writer that had no
// answer looks before it tries again.
func TestRepeatAfterAnErrorLooksFirst(t *testing.T) {
	c := testConfig(t)
	db := dial(t, c)
	if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	engine, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&faulty{plan: "pplr", to: engine, rt: http.DefaultTransport}) // the answer about events_1m is lost
	t.Cleanup(s.Close)
	c.URL = s.URL
	w := NewWriter(dial(t, c), WriterOptions{})
	id, b := batch(w, 0, 100)
	for range 3 {
		if err = w.Insert(t.Context(), id, b); err == nil {
			break
		}
		passWindow(t, db)
	}
	if err != nil {
		t.Fatal(err)
	}
	checkExact(t, db, 0, 100)
}

// Roll-ups merge rows of many batches into one. A redo still finds each batch, and only it.
func TestRedoFindsItsBatchInMergedRollups(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	for begin := int64(0); begin < 400; begin += 100 {
		if begin == 200 {
			continue
		}
		id, b := batch(w, begin, begin+100)
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"events", "events_1m", "entity_1h"} {
		if err := db.exec(t.Context(), "OPTIMIZE TABLE "+db.table(table)+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	passWindow(t, db)
	for begin := int64(300); begin >= 0; begin -= 100 {
		id, b := batch(w, begin, begin+100)
		if err := w.Redo(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
	}
	checkExact(t, db, 0, 400)
}

func TestBatchOverMidnightAndManyDays(t *testing.T) {
	slow(t)
	db := migrated(t)
	w := NewWriter(db, WriterOptions{Retention: Retention{1000, 1000, 1000}})
	b := w.NewBlock()
	const days = 150 // above max_partitions_per_insert_block's default of 100
	for o := range int64(days) {
		ev := event(o)
		ev.Append = day.AddDate(0, 0, int(o)-days)
		b.Append(ev)
	}
	id := BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: days}
	for range 2 {
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
		wantNumber(t, db, days, "SELECT count() FROM {db}.events")
	}
}

func TestInsertRefusesRowsOfAnotherBatch(t *testing.T) {
	w := NewWriter(&DB{}, WriterOptions{})
	for name, c := range map[string]struct {
		id   BatchID
		rows func(*Block)
		want string
	}{
		"offset outside": {BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: 5}, func(b *Block) { b.Append(event(5)) }, "offsets 5 to 5"},
		"other topic":    {BatchID{Topic: "x", Partition: 3, Begin: 0, End: 9}, func(b *Block) { b.Append(event(5)) }, "the block is of mcp.events:3"},
		"two partitions": {BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: 9}, func(b *Block) {
			b.Append(event(1))
			ev := event(2)
			ev.Partition = 4
			b.Append(ev)
		}, "mcp.events:4"},
		"negative offset": {BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: 9}, func(b *Block) {
			ev := event(1)
			ev.Offset = -1
			b.Append(ev)
		}, "offset -1"},
		"no range": {BatchID{Topic: "mcp.events", Begin: 9, End: 3}, func(*Block) {}, "not a range"},
	} {
		b := w.NewBlock()
		c.rows(b)
		if err := w.Insert(t.Context(), c.id, b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestEmptyBatchIsInTheLedger(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	if err := w.Insert(t.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: 5, End: 7}, w.NewBlock()); err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger WHERE events = 0 AND dead = 0")
}
