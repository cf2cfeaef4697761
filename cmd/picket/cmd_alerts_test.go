package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"picket/detect"
	"picket/store"
)

// alerted is an engine with alerts in it, and no Kafka.
type alerted struct {
	t    *testing.T
	conf string
	db   *store.DB
}

// The ids of its alerts; two begin alike.
const (
	idHigh     = "aaaahigh22222222222222222a"
	idHostile  = "aaaahostile22222222222222b"
	idCritical = "ccccritical2222222222222ca"
	idShadow   = "sssshadow22222222222222222"
	idOld      = "oooold22222222222222222222"
)

const hostileText = "\x1b[31mred\u202e\u009b2J\x7f\x07 <!channel>\nforged: line"

func newAlerted(t *testing.T) *alerted {
	t.Helper()
	a := newAudited(t)
	now := time.Now().UTC()
	alert := func(id, severity, tenant, text string, age time.Duration) detect.Alert {
		at := now.Add(-age)
		return detect.Alert{
			ID: id, Tenant: tenant, Mode: "alert", Severity: severity, Rule: detect.RuleInfo{ID: "AU-01", Title: "Failed logins", Runbook: "1. Ask.\n2. " + text},
			Group: []detect.GroupValue{{Field: "net.ip", Value: text}}, BucketStart: at, BucketEnd: at, First: at, Last: at, FiredAt: at, Count: 7, Settled: true,
			Why: "because of " + text, Title: "7 failed logins " + text,
			Evidence: []detect.Evidence{{
				EventID: "e1", Time: at, Partition: 3, Offset: 41, Server: text, Type: "authentication", Outcome: "failure", Tool: text,
				Context: []detect.GroupValue{{Field: "actor.client_id", Value: text}},
			}},
		}
	}
	all := []detect.Alert{
		alert(idHigh, "high", "acme", "calm", time.Hour), alert(idHostile, "low", "other", hostileText, 2*time.Hour),
		alert(idCritical, "critical", "acme", "calm", 3*time.Hour), alert(idShadow, "high", "acme", "calm", time.Minute), alert(idOld, "high", "acme", "calm", 30*24*time.Hour),
	}
	all[2].Rule.ID, all[3].Mode = "IN-01", "shadow"
	w := store.NewAlertWriter(a.db)
	if err := w.Write(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteDeliveries(t.Context(), store.Delivery{Tenant: "acme", AlertID: idHigh, Destination: "slack", Outcome: "sent", At: now}); err != nil {
		t.Fatal(err)
	}
	return &alerted{t, setting(t, "clickhouse: {url: '"+a.clickhouse+"'}"), a.db}
}

func (a *alerted) run(args ...string) ended {
	a.t.Helper()
	return picket(a.t, append(append([]string{"alerts"}, args...), "-c", a.conf)...)
}

// listed is the ids that list prints.
func (a *alerted) listed(args string) string {
	a.t.Helper()
	e := a.run(append([]string{"list"}, strings.Fields(args)...)...)
	if e.code != exitOK {
		a.t.Errorf("list %s: code %d, %s", args, e.code, e.stderr)
	}
	return strings.Join(regexp.MustCompile(`\b[a-z2-7]{26}\b`).FindAllString(e.stdout, -1), " ")
}

func TestAlertsListAndShow(t *testing.T) {
	a := newAlerted(t)
	for args, want := range map[string]string{
		"":                              idHigh + " " + idHostile + " " + idCritical,
		"--severity critical,low":       idHostile + " " + idCritical,
		"--rule in-01":                  idCritical,
		"--tenant other":                idHostile,
		"--since 90m":                   idHigh,
		"--until 90m --tenant acme":     idCritical,
		"--mode shadow":                 idShadow,
		"--since 60d --until 10d":       idOld,
		"--limit 2":                     idHigh + " " + idHostile,
		"--open":                        idHigh + " " + idHostile + " " + idCritical,
		"--state acked,suppressed":      "",
		"--rule picket-gap --since 60d": "",
	} {
		if got := a.listed(args); got != want {
			t.Errorf("list %s: %s, want %s", args, got, want)
		}
	}
	e := a.run("list")
	if !strings.HasSuffix(e.stdout, "\n3 alerts: 1 critical, 1 high, 1 low; 3 open\n") || e.stderr != "" {
		t.Errorf("%s%s", e.stdout, e.stderr)
	}
	if e := a.run("list", "--limit", "2"); !strings.Contains(e.stderr, "there are more: these are the newest 2") {
		t.Errorf("a list that was cut: %s", e.stderr)
	}
	var one store.AlertState
	e = a.run("list", "--json", "--rule", "IN-01")
	if err := json.Unmarshal([]byte(e.stdout), &one); err != nil || one.ID != idCritical || one.State != "open" || len(one.Evidence) != 1 {
		t.Errorf("%v: %s%s", err, e.stdout, e.stderr)
	}
	e = a.run("show", "AAAAHI") // the beginning is enough, in any case
	for _, want := range []string{
		idHigh + "  AU-01  Failed logins\n7 failed logins calm\n", "state      open\n", "for        net.ip calm\n", "Evidence, 1 event of 7\n", "3:41", "actor.client_id=calm",
		"FROM picket.events", "((3,41))", "What was told\n  20", "slack sent\n", "What to do\n  1. Ask.\n  2. calm\n",
	} {
		if !strings.Contains(e.stdout, want) {
			t.Errorf("no %q in\n%s%s", want, e.stdout, e.stderr)
		}
	}
	a.run("show", "aaaah").want(t, exitFailure, "several alerts begin with aaaah, such as "+idHigh+" and "+idHostile)
	a.run("show", "zzzzzz").want(t, exitFailure, "there is no alert zzzzzz: 'picket alerts list' shows")
	a.run("show", idHigh, "--tenant", "other").want(t, exitFailure, `tenant "other" has no alert`)
	if e := picket(t, "-c", a.conf, "__complete", "alerts", "show", "aaaah"); !strings.HasPrefix(e.stdout, idHigh+"\tAU-01 high open Failed logins\n"+idHostile+"\t") {
		t.Errorf("completion: %s%s", e.stdout, e.stderr)
	}
	if e := picket(t, "-c", a.conf, "__complete", "alerts", "list", "--severity", ""); !strings.HasPrefix(e.stdout, "critical\nhigh\nmedium\nlow\n") {
		t.Errorf("completion: %s%s", e.stdout, e.stderr)
	}
}

// What an attacker put into an event, or somebody into a note, does not act on a terminal, and forges no line.
func TestAlertsEscapeWhatIsStored(t *testing.T) {
	a := newAlerted(t)
	if e := a.run("ack", idHostile, "--note", "note "+hostileText, "--by", "ada"+hostileText); e.code != exitOK {
		t.Fatal(e.stderr)
	}
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"show", idHostile}, {"show", idHostile, "--json"}, {"ack", idHostile}} {
		e := a.run(args...)
		if e.code != exitOK || !strings.Contains(e.stdout, "red") || strings.ContainsAny(e.stdout, "\x1b\x07\x7f\u009b\u202e") {
			t.Errorf("%s: code %d, %q", args, e.code, e.stdout)
		}
		if args[len(args)-1] != "--json" && strings.Contains(e.stdout, "\nforged") {
			t.Errorf("%s: %q", args, e.stdout)
		}
	}
	e := picket(t, "-c", a.conf, "__complete", "alerts", "show", "aaaaho")
	if strings.ContainsAny(e.stdout, "\x1b\x07\u202e") {
		t.Errorf("completion: %q", e.stdout)
	}
}

func TestAlertsAreActedOn(t *testing.T) {
	a := newAlerted(t)
	t.Setenv("USER", "grace")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	e := a.run("ack", idHigh)
	if e.code != exitOK || e.stdout != idHigh+" is acked by grace@"+host+", was open\n    AU-01  7 failed logins calm\n" {
		t.Errorf("code %d: %s%s", e.code, e.stdout, e.stderr)
	}
	if got := a.listed("--state open"); got != idHostile+" "+idCritical {
		t.Errorf("open: %s", got)
	}
	if got := a.listed("--open"); got != idHigh+" "+idHostile+" "+idCritical {
		t.Errorf("left to do: %s", got)
	}
	e = a.run("close", idHigh[:6], idCritical, idHigh, "--by", "soc-bot", "--note", "  ticket 4711 ")
	if e.code != exitOK || !strings.Contains(e.stdout, "is resolved by soc-bot, was acked by grace@") || strings.Count(e.stdout, "is resolved") != 2 {
		t.Errorf("code %d: %s%s", e.code, e.stdout, e.stderr)
	}
	if e := a.run("false-positive", idHostile, "--note", "the scanner of the auditors"); e.code != exitOK {
		t.Error(e.stderr)
	}
	if got := a.listed("--open"); got != "" {
		t.Errorf("left to do: %s", got)
	}
	if e := a.run("reopen", idCritical, "-m", "it happened again"); e.code != exitOK {
		t.Error(e.stderr)
	}
	var h alertHistory
	e = a.run("show", idHigh, "--json")
	if err := json.Unmarshal([]byte(e.stdout), &h); err != nil || fmt.Sprintf("%s by %s: %s, %d, %d", h.State, h.StateBy, h.Note, len(h.Actions), len(h.Deliveries)) != "resolved by soc-bot: ticket 4711, 2, 1" {
		t.Errorf("%v: %s", err, e.stdout)
	}
	e = a.run("show", idCritical)
	if !strings.Contains(e.stdout, "state      open by grace@") || !strings.Contains(e.stdout, "  resolved by soc-bot: ticket 4711\n") {
		t.Errorf("%s%s", e.stdout, e.stderr)
	}
	_, noise, err := a.db.Query(t.Context(), "SELECT sum(open), sum(resolved), sum(suppressed) FROM picket.v_rule_noise WHERE last_fired > now() - INTERVAL 5 DAY")
	if err != nil || fmt.Sprint(noise) != "[[2 1 1]]" { // the shadow one is open too
		t.Errorf("noise: %v, %v", noise, err)
	}

	// One that is as it should be stays so, and is told; the others are acted on.
	e = a.run("reopen", idShadow, "--note", "again")
	if e.code != exitOK || e.stdout != idShadow+" is already open\n    AU-01  7 failed logins calm\n" || e.stderr != "nothing was written for 1 alert, nor was the note\n" {
		t.Errorf("code %d: %s%s", e.code, e.stdout, e.stderr)
	}
	e = a.run("close", idHigh, idOld, "--by", "ada", "--note", "the same")
	if e.code != exitOK || !strings.HasPrefix(e.stdout, idHigh+" is already resolved by soc-bot, 20") || !strings.Contains(e.stdout, ": ticket 4711\n") || !strings.Contains(e.stdout, idOld+" is resolved by ada, was open\n") {
		t.Errorf("code %d: %s%s", e.code, e.stdout, e.stderr)
	}
	for id, want := range map[string]int{idShadow: 0, idHigh: len(h.Actions), idOld: 1} {
		if done, err := a.db.Actions(t.Context(), "acme", id); err != nil || len(done) != want {
			t.Errorf("%s: %v: %+v, want %d", id, err, done, want)
		}
	}
	if e := a.run("ack", idOld); e.code != exitOK || !strings.Contains(e.stdout, " is acked by grace@") || e.stderr != "" {
		t.Errorf("code %d: %s%s", e.code, e.stdout, e.stderr)
	}

	// One unknown id, and nothing is written.
	before := len(h.Actions)
	a.run("ack", idHigh, "zzzzzz").want(t, exitFailure, "there is no alert zzzzzz")
	done, err := a.db.Actions(t.Context(), "acme", idHigh)
	if err != nil || len(done) != before {
		t.Errorf("%v: %+v", err, done)
	}
}
