package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

func alert(count uint64, settled bool) detect.Alert {
	at := day.Add(time.Minute)
	return detect.Alert{
		Schema: detect.AlertSchema, ID: pseudonym("alert"), Tenant: "acme", Mode: "alert", Severity: "high",
		Rule: detect.RuleInfo{
			ID: "AU-01", Name: "auth.bruteforce.source_ip", Hash: "h1", Title: "Failed logins", Description: "Many failures.",
			Tags: []string{"attack.T1110", "owasp.MCP07"}, Runbook: "https://example.com/r", References: []string{"https://example.com/x"}, Window: "5m",
		},
		Group:       []detect.GroupValue{{Field: "net.ip", Value: pseudonym("10.0.0.1"), Key: "k1"}, {Field: "server.name", Value: hostile[0]}},
		GroupID:     pseudonym("group"),
		BucketStart: day, BucketEnd: day.Add(5 * time.Minute), First: at, Last: at.Add(time.Second * time.Duration(count)), FiredAt: at,
		Count: count, Value: float64(count), Threshold: 5, Settled: settled, Why: "5 failed authentications", Title: "Failed logins from \x00'\"`\xff",
		Evidence: []detect.Evidence{
			{
				EventID: "e1", Time: at, Partition: 3, Offset: 41, Server: "files-1", Type: "authentication", Outcome: "failure", Tool: "t", Finding: "sqli",
				Context: []detect.GroupValue{{Field: "net.country", Value: "NO"}, {Field: "x", Value: hostile[3]}},
			},
			{EventID: "e2", Time: at, Partition: 4, Offset: 42},
		},
	}
}

func TestAlertReplaysMakeNoDifference(t *testing.T) {
	slow(t)
	db := migrated(t)
	w := NewAlertWriter(db)
	states := []detect.Alert{alert(5, false), alert(10, false), alert(12, false), alert(12, true)}
	other := alert(7, true)
	other.ID, other.Severity = pseudonym("other"), "low"
	states = append(states, other)
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 5 {
		rng.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
		for i := range states {
			if err := w.Write(t.Context(), states[:i+1]...); err != nil {
				t.Fatal(err)
			}
		}
		_, rows, err := db.Query(t.Context(), "SELECT alert_id, count, settled, severity, state, told FROM v_alerts ORDER BY count")
		if err != nil {
			t.Fatal(err)
		}
		want := [][]string{{other.ID, "7", "true", "low", "open", ""}, {pseudonym("alert"), "12", "true", "high", "open", ""}}
		if len(rows) != 2 || strings.Join(rows[0], "|") != strings.Join(want[0], "|") || strings.Join(rows[1], "|") != strings.Join(want[1], "|") {
			t.Fatalf("round %d: %q, want %q", round, rows, want)
		}
	}
	// An exact repetition is not even written.
	before := db.number(t, "SELECT count() FROM {db}.alerts")
	if err := w.Write(t.Context(), states...); err != nil {
		t.Fatal(err)
	}
	if after := db.number(t, "SELECT count() FROM {db}.alerts"); after > before {
		t.Errorf("%d rows became %d", before, after)
	}
}

func TestAlertColumnsComeBack(t *testing.T) {
	for name, columnar := range map[string]bool{"native body": false, "driver's columns": true} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t)
			db.columnar = columnar
			a := alert(5, false)
			b := detect.Alert{ID: "bare", BucketStart: day}
			if err := NewAlertWriter(db).Write(t.Context(), b, a); err != nil {
				t.Fatal(err)
			}
			var (
				title, why, severity            string
				tags, fields, values, keys, ids []string
				parts                           []uint16
				offsets                         []uint64
				first, last                     time.Time
				value                           float64
				settled                         bool
				context                         []map[string]string
			)
			err := db.row(t.Context(), []any{&title, &why, &severity, &tags, &fields, &values, &keys, &ids, &parts, &offsets, &first, &last, &value, &settled, &context},
				"SELECT title, why, severity, rule_tags, `group.field`, `group.value`, `group.key`, `evidence.event_id`, `evidence.partition`, `evidence.offset`, first, last, value, settled, `evidence.context` FROM "+
					db.table("v_alerts")+" WHERE rule_id = 'AU-01'")
			if err != nil {
				t.Fatal(err)
			}
			for what, ok := range map[string]bool{
				"texts": title == a.Title && why == a.Why && severity == "high", "tags": strings.Join(tags, ",") == "attack.T1110,owasp.MCP07",
				"group":    fields[0] == "net.ip" && values[1] == hostile[0] && keys[0] == "k1" && keys[1] == "",
				"evidence": len(ids) == 2 && ids[1] == "e2" && parts[0] == 3 && offsets[1] == 42,
				"times":    first.Equal(a.First) && last.Equal(a.Last), "value": value == 5 && !settled,
				"context": context[0]["x"] == hostile[3] && context[0]["net.country"] == "NO" && len(context[1]) == 0,
			} {
				if !ok {
					t.Errorf("%s did not come back", what)
				}
			}
			wantNumber(t, db, 1, "SELECT count() FROM {db}.v_alerts WHERE alert_id = 'bare' AND severity = '' AND length(evidence.offset) = 0")
		})
	}
}

func TestAlertStateAndDeliveries(t *testing.T) {
	db := migrated(t)
	w := NewAlertWriter(db)
	if err := w.Write(t.Context(), alert(5, false)); err != nil {
		t.Fatal(err)
	}
	id := pseudonym("alert")
	for _, s := range []string{"'acked', toDateTime64('2026-01-01 00:00:01', 3)", "'resolved', toDateTime64('2026-01-01 00:00:00', 3)"} {
		if err := db.exec(t.Context(), "INSERT INTO "+db.table("alert_actions")+" (tenant, alert_id, state, at, actor) VALUES ('acme', '"+id+"', "+s+", 'slack')"); err != nil {
			t.Fatal(err)
		}
	}
	d := []Delivery{
		{Tenant: "acme", AlertID: id, Destination: "slack", Outcome: "sent", At: day, Thread: "17.5"},
		{Tenant: "acme", AlertID: id, Destination: "pagerduty", Outcome: "refused", At: day, Error: hostile[0]},
	}
	for range 3 {
		if err := w.WriteDeliveries(t.Context(), d...); err != nil {
			t.Fatal(err)
		}
	}
	told, err := db.Deliveries(t.Context(), "acme", id)
	if err != nil || len(told) != 2 || told[0].Destination != "pagerduty" || told[0].Error != hostile[0] || told[1].Thread != "17.5" || !told[1].At.Equal(day) {
		t.Errorf("told: %+v, %v", told, err)
	}
	// The acknowledgement does not lose against a count that comes later.
	if err := w.Write(t.Context(), alert(50, true)); err != nil {
		t.Fatal(err)
	}
	_, rows, err := db.Query(t.Context(), "SELECT count, state, state_by, told FROM v_alerts")
	if err != nil || len(rows) != 1 || strings.Join(rows[0], "|") != "50|acked|slack|slack" {
		t.Errorf("%q, %v", rows, err)
	}
}

func TestVersionOnlyGrows(t *testing.T) {
	a, b, c := alert(5, false), alert(5, true), alert(6, false)
	if !(version(&a) < version(&b) && version(&b) < version(&c)) {
		t.Error("the order is not (count, settled)")
	}
	c.Count = 1<<64 - 1
	if version(&c) < version(&b) {
		t.Error("overflow")
	}
}

// Alerts and deliveries of several months in one call are of several partitions: each is stored
// whole, and a repetition adds what a crash left out.
func TestAlertsOfSeveralMonths(t *testing.T) {
	db := migrated(t)
	w := NewAlertWriter(db)
	var as []detect.Alert
	var ds []Delivery
	for i := range 6 {
		a := alert(uint64(i+1), true)
		a.ID = fmt.Sprint("a", i)
		a.BucketStart = day.AddDate(0, i%3, 0)
		as = append(as, a)
		ds = append(ds, Delivery{Tenant: "acme", AlertID: a.ID, Destination: "slack", Outcome: "sent", At: a.BucketStart})
	}
	for _, of := range monthly(as, func(a *detect.Alert) time.Time { return a.BucketStart })[:2] { // a crash came before the third
		if err := w.write(t.Context(), of); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := w.Write(t.Context(), as...); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteDeliveries(t.Context(), ds...); err != nil {
			t.Fatal(err)
		}
	}
	for _, table := range []string{"alerts", "deliveries"} {
		_, rows, err := db.Query(t.Context(), "SELECT toYYYYMM("+map[string]string{"alerts": "bucket_start", "deliveries": "at"}[table]+
			") AS m, count(), uniqExact(alert_id) FROM "+table+" GROUP BY m ORDER BY m")
		if err != nil || len(rows) != 3 {
			t.Fatalf("%s: %v, %v", table, rows, err)
		}
		for _, r := range rows {
			if r[1] != "2" || r[2] != "2" {
				t.Errorf("%s: %v", table, rows)
			}
		}
	}
}
