package store

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

// What the roll-ups must say, from the events, and what they say.
const (
	minutesOfEvents = `SELECT tenant, toStartOfMinute(time) AS minute, server_name, type, mcp_tool, outcome, severity, count(),
		sum(ifNull(io_args_bytes, 0)), sum(ifNull(io_result_bytes, 0)), sum(length(findings.cat)), min(events.time), max(events.time), max(ifNull(io_duration_ms, 0)),
		uniqExactIf(actor_client_id, actor_client_id != ''), uniqExactIf(net_ip, net_ip != ''), uniqExactIf(mcp_session, mcp_session != '')
		FROM {db}.events GROUP BY ALL`
	minutesOfRollup = `SELECT tenant, minute, server_name, type, mcp_tool, outcome, severity, sum(events), sum(bytes_in), sum(bytes_out), sum(findings),
		min(first_seen), max(last_seen), max(max_ms), uniqCombined64Merge(clients), uniqCombined64Merge(sources), uniqCombined64Merge(sessions)
		FROM {db}.events_1m GROUP BY ALL`
	entitiesOfEvents = `SELECT tenant, CAST(e.1, 'Enum8(''client'' = 1, ''source'' = 2, ''session'' = 3)') AS kind, e.2 AS entity, toStartOfHour(time) AS hour, count(),
		countIf(outcome IN ('failure', 'denied', 'error')), countIf(outcome = 'denied'), sum(length(findings.cat)), sum(ifNull(io_args_bytes, 0)),
		sum(ifNull(io_result_bytes, 0)), max(ifNull(io_duration_ms, 0)), max(toInt8(severity)), min(events.time), max(events.time),
		length(groupUniqArray(16)(toString(server_name))), length(groupUniqArrayIf(16)(toString(mcp_tool), mcp_tool != '')),
		length(groupUniqArrayIf(16)(toString(actor_client_id), kind != 'client' AND actor_client_id != '')),
		length(groupUniqArrayIf(16)(toString(net_ip), kind != 'source' AND net_ip != ''))
		FROM {db}.events ARRAY JOIN [('client', toString(actor_client_id)), ('source', toString(net_ip)), ('session', toString(mcp_session))] AS e
		WHERE e.2 != '' GROUP BY tenant, kind, entity, hour`
	entitiesOfRollup = `SELECT tenant, kind, entity, hour, sum(events), sum(failures), sum(denied), sum(findings), sum(bytes_in), sum(bytes_out),
		max(max_ms), max(worst), min(first_seen), max(last_seen), length(groupUniqArrayArray(16)(servers)), length(groupUniqArrayArray(16)(tools)),
		length(groupUniqArrayArray(16)(clients)), length(groupUniqArrayArray(16)(sources))
		FROM {db}.entity_1h GROUP BY tenant, kind, entity, hour`
)

// checkRollups compares every row of the roll-ups with the events: counts, sums, minima,
// maxima, and how many took part.
func checkRollups(t *testing.T, db *DB) {
	t.Helper()
	for _, c := range []struct{ events, rollup string }{{minutesOfEvents, minutesOfRollup}, {entitiesOfEvents, entitiesOfRollup}} {
		for _, pair := range [][2]string{{c.events, c.rollup}, {c.rollup, c.events}} {
			wantNumber(t, db, 0, "SELECT count() FROM ("+pair[0]+" EXCEPT "+pair[1]+")")
		}
	}
}

// The comparison above has to notice what a roll-up counts twice or leaves out.
func TestRollupsAreCompared(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	id, b := batch(w, 0, 100)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	checkRollups(t, db)
	for _, c := range []struct{ table, events, rollup string }{
		{"events_1m", minutesOfEvents, minutesOfRollup}, {"entity_1h", entitiesOfEvents, entitiesOfRollup},
	} {
		if err := db.exec(t.Context(), "INSERT INTO "+db.table(c.table)+" SELECT * FROM "+db.table(c.table)+" LIMIT 1"); err != nil {
			t.Fatal(err)
		}
		if n := db.number(t, "SELECT count() FROM ("+c.rollup+" EXCEPT "+c.events+")"); n != 1 {
			t.Errorf("%s: %d rows differ after one was counted twice, want 1", c.table, n)
		}
	}
}

func TestRetentionGoesBySeverity(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	kept := map[string]int{"debug": 30, "info": 30, "": 90, "low": 90, "medium": 90, "high": 400, "critical": 400}
	b, o, want := w.NewBlock(), int64(0), map[string]int{}
	for severity, days := range kept {
		for _, age := range []int{1, 29, 32, 89, 92, 399, 402} { // all severities in the partition of each day
			ev := &detect.Event{}
			ev.Set(detect.Type, "tool_call")
			ev.Set(detect.Tenant, "acme")
			if severity != "" {
				ev.Set(detect.Severity, severity)
			}
			ev.Topic, ev.Partition, ev.Offset, ev.Append = "mcp.events", 3, o, time.Now().AddDate(0, 0, -age)
			ev.Claimed = ev.Append
			ev.Stamp(time.Minute)
			ev.Redact(hasher{}, nil)
			b.Append(ev)
			if o++; age < days {
				want[fmt.Sprintf("%s %d", severity, days)]++
			}
		}
	}
	if err := w.Insert(t.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: 0, End: o}, b); err != nil {
		t.Fatal(err)
	}
	if err := db.exec(t.Context(), "OPTIMIZE TABLE "+db.table("events")+" FINAL"); err != nil {
		t.Fatal(err)
	}
	_, rows, err := db.Query(t.Context(), strings.ReplaceAll("SELECT toString(severity), retention_days, count() FROM {db}.events GROUP BY ALL", "{db}", quoteName(db.Database())))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, r := range rows {
		n, _ := strconv.Atoi(r[2])
		got[r[0]+" "+r[1]] = n
	}
	if !maps.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}
