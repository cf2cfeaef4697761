package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

func TestDemoQueriesAnswer(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	b := w.NewBlock()
	now := time.Now().Add(-10 * time.Minute)
	for o := range int64(60) {
		ev := event(o)
		if o%2 == 0 { // 30 logins, most of them bad, from two addresses
			*ev = detect.Event{}
			ev.Set(detect.Type, "authentication")
			ev.Set(detect.Outcome, "failure")
			ev.Set(detect.Tenant, "acme")
			ev.Set(detect.NetIP, fmt.Sprintf("10.0.0.%d", o%10/8))
			ev.Set(detect.ActorClientID, "mallory")
		}
		ev.Topic, ev.Partition, ev.Offset, ev.Append, ev.Claimed = "mcp.events", 3, o, now.Add(time.Duration(o)*time.Second), now.Add(time.Duration(o)*time.Second)
		ev.Stamp(time.Minute)
		ev.Redact(hasher{}, nil)
		b.Append(ev)
	}
	if err := w.Insert(t.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: 60}, b); err != nil {
		t.Fatal(err)
	}
	a := alert(5, false)
	a.Evidence[0].Offset = 4
	if err := NewAlertWriter(db).Write(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	qs, err := DemoQueries(db.Database())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][][]string{}
	for _, q := range qs {
		columns, rows, err := db.Query(t.Context(), q.SQL)
		if err != nil {
			t.Fatalf("%s: %v", q.Name, err)
		}
		if q.Title == "" || strings.Contains(q.SQL, "{{") || len(columns) < 5 || len(rows) == 0 {
			t.Errorf("%s: title %q, %d columns, %d rows", q.Name, q.Title, len(columns), len(rows))
		}
		got[q.Name] = rows
	}
	if r := got["failed_logins"]; len(r) != 2 || r[0][0] != pseudonym("acme|"+detect.NetIP.Class()+"|10.0.0.0") || r[0][2] != "24" || r[1][2] != "6" {
		t.Errorf("failed logins: %q", r)
	}
	if r := got["alert_timeline"]; len(r) != 30 || r[0][2] != "authentication" || r[0][4] != "failure" {
		t.Errorf("timeline: %d rows, first %q", len(r), r[0])
	}
	calls := 0
	for _, r := range got["tools"] {
		var n, denied int
		if _, err := fmt.Sscan(r[2], &n); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(r[3], &denied); err != nil || denied > n {
			t.Errorf("%q: %v", r, err)
		}
		calls += n
	}
	if calls != 30 {
		t.Errorf("%d calls, want 30", calls)
	}
	if _, err := DemoQueries("a b"); err == nil {
		t.Error("a database named a b was accepted")
	}
}

func TestQueryShowsEveryKindOfValue(t *testing.T) {
	db := connect(t)
	columns, rows, err := db.Query(t.Context(), `SELECT 1 AS n, 'x\0y' AS s, NULL AS none, toNullable(2.5) AS f, ['a', 'b'] AS list, map('k', 1) AS m,
		toDateTime64('2026-01-02 03:04:05.678', 3, 'UTC') AS t, toDateTime('2026-01-02 03:04:05', 'UTC') AS d, true AS b, toLowCardinality('lc') AS l, [toNullable(1), NULL] AS ns`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(columns, " "), "n s none f list m t d b l ns"; got != want {
		t.Errorf("columns %s", got)
	}
	want := []string{"1", "x\x00y", "", "2.5", "a, b", "map[k:1]", "2026-01-02 03:04:05.678", "2026-01-02 03:04:05", "true", "lc", "1, "}
	if strings.Join(rows[0], "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", rows[0], want)
	}
	if _, rows, err := db.Query(t.Context(), "SELECT 1 WHERE 0"); err != nil || len(rows) != 0 {
		t.Errorf("no rows: %v, %v", rows, err)
	}
	if _, _, err := db.Query(t.Context(), "SELECT throwIf(number = 70000) FROM numbers(100000)"); err == nil {
		t.Error("an error after the first block was lost")
	}
}
