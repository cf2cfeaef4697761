package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

// did is one event of the story that the questions are asked about.
type did struct {
	ago                           time.Duration
	client, source, session, tool string
	typ, outcome                  string
	times                         int
	subject                       string
}

// story stores what happened, in the order given.
func story(t testing.TB, db *DB, ds []did) {
	t.Helper()
	storyFrom(t, db, 0, ds)
}

// storyFrom is one more insert, of records from an offset on.
func storyFrom(t testing.TB, db *DB, begin int64, ds []did) {
	t.Helper()
	w := NewWriter(db, WriterOptions{})
	b, o := w.NewBlock(), begin
	now := time.Now()
	for _, d := range ds {
		for i := range max(d.times, 1) {
			ev := &detect.Event{Topic: "mcp.events", Partition: 3, Offset: o}
			ev.Append = now.Add(-d.ago + time.Duration(i)*time.Millisecond)
			ev.Claimed = ev.Append
			for f, v := range map[detect.Field]string{
				detect.Tenant: "acme", detect.ServerName: "files", detect.Type: d.typ, detect.Outcome: d.outcome, detect.ActorClientID: d.client,
				detect.NetIP: d.source, detect.MCPSession: d.session, detect.MCPTool: d.tool, detect.ActorSubject: d.subject,
			} {
				if v != "" {
					ev.Set(f, v)
				}
			}
			ev.Stamp(time.Minute)
			ev.Redact(plainHasher{}, nil)
			b.Append(ev)
			o++
		}
	}
	if err := w.Insert(t.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: begin, End: o}, b); err != nil {
		t.Fatal(err)
	}
}

// plainHasher leaves values readable, for answers that can be read.
type plainHasher struct{}

func (plainHasher) Pseudonym(_, _, value string, _ time.Time) (hash, keyID string) {
	return value, "k1"
}

const hour, days = time.Hour, 24 * time.Hour

// The story: mallory guesses logins from one address, enters alice's session and reads with a
// tool that nobody used before; bob goes on as always. Then somebody tries three users, and no client.
var storyEvents = []did{
	{ago: 3 * days, client: "bob", source: "10.0.0.2", session: "s-bob-old", tool: "list", typ: "tool_call", outcome: "success", times: 20},
	{ago: 2 * days, client: "alice", source: "10.0.0.1", session: "s-alice-old", tool: "list", typ: "tool_call", outcome: "success", times: 5},
	{ago: 50 * time.Minute, client: "alice", source: "10.0.0.1", session: "s-alice", tool: "list", typ: "tool_call", outcome: "success", times: 3},
	{ago: 45 * time.Minute, client: "mallory", source: "10.6.6.6", typ: "authentication", outcome: "failure", times: 7},
	{ago: 44 * time.Minute, client: "mallory", source: "10.6.6.6", typ: "authentication", outcome: "success"},
	{ago: 40 * time.Minute, client: "mallory", source: "10.6.6.6", session: "s-alice", tool: "read", typ: "tool_call", outcome: "success", times: 60},
	{ago: 39 * time.Minute, client: "mallory", source: "10.6.6.6", session: "s-alice", tool: "read", typ: "tool_call", outcome: "denied", times: 2},
	{ago: 30 * time.Minute, client: "bob", source: "10.0.0.2", session: "s-bob", tool: "list", typ: "tool_call", outcome: "success", times: 4},
	{ago: 20 * time.Minute, source: "10.9.9.9", subject: "ann", typ: "authentication", outcome: "failure"},
	{ago: 20 * time.Minute, source: "10.9.9.9", subject: "ben", typ: "authentication", outcome: "failure"},
	{ago: 20 * time.Minute, source: "10.9.9.9", subject: "cem", typ: "authentication", outcome: "failure"},
}

// storyAlerts are one about mallory, that somebody acted on, and three that nobody did.
func storyAlerts(t testing.TB, db *DB) {
	t.Helper()
	w := NewAlertWriter(db)
	now := time.Now()
	for i, rule := range []string{"AU-01", "NO-01", "NO-01", "NO-01"} {
		a := alert(5, true)
		a.ID, a.Tenant, a.Severity = fmt.Sprintf("alert-%d", i), "acme", "low"
		a.Rule.ID, a.Rule.Title = rule, "title of "+rule
		a.BucketStart, a.BucketEnd, a.FiredAt = now.Add(-40*time.Minute), now.Add(-35*time.Minute), now.Add(-time.Duration(40-i)*time.Minute)
		a.Evidence = a.Evidence[:1]
		a.Evidence[0].Partition, a.Evidence[0].Offset, a.Evidence[0].Time = 3, 28+int64(i), now.Add(-45*time.Minute)
		if i == 0 {
			a.Severity = "high"
		}
		if err := w.Write(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.exec(t.Context(), "INSERT INTO "+db.table("alert_actions")+" (tenant, alert_id, state, actor) VALUES ('acme', 'alert-0', 'acked', 'oncall')"); err != nil {
		t.Fatal(err)
	}
}

// answer runs a saved query and joins chosen columns of each row.
func answer(t *testing.T, db *DB, name string, columns ...string) string {
	t.Helper()
	qs, err := SavedQueries(db.Database())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qs {
		if q.Name != name {
			continue
		}
		have, rows, err := db.Query(t.Context(), q.SQL)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var out []string
		for _, r := range rows {
			var vs []string
			for _, c := range columns {
				for i := range have {
					if have[i] == c {
						vs = append(vs, r[i])
					}
				}
			}
			out = append(out, strings.Join(vs, " "))
		}
		return strings.Join(out, "|")
	}
	t.Fatalf("there is no query %s", name)
	return ""
}

func TestSavedQueriesAnswer(t *testing.T) {
	db := migrated(t)
	story(t, db, storyEvents)
	storyAlerts(t, db)
	for _, c := range []struct{ name, columns, want string }{
		{"failed_logins", "source failed succeeded clients subjects", "10.6.6.6 7 1 1 0|10.9.9.9 3 0 0 3"},
		{"alert_timeline", "type outcome tool", strings.Repeat("authentication failure |", 7) + "authentication success |" +
			strings.Repeat("tool_call success read|", 60) + "tool_call denied read|tool_call denied read"},
		{"tools", "tool calls denied denied_percent clients", "read 62 2 3.2 1|list 7 0 0 2"},
		{"shared_sessions", "session events denied", "s-alice 65 2"},
		{"tool_spikes", "tool calls busiest_before times clients", "read 62 0 6.2 1"},
		{"alert_evidence", "rule alert state client source", "NO-01 alert-3 open mallory 10.6.6.6|NO-01 alert-2 open mallory 10.6.6.6|" +
			"NO-01 alert-1 open mallory 10.6.6.6|AU-01 alert-0 acked mallory 10.6.6.6"},
		{"rule_noise", "rule title worst alerts acted_on ignored_percent", "NO-01 title of NO-01 low 3 0 100|AU-01 title of AU-01 high 1 1 0"},
		{"new_clients", "client events failures denied tools", "mallory 70 9 2 read"},
	} {
		if got := answer(t, db, c.name, strings.Fields(c.columns)...); got != c.want {
			t.Errorf("%s: %q\nwant %q", c.name, got, c.want)
		}
	}
	qs, err := SavedQueries("picket")
	if err != nil || len(qs) != 8 {
		t.Fatalf("%d queries, %v", len(qs), err)
	}
	for _, q := range qs {
		if q.Title == "" || q.About == "" || strings.Contains(q.Title+q.About, "--") || strings.Contains(q.SQL, " picket.") {
			t.Errorf("%s: title %q, about %q", q.Name, q.Title, q.About)
		}
	}
}

func TestViewsAnswer(t *testing.T) {
	db := migrated(t)
	story(t, db, storyEvents)
	storyAlerts(t, db)
	for sql, want := range map[string]uint64{
		"SELECT count() FROM {db}.v_sessions":                                                             4,
		"SELECT seconds FROM {db}.v_sessions WHERE session = 's-alice'":                                   660,
		"SELECT length(clients) FROM {db}.v_sessions WHERE session = 's-alice'":                           2,
		"SELECT calls FROM {db}.v_tool_usage WHERE tool = 'list' AND hour < now() - INTERVAL 60 HOUR":     20,
		"SELECT sum(calls) FROM {db}.v_tool_usage":                                                        94,
		"SELECT count() FROM {db}.v_alert_evidence WHERE rule_id = 'AU-01' AND kafka_offset = 28":         1,
		"SELECT toUInt64(sum(alerts)) FROM {db}.v_rule_noise WHERE rule_id = 'NO-01'":                     3,
		"SELECT toUInt64(sum(acked)) FROM {db}.v_rule_noise WHERE rule_id = 'AU-01'":                      1,
		"SELECT toUInt64(round(avg(ignored_share))) FROM {db}.v_rule_noise WHERE rule_id = 'NO-01'":       1,
		"SELECT count() FROM {db}.v_timeline WHERE client = 'mallory' AND type = 'tool_call'":             62,
		"SELECT toUInt64(seconds_to_action) BETWEEN 2300 AND 2500 FROM {db}.v_rule_noise WHERE acked > 0": 1,
	} {
		wantNumber(t, db, want, castNumber(sql))
	}
}

// castNumber makes a query's one column a UInt64.
func castNumber(sql string) string {
	return "SELECT toUInt64(assumeNotNull(x)) FROM (" + strings.Replace(sql, " FROM", " AS x FROM", 1) + ")"
}

func TestTimelineOfABusyClientHasTheAlert(t *testing.T) {
	db := migrated(t)
	story(t, db, []did{
		{ago: 60 * time.Minute, client: "alice", tool: "list", typ: "tool_call", outcome: "success", times: 28},
		{ago: 45 * time.Minute, client: "mallory", tool: "drop", typ: "tool_call", outcome: "denied"},
		{ago: 70 * time.Minute, client: "mallory", tool: "list", typ: "tool_call", outcome: "success", times: 150},
	})
	storyAlerts(t, db)
	got := answer(t, db, "alert_timeline", "tool")
	if rows := strings.Split(got, "|"); len(rows) != 100 || rows[99] != "drop" {
		t.Errorf("%d rows, %q: want the hundred events nearest to the alert's, and it among them", len(rows), got)
	}
}

// Rows of a roll-up are merged when the engine likes: what is asked must not show whether they are.
func TestAMergeChangesNoAnswer(t *testing.T) {
	db := migrated(t)
	for part := range 3 { // each insert has other names: of s-few and few six in all, of the others sixty
		var ds []did
		for i := range 20 {
			n := part*20 + i
			ds = append(ds,
				did{ago: time.Minute, client: fmt.Sprintf("c%02d", n), source: "10.0.0.1", session: "s-many", tool: "list", typ: "tool_call", outcome: "success"},
				did{ago: time.Minute, client: fmt.Sprintf("f%02d", part*2+i%2), source: "10.0.0.1", session: "s-few", tool: "list", typ: "tool_call", outcome: "success"},
				did{ago: time.Minute, client: "many", source: fmt.Sprintf("10.1.0.%d", n), tool: fmt.Sprintf("t%d", n), typ: "tool_call", outcome: "denied"},
				did{ago: time.Minute, client: "few", source: fmt.Sprintf("10.2.0.%d", part*2+i%2), tool: "list", typ: "tool_call", outcome: "denied"},
			)
		}
		storyFrom(t, db, int64(part*len(ds)), ds)
	}
	wantAnswersAboutSets(t, db, "before a merge")
	if err := db.exec(t.Context(), "OPTIMIZE TABLE "+db.table("entity_1h")+" FINAL"); err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, 1, "SELECT count() FROM system.parts WHERE active AND database = '"+db.Database()+"' AND table = 'entity_1h'")
	wantAnswersAboutSets(t, db, "after it")
}

func wantAnswersAboutSets(t *testing.T, db *DB, when string) {
	t.Helper()
	rows := strings.Split(answer(t, db, "shared_sessions", "session", "clients"), "|")
	if len(rows) != 2 || !strings.HasPrefix(rows[0], "s-many ") || strings.Count(rows[0], ",") != 15 {
		t.Errorf("%s: %q, want s-many with 16 of its 60 clients first", when, rows)
	} else if rows[1] != "s-few f00, f01, f02, f03, f04, f05" {
		t.Errorf("%s: %q", when, rows[1])
	}
	found := map[string]string{}
	for _, row := range strings.Split(answer(t, db, "new_clients", "client", "sources"), "|") {
		client, sources, _ := strings.Cut(row, " ")
		found[client] = sources
	}
	if n := strings.Count(found["many"], ","); n != 15 {
		t.Errorf("%s: %d sources of many, want 16", when, n+1)
	}
	if found["few"] != "10.2.0.0, 10.2.0.1, 10.2.0.2, 10.2.0.3, 10.2.0.4, 10.2.0.5" {
		t.Errorf("%s: sources of few are %q", when, found["few"])
	}
}
