package store

import (
	"slices"
	"testing"
)

func TestAuditSeesWhatDoesNotAddUp(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{Instance: "a"})
	for _, r := range []Span{{10, 20}, {25, 100}, {130, 150}} {
		id, b := batch(w, r.Begin, r.End)
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
	}
	missing, err := db.Missing(t.Context(), "mcp.events", 3, 0, 200, 10)
	if want := []Span{{0, 10}, {20, 25}, {100, 130}, {150, 200}}; err != nil || !slices.Equal(missing, want) {
		t.Errorf("missing %v, %v; want %v", missing, err, want)
	}
	if missing, err := db.Missing(t.Context(), "mcp.events", 3, 25, 100, 10); err != nil || len(missing) != 0 {
		t.Errorf("missing of a whole range: %v, %v", missing, err)
	}
	if missing, err := db.Missing(t.Context(), "mcp.events", 4, 5, 7, 10); err != nil || !slices.Equal(missing, []Span{{5, 7}}) {
		t.Errorf("missing of an empty partition: %v, %v", missing, err)
	}
	if missing, err := db.Missing(t.Context(), "mcp.events", 3, 0, 200, 2); err != nil || len(missing) != 2 {
		t.Errorf("at most two: %v, %v", missing, err)
	}
	l, err := db.LedgerSum(t.Context(), "mcp.events", 3, 150)
	if err != nil || l.Ranges != 3 || l.First != 10 || l.Bare != 0 || !slices.Equal(l.Holes, []Span{{20, 25}, {100, 130}}) {
		t.Errorf("ledger: %+v, %v", l, err)
	}
	// An offset that is event and dead letter at once hides a lost one in the sums.
	b := w.NewBlock()
	b.AppendDead(&DeadLetter{Topic: "mcp.events", Partition: 3, Offset: 30, Append: day})
	if err := db.insert(t.Context(), &b.dead.made[0].rows, "again"); err != nil {
		t.Fatal(err)
	}
	s, err := db.Audit(t.Context(), "mcp.events", 3, 25, 101)
	if err != nil || s.Both != 1 || s.Twice() != 1 || s.Distinct() != 75 {
		t.Errorf("audit: %+v, %v", s, err)
	}
}

func TestLedgerSaysWhoStoredWhat(t *testing.T) {
	db := migrated(t)
	for i, instance := range []string{"a", "b"} {
		w := NewWriter(db, WriterOptions{Instance: instance})
		id, b := batch(w, int64(i)*100, int64(i)*100+60)
		id.Begin, id.End = int64(i)*100, int64(i)*100+70 // ten were gone
		if err := w.Insert(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Ledger(t.Context(), "mcp.events", 10)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%v, %v", rows, err)
	}
	r := rows[slices.IndexFunc(rows, func(r LedgerRow) bool { return r.Instance == "b" })]
	if r.Begin != 100 || r.End != 170 || r.Events != 59 || r.Dead != 1 || r.Generation != 7 || r.StoredAt.IsZero() {
		t.Errorf("%+v", r)
	}
	if l, err := db.LedgerSum(t.Context(), "mcp.events", 3, 100); err != nil || l.Bare != 10 || l.Ranges != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	if rows, err := db.Ledger(t.Context(), "other", 10); err != nil || len(rows) != 0 {
		t.Errorf("another topic: %v, %v", rows, err)
	}
}
