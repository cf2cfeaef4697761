package store

import (
	"strings"
	"testing"

	"picket/detect"
)

// checkExact compares everything that a batch should have left behind, roll-up included,
// with how often each thing was sent.
func checkExact(t *testing.T, db *DB, begin, end int64) {
	t.Helper()
	s, err := db.Audit(t.Context(), "mcp.events", 3, begin, end)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Complete(uint64(end - begin)) {
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
	for _, token := range []string{"one", "two"} {
		_, b := batch(w, 0, 40)
		if err := db.insert(t.Context(), &b.events.rows, token); err != nil {
			t.Fatal(err)
		}
	}
	s, err := db.Audit(t.Context(), "mcp.events", 3, 0, 40)
	if err != nil {
		t.Fatal(err)
	}
	if s.Events != 80 || s.DistinctEvents != 40 || s.Complete(40) {
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

// A crash may leave any prefix of dead letters, events and ledger behind.
func TestRepeatAfterCrashInTheMiddle(t *testing.T) {
	for stage := range 3 {
		db := migrated(t)
		w := NewWriter(db, WriterOptions{})
		id, b := batch(w, 0, 200)
		for _, r := range []*rows{&b.dead.rows, &b.events.rows}[:stage] {
			if err := db.insert(t.Context(), r, id.token()); err != nil {
				t.Fatal(err)
			}
		}
		id, b = batch(w, 0, 200)
		if err := w.Redo(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
		checkExact(t, db, 0, 200)
		wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger")
	}
}

// The engine stores into the table first and into the views' targets after it. What a
// crash between the two left out must come with the repetition.
func TestRepeatFillsAViewThatWasLeftOut(t *testing.T) {
	for _, table := range []string{"events_1m", "entity_1h"} {
		db := migrated(t)
		w := NewWriter(db, WriterOptions{})
		if err := db.exec(t.Context(), "DETACH TABLE "+db.table(table+"_mv")); err != nil {
			t.Fatal(err)
		}
		id, b := batch(w, 0, 100)
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
		wantNumber(t, db, 0, "SELECT sum(events) FROM {db}."+table)
		if err := db.exec(t.Context(), "ATTACH TABLE "+db.table(table+"_mv")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := w.Insert(t.Context(), id, b); err != nil {
				t.Fatal(err)
			}
			checkExact(t, db, 0, 100)
		}
	}
}

func TestRedoReadsBackWhenTheWindowHasPassed(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	id, b := batch(w, 0, 100)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"events", "events_1m", "entity_1h", "dead_letters", "ingest_ledger"} {
		if err := db.exec(t.Context(), "ALTER TABLE "+db.table(table)+" MODIFY SETTING non_replicated_deduplication_window = 0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Redo(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	checkExact(t, db, 0, 100)
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
