package embedded_test

import (
	"encoding/xml"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/detect"
	"picket/store"
)

// The engine cannot make roles, but reads them from its users' file: so each role of deploy/clickhouse in turn is
// what its one user has, and does what it is for, and is refused the rest.
func TestDeployedRolesAreEnough(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	now := time.Now()
	for _, c := range []struct {
		role    string
		does    func(t *testing.T, db *store.DB)
		refused []string
	}{
		{"picket_migrator", func(t *testing.T, db *store.DB) {
			if _, err := store.Migrate(t.Context(), db, store.MigrateOptions{}); err != nil {
				t.Error(err)
			}
		}, []string{"DROP TABLE picket.events", "TRUNCATE TABLE picket.events", "DROP DATABASE picket", "CREATE DATABASE other", "SELECT * FROM url('http://127.0.0.1/', CSV)"}},
		{"picket_writer", func(t *testing.T, db *store.DB) {
			if _, err := store.Migrate(t.Context(), db, store.MigrateOptions{}); err != nil { // as picket run does
				t.Error(err)
			}
			if err := db.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			w := store.NewWriter(db, store.WriterOptions{})
			b := w.NewBlock()
			ev := &detect.Event{Topic: "mcp.events", Partition: 1, Append: now, Claimed: now}
			ev.Set(detect.Type, "tool_call")
			ev.Set(detect.Tenant, "acme")
			ev.Stamp(time.Minute)
			b.Append(ev)
			if err := w.Redo(t.Context(), store.BatchID{Topic: "mcp.events", Partition: 1, End: 1}, b); err != nil {
				t.Error(err)
			}
			a := store.NewAlertWriter(db)
			if err := a.Write(t.Context(), detect.Alert{ID: "a1", Tenant: "acme", Mode: "alert", Severity: "high", BucketStart: now, BucketEnd: now, First: now, Last: now, FiredAt: now}); err != nil {
				t.Error(err)
			}
			if err := a.WriteDeliveries(t.Context(), store.Delivery{Tenant: "acme", AlertID: "a1", Destination: "slack", Outcome: "sent", At: now}); err != nil {
				t.Error(err)
			}
		}, []string{"ALTER TABLE picket.events ADD COLUMN x String", "CREATE TABLE picket.x (n UInt8) ENGINE = Memory", "ALTER TABLE picket.events DELETE WHERE 1", "DROP VIEW picket.v_alerts"}},
		{"picket_operator", func(t *testing.T, db *store.DB) {
			if _, err := db.Audit(t.Context(), "mcp.events", 1, 0, 1); err != nil {
				t.Error(err)
			}
			if _, err := db.DeadLetters(t.Context(), "mcp.events"); err != nil {
				t.Error(err)
			}
			alertsAndQueries(t, db, "open")
		}, []string{"INSERT INTO picket.alert_actions (tenant, alert_id, state) VALUES ('acme', 'a1', 'acked')"}},
		{"picket_analyst", func(t *testing.T, db *store.DB) { alertsAndQueries(t, db, "open") }, []string{
			"INSERT INTO picket.alert_actions (tenant, alert_id, state) VALUES ('acme', 'a1', 'acked')", "SELECT count() FROM picket.dead_letters", "SELECT count() FROM picket.ingest_ledger",
		}},
		{"picket_responder", func(t *testing.T, db *store.DB) {
			if err := store.NewAlertWriter(db).Act(t.Context(), store.Action{Tenant: "acme", AlertID: "a1", State: "acked", Actor: "ann"}); err != nil {
				t.Error(err)
			}
			alertsAndQueries(t, db, "acked")
		}, []string{
			"INSERT INTO picket.alert_actions (tenant, alert_id, state, at) VALUES ('acme', 'a1', 'acked', '2099-01-01 00:00:00')",
			"INSERT INTO picket.alerts (tenant, alert_id) VALUES ('acme', 'a2')", "SELECT count() FROM picket.dead_letters",
		}},
	} {
		t.Run(c.role, func(t *testing.T) {
			p := startChild(t, data, envUsers+"="+usersWith(t, c.role))
			db, err := store.Open(t.Context(), store.Config{URL: p.url, Database: "picket"})
			if err != nil {
				t.Fatalf("%v: %v", err, p.lines)
			}
			c.does(t, db)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			for _, sql := range c.refused {
				if status, body := post(t, p.url, sql); status == http.StatusOK || !strings.Contains(body, "(ACCESS_DENIED)") {
					t.Errorf("%s\n%d %s", sql, status, body)
				}
			}
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			for p.out.Scan() { // until it has ended
			}
			if err := p.cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// alertsAndQueries reads what an analyst reads.
func alertsAndQueries(t *testing.T, db *store.DB, state string) {
	t.Helper()
	alerts, err := db.Alerts(t.Context(), store.AlertFilter{})
	if err != nil || len(alerts) != 1 || alerts[0].State != state || len(alerts[0].Told) != 1 {
		t.Errorf("alerts: %+v, %v", alerts, err)
	}
	if _, err := db.Actions(t.Context(), "acme", "a1"); err != nil {
		t.Error(err)
	}
	qs, err := store.SavedQueries("picket")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qs {
		if _, _, err := db.Query(t.Context(), q.SQL); err != nil {
			t.Errorf("%s: %v", q.Name, err)
		}
	}
	for _, view := range []string{"v_timeline", "v_alerts", "v_sessions", "v_tool_usage", "v_alert_evidence", "v_rule_noise"} {
		if _, _, err := db.Query(t.Context(), "SELECT * FROM picket."+view); err != nil {
			t.Errorf("%s: %v", view, err)
		}
	}
}

// usersWith is a users' file with the roles of deploy/clickhouse, one of which the user has.
func usersWith(t *testing.T, role string) string {
	t.Helper()
	type grants struct {
		XMLName xml.Name
		Query   []string `xml:"grants>query"`
	}
	files, err := filepath.Glob("../../deploy/clickhouse/*.sql")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	made := map[string]*grants{}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(GRANT [^;]+) TO (\w+);$`).FindAllStringSubmatch(string(src), -1) {
			if made[m[2]] == nil {
				made[m[2]] = &grants{XMLName: xml.Name{Local: m[2]}}
			}
			made[m[2]].Query = append(made[m[2]].Query, m[1])
		}
	}
	var roles []*grants
	for _, g := range made {
		roles = append(roles, g)
	}
	text, err := xml.Marshal(roles)
	if err != nil {
		t.Fatal(err)
	}
	return `<clickhouse><profiles><default/></profiles><quotas><default/></quotas><roles>` + string(text) + `</roles><users><default>
<password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
<grants><query>GRANT ` + role + `</query></grants></default></users></clickhouse>`
}
