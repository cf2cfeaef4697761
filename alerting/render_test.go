package alerting_test

import (
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"picket/alerting"
	"picket/alerting/channeltest"
	"picket/detect"
)

// walk visits every string of a JSON value with the keys that lead to it.
func walk(v any, path string, visit func(path, s string)) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			walk(e, path+"/"+k, visit)
		}
	case []any:
		for _, e := range v {
			walk(e, path, visit)
		}
	case string:
		visit(path, v)
	}
}

var (
	liveURL  = regexp.MustCompile(`(?i)[a-z][a-z0-9+.-]*:[/\\]{2}|https?:|\b(javascript|data|mailto):\S|www\.[a-z]|evil\.(com|example)\b|[a-z]@evil\.[a-z]`)
	mentions = regexp.MustCompile(`(?i)@(here|channel|everyone)\b`)
)

func checkHarmless(t *testing.T, where, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s: not UTF-8: %q", where, head(s))
	}
	for _, r := range s {
		if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp)) {
			t.Errorf("%s: %U in %q", where, r, head(s))
			break
		}
	}
	if m := liveURL.FindString(s); m != "" {
		t.Errorf("%s: %q is clickable in %q", where, m, head(s))
	}
	if m := mentions.FindString(s); m != "" {
		t.Errorf("%s: mentions %q", where, m)
	}
}

func head(s string) string { return s[:min(len(s), 200)] }

// checkBlocks is the property: whatever the text, Slack takes the message, and
// nothing in it is more than text.
func checkBlocks(t *testing.T, in string) {
	t.Helper()
	a := channeltest.HostileAlert(in)
	i := alerting.Incident{Key: alerting.IncidentKey(a), Alert: a, Since: a.First, Alerts: 3, Total: 99, Update: true}
	blocks, fallback := alerting.Renderer{}.Blocks(i)
	raw, err := json.Marshal(blocks)
	if err != nil {
		t.Fatal(err)
	}
	if code, problems := channeltest.CheckMessage(fallback, raw); code != "" {
		t.Fatalf("%q: %s %v", head(in), code, problems)
	}
	var decoded any
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	total := 0
	walk(decoded, "", func(path, s string) {
		total += utf8.RuneCountInString(s)
		switch {
		case strings.HasSuffix(path, "/type"):
			switch s {
			case "mrkdwn", "link", "user", "channel", "usergroup", "broadcast", "emoji", "color", "team", "image", "actions", "button":
				t.Errorf("an element of type %s", s)
			}
		case strings.HasSuffix(path, "/url"), strings.HasSuffix(path, "_id"), strings.HasSuffix(path, "/range"):
			t.Errorf("%s = %q", path, s)
		default:
			checkHarmless(t, path, s)
		}
	})
	if total >= 8000 || len(blocks) > 50 {
		t.Errorf("%d characters in %d blocks", total, len(blocks))
	}
	checkHarmless(t, "fallback", fallback)
	sentence, _ := alerting.Renderer{}.Change(i)
	checkHarmless(t, "reply", sentence)
}

func TestHostileTextStaysText(t *testing.T) {
	for _, s := range channeltest.Hostile() {
		checkBlocks(t, s)
	}
}

func TestHostileTextMixedAtRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := channeltest.Hostile()
	for range 60 {
		var b strings.Builder
		for range 1 + rng.IntN(6) {
			p := []rune(parts[rng.IntN(len(parts))])
			if len(p) == 0 {
				continue
			}
			from := rng.IntN(len(p))
			b.WriteString(string(p[from:min(len(p), from+1+rng.IntN(200))]))
		}
		checkBlocks(t, b.String())
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range channeltest.Hostile() {
		f.Add(s[:min(len(s), 500)])
	}
	f.Fuzz(func(t *testing.T, s string) {
		checkHarmless(t, "Clean", alerting.Clean(s))
	})
}

func TestCleanKeepsWhatAnalystsNeed(t *testing.T) {
	for in, want := range map[string]string{
		"read_file":                      "read_file",
		"5 failures from 203.0.113.0/24": "5 failures from 203.0.113.0/24",
		"net.ip_prefix auth.bruteforce":  "net.ip_prefix auth.bruteforce",
		"名前 naïve Ünïcode":               "名前 naïve Ünïcode",
		"https://evil.example/a.b?c=d":   "hxxps[:]//evil[.]example/a.b?c=d",
		"bob@corp.example":               "bob[@]corp[.]example",
		"a\x1b[31mb":                     "a\ufffd[31mb",
		"x\u202ey":                       "x\ufffdy",
		"two\nlines\tand tabs":           "two lines and tabs",
	} {
		if got := alerting.Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMessageSaysWhatOnCallNeeds(t *testing.T) {
	a := channeltest.SampleAlert()
	a.Evidence[0].Context = []detect.GroupValue{{Field: "net.country", Value: "NL"}}
	blocks, fallback := alerting.Renderer{}.Blocks(alerting.Incident{Key: "k", Alert: a, Since: a.First, Alerts: 1, Total: 5})
	raw, err := json.Marshal(blocks)
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"how bad":     "🟠 HIGH: 5 failed logins",
		"why":         "5 failed authentications from one source address in 2m3s",
		"to whom":     "files-prod",
		"who":         "mzx6h3qk2ypw7dn4rt5vbcjale",
		"pseudonym":   "pseudonym, key k3",
		"since":       "Sun 22 Nov 2026 02:14:07 UTC",
		"local time":  "{date_short_pretty} {time}",
		"how many":    "5 events so far; fires at 5 in 5m",
		"what first":  "block it at the gateway; if internal",
		"evidence":    "02:14:07.123Z  authentication  failure  files-prod  net.country=NL  id=019ab3c1",
		"query":       "(kafka_partition, kafka_offset) IN ((0,1840), (1,1841)",
		"ids":         "attack.t1110.001 owasp.mcp07",
		"rule, alert": "AU-01  ·  auth.bruteforce.source_ip  ·  alert 4kq7x2mzn5r3vbtdwayhc6pjfe",
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s: %q is not in %s", what, want, raw)
		}
	}
	if want := "🟠 HIGH: 5 failed logins from one source in 5m (5 events)"; fallback != want {
		t.Errorf("fallback = %q, want %q", fallback, want)
	}
}

func TestQueryHoldsNoEventText(t *testing.T) {
	want := alerting.EvidenceQuery(channeltest.HostileAlert("x"))
	if !strings.Contains(want, "time BETWEEN '2026-11-22 02:14:07.123' AND '2026-11-22 02:14:07.123'") {
		t.Errorf("the query does not say when: %s", want)
	}
	for _, s := range channeltest.Hostile() {
		if q := alerting.EvidenceQuery(channeltest.HostileAlert(s)); q != want && s != "" {
			t.Fatalf("%q: %s", head(s), q)
		}
	}
}

func TestQueryReachesBackToWhatCameLate(t *testing.T) {
	a := channeltest.SampleAlert()
	if q := alerting.EvidenceQuery(a); !strings.Contains(q, "time BETWEEN '2026-11-22 02:14:07.123'") {
		t.Errorf("an alert of a window has no late events, and its query is wider than its evidence: %s", q)
	}
	a.Rule.Window, a.Threshold = "", 1
	if q := alerting.EvidenceQuery(a); !strings.Contains(q, "time BETWEEN '2026-11-15 02:14:07.123'") {
		t.Errorf("an event may be as old as a week, and the query misses it: %s", q)
	}
}

func BenchmarkBlocks(b *testing.B) {
	for name, a := range map[string]detect.Alert{
		"ordinary": channeltest.SampleAlert(),
		"hostile":  channeltest.HostileAlert(strings.Repeat("<&>\"", 9_000)),
	} {
		b.Run(name, func(b *testing.B) {
			i := alerting.Incident{Key: "k", Alert: a, Since: a.First, Alerts: 1, Total: a.Count}
			for b.Loop() {
				alerting.Renderer{}.Blocks(i)
			}
		})
	}
}

// A line of evidence says each thing once, and a burst of milliseconds has one time.
func TestEvidenceSaysThingsOnce(t *testing.T) {
	a := sample().Alert
	a.Last = a.First.Add(7 * time.Millisecond)
	a.Evidence = []detect.Evidence{{
		Time: a.First, Type: "tool_call", Outcome: "denied", Server: "files", Tool: "read", EventID: "e-1",
		Context: []detect.GroupValue{{Field: "mcp.tool", Value: "read"}, {Field: "server.name", Value: "files"}, {Field: "outcome", Value: "denied"}, {Field: "type", Value: "tool_call"}, {Field: "reason", Value: "denied"}, {Field: "env", Value: "prod"}},
	}}
	m := alerting.Renderer{}.Message(alerting.Incident{Alert: a, Since: a.First, Alerts: 1, Total: 1}, 0)
	if want := "  tool_call  denied  files  read  reason=denied  env=prod  id=e-1"; len(m.Evidence) != 1 || !strings.HasSuffix(m.Evidence[0], want) {
		t.Errorf("evidence %q, want it to end in %q", m.Evidence, want)
	}
	for _, f := range m.Facts {
		if f.Label == "Last seen" {
			t.Errorf("%s: %s (%s)", f.Label, f.Value, f.Note)
		}
	}
}
