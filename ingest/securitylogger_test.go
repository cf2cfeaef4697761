package ingest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

func logLines(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/security_logger.log")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestFixtureIsWhatPythonWrites(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3 is missing, and CI must not skip")
		}
		t.Skip("python3 is not installed: the fixture cannot be made again")
	}
	got, err := exec.Command(python, "testdata/security_logger.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/security_logger.log")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("security_logger.py writes something else now:\n%s", got)
	}
}

func TestSecurityLoggerLines(t *testing.T) {
	lines := logLines(t)
	want := []map[detect.Field]string{
		{
			detect.Type: "authentication", detect.Outcome: "success", detect.Severity: "info", detect.ServerName: "mcp_security",
			detect.NetIP: "ip=203.0.113.9", detect.NetIPPrefix: "203.0.113.0/24", detect.ClientUserAgent: "python-httpx/0.27.0",
			detect.SrcFormat: "security-logger", detect.Tenant: "default",
		},
		{detect.Type: "authentication", detect.Outcome: "failure", detect.Severity: "low", detect.Reason: "bad_signature", detect.ClientUserAgent: ""},
		{
			detect.Type: "authorization", detect.Outcome: "denied", detect.PermResource: "/2/*.csv", detect.PermAction: "read",
			detect.ActorSubject: "subject=ann@example.com",
		},
		{detect.Type: "suspicious_activity", detect.Outcome: "unknown", detect.Reason: "sql_injection", detect.Severity: "critical"},
		{detect.Type: "rate_limit", detect.Outcome: "denied", detect.Reason: "rate_limited"},
		{detect.Type: "authorization", detect.Outcome: "denied", detect.ActorSubject: "subject=42", detect.Severity: "medium", detect.PermResource: "*"},
		{detect.Type: "authentication", detect.ActorSubject: "subject=Zoë", detect.NetIP: "ip=2001:db8::1"},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, %d expectations", len(lines), len(want))
	}
	for i, line := range lines {
		for _, form := range []string{line, line[strings.IndexByte(line, '{'):]} { // with the prefix, and bare
			ev := decode(t, Options{}, form)
			for f, w := range want[i] {
				if form != line && (f == detect.ServerName || f == detect.Severity) {
					continue // only the prefix knows
				}
				if got := ev.Public(f).Value; got != w {
					t.Errorf("line %d: %s is %q, want %q", i+1, f, got, w)
				}
			}
			if at := fmt.Sprintf("2026-11-22 14:30:%02d", 12+i); ev.Time.Format("2006-01-02 15:04:05") != at {
				t.Errorf("line %d: time %s", i+1, ev.Time)
			}
		}
	}
	ev := decode(t, Options{}, lines[0])
	if p := ev.Public(detect.ActorClientID); !p.Up || len(p.Value) != len("client=")+12 {
		t.Errorf("client: %+v", p)
	}
	ev = decode(t, Options{}, lines[4])
	for f, w := range map[detect.Field]float64{detect.LimitLimit: 60, detect.LimitWindowS: 60, detect.LimitObserved: 75} {
		if got, ok := ev.Num(f); !ok || got != w {
			t.Errorf("%s: %v", f, got)
		}
	}
	if got := rawArgs(t, lines[3]); fmt.Sprint(got) != "[crm.find 1' OR '1'='1]" {
		t.Errorf("details: %q", got)
	}
}

func TestLinesAreNamedByTheirPlace(t *testing.T) {
	id := func(offset int64, line string) string {
		rec := record(line)
		rec.Offset = offset
		ev := &detect.Event{}
		if err := NewDecoder(Options{}).Decode(ev, rec); err != nil {
			t.Fatal(err)
		}
		ev.Redact(plainHash{}, nil)
		return ev.Public(detect.ID).Value
	}
	line := logLines(t)[0]
	a, b := id(1, line), id(2, line)
	if a == b || a != id(1, line) || len(a) != 36 {
		t.Errorf("ids %s %s", a, b)
	}
	if got := id(1, `{"event_type":"authentication","success":true,"event_id":"e-9"}`); got != "e-9" {
		t.Errorf("own id: %s", got)
	}
}

func TestSecurityLoggerVariants(t *testing.T) {
	ev := decode(t, Options{}, `WARNING:mcp_security:{"event_type":"login_failure","user":"ann","username":"Ann","note":"x","risk":7,"level":"HIGH"}`)
	if ev.Public(detect.Outcome).Value != "failure" || ev.Public(detect.Severity).Value != "high" || ev.Public(detect.ServerName).Value != "mcp_security" {
		t.Error("the default format of logging is read wrongly")
	}
	if !ev.TimeFlagged || !ev.Time.Equal(day) {
		t.Errorf("without a time the append time counts: %s", ev.Time)
	}
	labels := fmt.Sprint(ev.PublicLabels())
	for _, want := range []string{"label:username=Ann", "label:note=x", "label:risk=7"} {
		if !strings.Contains(labels, want) {
			t.Errorf("labels %s lack %s", labels, want)
		}
	}
	ev = decode(t, Options{}, `{"event_type":"error","timestamp":1795357812.5,"message":"`+strings.Repeat("long ", 200)+`","metadata":{"a":{"b":1}}}`)
	if at := ev.Time.Format(time.RFC3339Nano); at != "2026-11-22T14:30:12.5Z" || ev.NumLabels() != 0 {
		t.Errorf("time %s, %d labels", at, ev.NumLabels())
	}
	if got := decode(t, Options{}, `{"event_type":"authorization","success":false}`).Public(detect.Outcome).Value; got != "denied" {
		t.Errorf("outcome %s", got)
	}
}
