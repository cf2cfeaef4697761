package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"picket/detect"
)

// Rows are sent in the order of the table: the server finds them sorted, and stores the same.
func TestRowsAreSentInOrder(t *testing.T) {
	db := migrated(t)
	counted := func(name string) uint64 {
		return db.number(t, "SELECT sum(value) FROM system.events WHERE event = '"+name+"'")
	}
	insert := func(r *eventRows, token string) (sorted bool) {
		t.Helper()
		all, before := counted("MergeTreeDataWriterBlocks"), counted("MergeTreeDataWriterBlocksAlreadySorted")
		if err := db.insert(t.Context(), &r.rows, token); err != nil {
			t.Fatal(err)
		}
		if n := counted("MergeTreeDataWriterBlocks") - all; n != 1 {
			t.Fatalf("%d blocks", n)
		}
		return counted("MergeTreeDataWriterBlocksAlreadySorted") > before
	}
	const content = "SELECT groupBitXor(cityHash64(formatRow('TSV', * EXCEPT kafka_topic))) FROM {db}.events WHERE kafka_topic = "
	for name, change := range map[string]func(i int64, ev *detect.Event){
		"as events come":  func(int64, *detect.Event) {},
		"tenants":         func(i int64, ev *detect.Event) { ev.Set(detect.Tenant, fmt.Sprint("t", i%3)) },
		"late ones":       func(i int64, ev *detect.Event) { ev.Claimed = ev.Append.Add(-time.Duration(i*7%20) * time.Minute) },
		"no name or type": func(i int64, ev *detect.Event) { ev.Set(detect.ServerName, []string{"", "b", "a"}[i%3]) },
		"findings, labels": func(i int64, ev *detect.Event) {
			for range i % 3 {
				ev.AddFinding(detect.Finding{Cat: fmt.Sprint("c", i%5), Rule: "IN_02", At: fmt.Sprint("/", i), Score: 0.5})
			}
			ev.SetLabel("shard", fmt.Sprint(i))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, as := newEventRows(Retention{30, 90, 400}), newEventRows(Retention{30, 90, 400})
			g := newPlausible(1, day, 5)
			for i := range int64(3000) {
				var ev detect.Event
				g.fill(&ev, i, 0)
				change(i, &ev)
				ev.Stamp(time.Hour)
				ev.Redact(g, nil)
				ev.Topic = name
				r.append(&ev)
				ev.Topic = name + ", as it came"
				as.append(&ev)
			}
			r.sort()
			if len(r.order) != r.n || slices.IsSorted(r.order) {
				t.Fatalf("an order of %d for %d rows", len(r.order), r.n)
			}
			if !insert(r, name) {
				t.Error("the server had to sort")
			}
			if insert(as, name+" as it came") {
				t.Error("the server takes any order for its own")
			}
			if got, want := db.number(t, content+"'"+name+"'"), db.number(t, content+"'"+name+", as it came'"); got != want {
				t.Errorf("rows of hash %x, and as they came %x", got, want)
			}
		})
	}
}

// What nothing was put to is not sent, and is stored as its type's default.
func TestEmptyColumnsAreNotSent(t *testing.T) {
	r := newEventRows(Retention{30, 90, 400})
	ev := event(0)
	r.append(ev)
	var sent []string
	for _, c := range r.put() {
		sent = append(sent, c.name)
	}
	for name, want := range map[string]bool{"id": true, "net_ip": true, "kafka_partition": true, "retention_days": true, "claimed": false, "limit_name": false, "labels": false, "http_status": false} {
		if slices.Contains(sent, name) != want {
			t.Errorf("%s is sent: %t", name, !want)
		}
	}
	if len(sent) > len(r.cols)/2 {
		t.Errorf("%d of %d columns are sent", len(sent), len(r.cols))
	}
}
