package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/alerting"
	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
)

// stored waits until ClickHouse has every record of the log exactly once, as an event or
// as a dead letter.
func (w *world) stored(within time.Duration) {
	w.t.Helper()
	want := w.scan("mcp.events")
	events, dead := w.split(want)
	var got [4]int
	eventually(w.t, within, fmt.Sprintf("all of %d events and %d dead letters are stored", len(events), dead), func() bool {
		got = w.rows()
		return got[0] >= len(events) && got[2] >= dead
	})
	if got[0] != got[1] || got[2] != got[3] {
		w.t.Errorf("rows are there twice: %v (events, distinct, dead, distinct)", got)
	}
	if after := w.scan("mcp.events"); len(after) != len(want) {
		return // traffic goes on: that nothing is missing or twice is all that can be said
	}
	if exact := [4]int{len(events), len(events), dead, dead}; got != exact {
		w.t.Errorf("stored %v, want %v (events, distinct, dead, distinct)", got, exact)
	}
}

// rows counts events, their distinct offsets, dead letters and theirs, each table at one moment.
func (w *world) rows() (n [4]int) {
	for i, table := range []string{"events", "dead_letters"} {
		_, _ = fmt.Sscan(w.query("SELECT count(), uniqExact(kafka_partition, kafka_offset) FROM picket."+table), &n[2*i], &n[2*i+1])
	}
	return n
}

// exact checks, after the traffic has ended, everything that must hold.
func (w *world) exact(tr *traffic) {
	w.t.Helper()
	w.stored(60 * time.Second)
	log := w.scan("mcp.events")
	in := map[string]bool{}
	for _, r := range log {
		in[string(r.Key)] = true
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for key := range tr.acked {
		if !in[key] {
			w.t.Fatalf("record %s was acknowledged and is not in the log", key)
		}
	}
	w.t.Logf("%d records in the log, %d acknowledged", len(log), len(tr.acked))
	events, _ := w.split(log)
	if n := w.count("SELECT sum(events) FROM picket.ingest_ledger"); n != len(events) {
		w.t.Errorf("the ledger counts %d events, want %d", n, len(events))
	}
	if n := w.count("SELECT sum(events) FROM picket.events_1m"); n != len(events) {
		w.t.Errorf("events_1m counts %d events, want %d", n, len(events))
	}
}

// split decodes the log as the roles do.
func (w *world) split(log []kafka.Record) (events []detect.Event, dead int) {
	dec := ingest.NewDecoder(ingest.Options{Lateness: w.lateness})
	for _, r := range log {
		var ev detect.Event
		in := ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Append: r.Append, Key: r.Key, Value: r.Value}
		if err := dec.Decode(&ev, in); err != nil {
			dead++
			continue
		}
		events = append(events, ev)
	}
	return events, dead
}

// reference is what one engine says of the log when nothing ever fails: the last word on each alert.
func (w *world) reference() map[string]detect.Alert {
	w.t.Helper()
	rs, err := detect.Load(os.DirFS(filepath.Join(w.dir, "rules")))
	if err != nil {
		w.t.Fatal(err)
	}
	keys := w.keys.Hasher()
	e := detect.NewEngine(rs, keys, w.lateness, detect.WindowOptions{MaxEvidence: 1 << 20})
	dec := ingest.NewDecoder(ingest.Options{Lateness: w.lateness})
	var said []detect.Alert
	for _, r := range w.scan("mcp.events") {
		var ev detect.Event
		in := ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Append: r.Append, Key: r.Key, Value: r.Value}
		if dec.Decode(&ev, in) != nil {
			continue
		}
		said = e.Observe(said, &ev, func(string) bool { return false })
	}
	said = e.Settle(said, time.Now().Add(time.Hour))
	out := map[string]detect.Alert{}
	for _, a := range said {
		out[a.ID] = a
	}
	return out
}

// alerts is the topic of alerts: how each settled, and the incidents in order.
func (w *world) alerts() (settled map[string]detect.Alert, incidents []string) {
	w.t.Helper()
	settled = map[string]detect.Alert{}
	seen := map[string]bool{}
	for _, r := range w.scan("picket.alerts") {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			w.t.Fatal(err)
		}
		if key := alerting.IncidentKey(a); !seen[key] {
			seen[key], incidents = true, append(incidents, key)
		}
		if b, ok := settled[a.ID]; ok && a.Settled && a.Count != b.Count {
			w.t.Errorf("alert %s settled with %d and with %d", a.ID, b.Count, a.Count)
		}
		if a.Settled {
			settled[a.ID] = a
		}
	}
	return settled, incidents
}

// judged waits until every alert has settled with the figures of an undisturbed run, here
// and in ClickHouse, and Slack shows each incident once, in their order.
func (w *world) judged(within time.Duration) {
	w.t.Helper()
	want := w.reference()
	if len(want) == 0 {
		w.t.Fatal("the reference has no alert: the test shows nothing")
	}
	var got map[string]detect.Alert
	var incidents []string
	eventually(w.t, within, fmt.Sprintf("%d alerts have settled", len(want)), func() bool {
		got, incidents = w.alerts()
		return len(got) >= len(want)
	})
	w.sameAlerts(got, want)
	eventually(w.t, within, "ClickHouse has them", func() bool {
		return w.count("SELECT count() FROM picket.v_alerts WHERE settled") == len(want)
	})
	eventually(w.t, within, "deliveries are written", func() bool { return w.told() == len(want) })
	eventually(w.t, within, "and archived", func() bool {
		return w.count("SELECT uniqExact(alert_id) FROM picket.deliveries WHERE destination='slack'") == len(want)
	})
	roots := w.slack.Roots()
	if len(roots) != len(incidents) {
		w.t.Errorf("Slack has %d messages for %d incidents", len(roots), len(incidents))
	}
	for i, m := range roots {
		if i < len(incidents) && !strings.Contains(string(m.Metadata), incidents[i]) {
			w.t.Errorf("message %d is not of incident %s: %s", i, incidents[i], m.Metadata)
		}
	}
}

// told is how many alerts have a record of having been told with their last figure.
func (w *world) told() int {
	ids := map[string]bool{}
	for _, r := range w.scan("picket.deliveries") {
		var d alerting.Delivery
		if json.Unmarshal(r.Value, &d) == nil && d.Settled && d.Outcome != alerting.Failed {
			ids[d.AlertID] = true
		}
	}
	return len(ids)
}

func short(t *testing.T) {
	if testing.Short() {
		t.Skip("whole processes take their time; run without -short")
	}
}
