package demo

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"picket/alerting"
	"picket/detect"
	"picket/ingest"
)

// Whoever reads the summary with a program gets a list, also when nothing fired.
func TestSummaryOfNothing(t *testing.T) {
	sum := Summary{}
	sum.Rules, sum.Messages, sum.FirstAlertMS = (&teller{}).seen()
	line, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"events_read":0,"events_stored":0,"dead_letters":0,"alerts":0,"rules":[],"messages":0,"first_alert_ms":0,"elapsed_ms":0}`
	if string(line) != want {
		t.Errorf("got  %s\nwant %s", line, want)
	}
}

func TestSummaryForAPerson(t *testing.T) {
	sum := &Summary{EventsStored: 55, DeadLetters: 1, ElapsedMS: 3449}
	if got, want := sum.String(), "done in 3.4s: 55 events stored, 1 unreadable, nothing fired"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	sum.Alerts, sum.Rules, sum.Messages, sum.FirstAlertMS = 11, []string{"AU-01", "IN-05"}, 12, 341
	if got, want := sum.String(), "done in 3.4s: 55 events stored, 1 unreadable, 11 alerts of 2 rules in 12 messages, the first 340ms after the first hostile record"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTellerCountsMessagesAndNamesRulesOnce(t *testing.T) {
	var out bytes.Buffer
	tell := &teller{show: newShow(&out, false)}
	tell.begin()
	for _, id := range []string{"IN-05", "AU-01", "IN-05"} {
		i := alerting.Incident{Key: id, Alert: detect.Alert{Severity: "high", Title: "one\x1b[2J", Why: "because"}}
		i.Alert.Rule.ID = id
		if _, err := tell.Send(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	rules, told, _ := tell.seen()
	if got := strings.Join(rules, " "); got != "AU-01 IN-05" || told != 3 {
		t.Errorf("rules %s, %d messages", got, told)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("a title reached the terminal as it is: %q", out.String())
	}
}

// The log's lines are what the SecurityLogger writes, but for the one that is cut off.
func TestSecurityLogIsReadable(t *testing.T) {
	now := time.Now()
	lines := securityLog(now)
	d := ingest.NewDecoder(ingest.Options{Lateness: time.Minute})
	var ev detect.Event
	for i, line := range lines {
		err := d.Decode(&ev, ingest.Record{Topic: "t", Offset: int64(i), Append: now, Value: line})
		switch last := i == len(lines)-1; {
		case last && err == nil:
			t.Errorf("the cut line was read: %s", line)
		case !last && err != nil:
			t.Errorf("%s: %v", line, err)
		}
	}
}
