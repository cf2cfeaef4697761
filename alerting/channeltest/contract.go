package channeltest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picket/alerting"
	"picket/detect"
)

// Subject is a destination on a fake of its service.
type Subject struct {
	Destination alerting.Destination
	Wire        *Wire // nil for a destination that reaches nobody, and so cannot fail
	// Seen is how many separate things a person sees: messages, pages.
	Seen func() int
	// Secrets must not be in any error.
	Secrets []string
	// MayRepeat is set where the service offers nothing to prevent that a
	// lost answer is told twice.
	MayRepeat bool
	// PerSend is set where every update is a thing of its own.
	PerSend bool
}

// Run checks that a destination keeps the contract of alerting.Destination. It
// calls newSubject inside a testing/synctest bubble, once for each check: use
// Wire.Client, not Wire.URL.
func Run(t *testing.T, newSubject func(t *testing.T) Subject) {
	check := func(name string, f func(t *testing.T, s Subject)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, newSubject(t)) })
		})
	}
	check("has a name", func(t *testing.T, s Subject) {
		if n := s.Destination.Name(); n == "" || n != s.Destination.Name() {
			t.Errorf("Name() = %q", n)
		}
	})
	check("tells once, and edits", tellsOnce)
	fault := func(name string, f func(t *testing.T, s Subject)) {
		check(name, func(t *testing.T, s Subject) {
			if s.Wire != nil {
				f(t, s)
			}
		})
	}
	fault("failed: may be tried again", func(t *testing.T, s Subject) {
		s.Wire.FailNext(1, http.StatusServiceUnavailable)
		mustRetry(t, s, first())
		wantSeen(t, s, 0)
		mustSend(t, s, first())
		wantSeen(t, s, 1)
	})
	fault("failed but persisted: says unsure, and does not tell twice", func(t *testing.T, s Subject) {
		s.Wire.AcceptButDrop(1)
		if r := mustRetry(t, s, first()); !r.Unsure {
			t.Errorf("a broken connection is not sure to have failed: %v", r)
		}
		wantSeen(t, s, 1)
		again := first()
		again.Unsure = true
		mustSend(t, s, again)
		if !s.MayRepeat {
			wantSeen(t, s, 1)
		}
	})
	fault("rate limited: says when", func(t *testing.T, s Subject) {
		s.Wire.FailNext(1, http.StatusTooManyRequests)
		if r := mustRetry(t, s, first()); r.After != 3*time.Second || r.Unsure {
			t.Errorf("After = %v, Unsure = %v; Retry-After was 3, and nothing was sent", r.After, r.Unsure)
		}
		wantSeen(t, s, 0)
	})
	fault("refused: final", func(t *testing.T, s Subject) {
		s.Wire.AnswerNext(http.StatusBadRequest, `{"status":"invalid event","message":"Event object is invalid","errors":["no"]}`)
		_, err := send(t, s, context.Background(), first())
		var r *alerting.RetryError
		if err == nil || errors.As(err, &r) {
			t.Errorf("err = %v, want one that is final", err)
		}
	})
	fault("no answer: ends in bounded time, unsure", func(t *testing.T, s Subject) {
		s.Wire.HangNext(1)
		start := time.Now()
		if r := mustRetry(t, s, first()); !r.Unsure {
			t.Errorf("no answer is not a failure for sure: %v", r)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("gave up after %v", took)
		}
	})
	fault("ends soon after its context", func(t *testing.T, s Subject) {
		s.Wire.HangNext(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := send(t, s, ctx, first())
		if err == nil || time.Since(start) > 2*time.Second {
			t.Errorf("err = %v after %v", err, time.Since(start))
		}
	})
	check("takes hostile text", func(t *testing.T, s Subject) {
		for i, text := range Hostile() {
			in := first()
			in.Key = fmt.Sprintf("AU-01/hostile%d", i)
			in.Alert = HostileAlert(text)
			in.Alert.ID = fmt.Sprintf("hostile%d", i)
			mustSend(t, s, in)
		}
		wantSeen(t, s, len(Hostile()))
	})
}

func tellsOnce(t *testing.T, s Subject) {
	got := mustSend(t, s, first())
	wantSeen(t, s, 1)
	if got.Thread == "" && got.ID == "" {
		t.Errorf("the receipt names nothing: %+v", got)
	}
	// A doubling.
	up := first()
	up.Update, up.Thread = true, got.Thread
	up.Told = alerting.Told{AlertID: up.Alert.ID, Severity: up.Alert.Severity, Count: up.Alert.Count}
	up.Alert.Count *= 2
	mustSend(t, s, up)
	if !s.PerSend {
		wantSeen(t, s, 1)
	}
}

func first() alerting.Incident {
	a := SampleAlert()
	return alerting.Incident{Key: alerting.IncidentKey(a), Alert: a, Since: a.First, Alerts: 1, Total: a.Count}
}

func send(t *testing.T, s Subject, ctx context.Context, i alerting.Incident) (alerting.Receipt, error) {
	t.Helper()
	r, err := s.Destination.Send(ctx, i)
	if err != nil {
		for e := err; e != nil; e = errors.Unwrap(e) {
			text := fmt.Sprintf("%v %+v %#v", e, e, e)
			for _, secret := range s.Secrets {
				if strings.Contains(text, secret) {
					t.Errorf("a secret is in the error: %s", strings.ReplaceAll(text, secret, "<here>"))
				}
			}
		}
	}
	return r, err
}

func mustSend(t *testing.T, s Subject, i alerting.Incident) alerting.Receipt {
	t.Helper()
	r, err := send(t, s, context.Background(), i)
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	return r
}

func mustRetry(t *testing.T, s Subject, i alerting.Incident) *alerting.RetryError {
	t.Helper()
	_, err := send(t, s, context.Background(), i)
	var r *alerting.RetryError
	if !errors.As(err, &r) {
		t.Fatalf("err = %v, want a RetryError", err)
	}
	return r
}

func wantSeen(t *testing.T, s Subject, n int) {
	t.Helper()
	if got := s.Seen(); got != n {
		t.Fatalf("a person sees %d, want %d", got, n)
	}
}

// SampleAlert is an ordinary alert.
func SampleAlert() detect.Alert {
	at := time.Date(2026, 11, 22, 2, 14, 7, 123e6, time.UTC)
	a := detect.Alert{
		Schema: detect.AlertSchema, ID: "4kq7x2mzn5r3vbtdwayhc6pjfe", Mode: "alert", Severity: "high", Tenant: "acme",
		Rule: detect.RuleInfo{
			ID: "AU-01", Name: "auth.bruteforce.source_ip", Title: "Brute force against an MCP server from one source",
			Tags: []string{"attack.t1110.001", "owasp.mcp07"}, Window: "5m",
			Runbook: "1. Check whether a success follows from the same address (rule AU-04).\n" +
				"2. If the address is external, block it at the gateway;\n   if internal, find the misconfigured client.\n",
		},
		Group:   []detect.GroupValue{{Field: "net.ip", Value: "mzx6h3qk2ypw7dn4rt5vbcjale", Key: "k3"}},
		GroupID: "h7w2kq5nxz3m4r6tpvybdcjafe", BucketStart: at.Truncate(30 * time.Minute), BucketEnd: at.Truncate(30 * time.Minute).Add(30 * time.Minute),
		First: at, Last: at.Add(2*time.Minute + 3*time.Second), FiredAt: at.Add(2*time.Minute + 4*time.Second), Count: 5, Value: 5, Threshold: 5,
		Why:   "5 failed authentications from one source address in 2m3s (threshold 5 in 5m)",
		Title: "5 failed logins from one source in 5m",
	}
	for n := range 5 {
		a.Evidence = append(a.Evidence, detect.Evidence{
			EventID: fmt.Sprintf("019ab3c1-77f0-7c3e-9b1a-5f2c6d8e4a1%d", n), Time: at.Add(time.Duration(n) * 30 * time.Second),
			Partition: int32(n % 3), Offset: int64(1840 + n), Server: "files-prod", Type: "authentication", Outcome: "failure",
		})
	}
	return a
}

// Hostile returns texts that try to be more than text.
func Hostile() []string {
	return []string{
		"<!channel> <!here> <!everyone> @channel @here @everyone <@U012AB3CD> <#C012AB3CD> <!subteam^S012>",
		"<https://evil.example/login|Click to acknowledge> https://evil.example/a?b=c http://[::1]:8080/ hTTps:\\\\evil.example",
		"*bold* _it_ ~no~ `code` ```block``` > quote\n# head :fire: &lt;b&gt; [x](https://evil.example)",
		"\x1b[2J\x1b]0;owned\x07\x1b[31mred\u009b31m\x00\x08\x7f",
		"safe\u202egnp.exe\u2066\u2069\u200b\u200d\u2060\ufeff\u00ad\U000e0041\U000e0042 \u3164\u2800",
		"<script>alert(1)</script><img src=x onerror=alert(1)>\" onmouseover='x' {{.}} ${x} %s%n",
		"javascript:alert(1) data:text/html;base64,PHNjcmlwdD4= mailto:a@evil.example ftp://evil.example file:///etc/passwd",
		"'; DROP TABLE picket.events; -- \\' \" `",
		strings.Repeat("A", 70_000),
		strings.Repeat("💥", 9_000),
		strings.Repeat("<&>\"", 9_000),
		"Z" + strings.Repeat("\u0301", 5_000) + "algo",
		"\xff\xfe\xc0\xaf invalid \xed\xa0\x80",
		strings.Repeat("https://evil.example/ ", 2_000),
		strings.Repeat("\n", 5_000) + "www.evil.com evil.com/path user@evil.com",
		"",
	}
}

// HostileAlert has the text wherever a text from the wire or from a pack can be.
func HostileAlert(text string) detect.Alert {
	a := SampleAlert()
	a.Title, a.Why, a.Tenant, a.Rule.Runbook, a.Rule.Window = text, text, text, text, text
	a.Rule.Tags = []string{text, text, text}
	a.Group = nil
	for range 9 {
		a.Group = append(a.Group, detect.GroupValue{Field: text, Value: text, Key: text})
	}
	a.Evidence = nil
	for n := range 40 {
		a.Evidence = append(a.Evidence, detect.Evidence{
			EventID: text, Time: a.First, Offset: int64(n), Server: text, Type: text, Outcome: text, Tool: text, Finding: text,
			Context: []detect.GroupValue{{Field: text, Value: text, Key: text}},
		})
	}
	return a
}
