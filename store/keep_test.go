package store

import (
	"strings"
	"testing"
	"time"

	"picket/detect"
)

// lose takes a table's rows away and leaves their tokens, as a server does that is killed between
// its note of a token and the part.
func lose(t *testing.T, db *DB, table string) {
	t.Helper()
	if err := db.exec(t.Context(), "ALTER TABLE "+db.table(table)+" DELETE WHERE 1 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, 0, "SELECT count() FROM {db}."+table)
}

func TestTokenWithoutItsRows(t *testing.T) {
	for how, again := range map[string]func(w *Writer, id BatchID, b *Block) error{
		"redo":   func(w *Writer, id BatchID, b *Block) error { return w.Redo(t.Context(), id, b) },
		"insert": func(w *Writer, id BatchID, b *Block) error { return w.Insert(t.Context(), id, b) }, // as after an operator moved the offset back
	} {
		t.Run(how, func(t *testing.T) {
			db := migrated(t)
			w := NewWriter(db, WriterOptions{})
			id, b := batch(w, 0, 100)
			if err := w.Insert(t.Context(), id, b); err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"dead_letters", "events", "events_1m", "entity_1h", "ingest_ledger"} {
				for range 2 { // the token that came instead of it, too
					lose(t, db, table)
					w := NewWriter(db, WriterOptions{})
					id, b := batch(w, 0, 100)
					if err := again(w, id, b); err != nil {
						t.Fatal(err)
					}
					checkExact(t, db, 0, 100)
					wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger")
					if t.Failed() {
						t.Fatalf("%s was lost", table)
					}
				}
			}
		})
	}
}

// The control: without the look a token that was noted loses its rows.
func TestTokenWithoutItsRowsLosesThem(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	for range 2 {
		_, b := batch(w, 0, 100)
		for _, r := range b.events.each() {
			if err := db.insert(t.Context(), &r.rows, "token"); err != nil {
				t.Fatal(err)
			}
		}
		if db.number(t, "SELECT count() FROM {db}.events") > 0 {
			lose(t, db, "events")
		}
	}
	wantNumber(t, db, 0, "SELECT count() FROM {db}.events")
}

func TestTokensThatAreAllTaken(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	for range mostTokens {
		id, b := batch(w, 0, 100)
		if err := w.Redo(t.Context(), id, b); err != nil {
			t.Fatal(err)
		}
		lose(t, db, "events")
	}
	id, b := batch(w, 0, 100)
	if err := w.Redo(t.Context(), id, b); err == nil || !strings.Contains(err.Error(), "does not show any") {
		t.Errorf("rows that nobody can find count as stored: %v", err)
	}
}

// Rows that were too old when they came go at once. A batch of them is stored all the same, however
// often the rest of it could not be.
func TestRowsThatExpireAtOnceParkNobody(t *testing.T) {
	db := migrated(t)
	for range 2 * mostTokens {
		w := NewWriter(db, WriterOptions{})
		b := w.NewBlock()
		for o := range int64(20) {
			ev := event(o)
			ev.Append = day.AddDate(-2, 0, 0)
			b.Append(ev)
		}
		if err := w.Redo(t.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: 20}, b); err != nil {
			t.Fatal(err)
		}
		lose(t, db, "events")
	}
}

func TestAlertsAndDeliveriesOutliveTheirTokens(t *testing.T) {
	db := migrated(t)
	w := NewAlertWriter(db)
	a := detect.Alert{ID: "a1", Tenant: "acme", Count: 3, BucketStart: day, BucketEnd: day, First: day, Last: day, FiredAt: day}
	d := Delivery{Tenant: "acme", AlertID: "a1", Destination: "slack", Outcome: "sent", At: time.Now()}
	for range 2 {
		for range 2 {
			if err := w.Write(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			if err := w.WriteDeliveries(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			wantNumber(t, db, 1, "SELECT count() FROM {db}.v_alerts WHERE alert_id = 'a1'")
			wantNumber(t, db, 1, "SELECT count() FROM {db}.deliveries")
		}
		lose(t, db, "alerts")
		lose(t, db, "deliveries")
	}
}

// A zombie's ledger row says that a batch is stored of which the server dropped a piece. Who does the batch
// again looks for itself.
func TestARedoDoesNotTrustTheLedger(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	id, b := batch(w, 0, 100)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	lose(t, db, "entity_1h")
	none := func(int64, int64) []Arrival { return nil }
	heir := NewWriter(db, WriterOptions{})
	if parts, err := heir.Unstored(t.Context(), id, false, none); err != nil || len(parts) != 0 {
		t.Errorf("the ledger has it: %v, %v", parts, err)
	}
	parts, err := heir.Unstored(t.Context(), id, true, none)
	if err != nil || len(parts) != 1 || parts[0] != id {
		t.Fatalf("to be done again: %v, %v", parts, err)
	}
	_, again := batch(heir, 0, 100)
	if err := heir.Redo(t.Context(), id, again); err != nil {
		t.Fatal(err)
	}
	checkExact(t, db, 0, 100)
	wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger")
}
