package channeltest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"picket/alerting/channeltest"
)

func header(text string) string {
	return fmt.Sprintf(`{"type":"header","text":{"type":"plain_text","text":%q}}`, text)
}

func TestSlackRefusesWhatSlackRefuses(t *testing.T) {
	rich := func(el string) string {
		return `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[` + el + `]}]}`
	}
	for name, c := range map[string]struct{ blocks, code string }{
		"fine":               {"[" + header("hello") + "," + rich(`{"type":"text","text":"x"}`) + "]", ""},
		"not JSON":           {"[{", "invalid_blocks_format"},
		"51 blocks":          {"[" + strings.Join(slices.Repeat([]string{`{"type":"divider"}`}, 51), ",") + "]", "invalid_blocks"},
		"long header":        {"[" + header(strings.Repeat("x", 151)) + "]", "invalid_blocks"},
		"emoji count double": {"[" + header(strings.Repeat("💥", 76)) + "]", "invalid_blocks"},
		"markup in header":   {`[{"type":"header","text":{"type":"mrkdwn","text":"x"}}]`, "invalid_blocks"},
		"empty text":         {"[" + header("") + "]", "invalid_blocks"},
		"empty rich text":    {"[" + rich(`{"type":"text","text":""}`) + "]", "invalid_blocks"},
		"unknown element":    {"[" + rich(`{"type":"marquee","text":"x"}`) + "]", "invalid_blocks"},
		"list without style": {`[{"type":"rich_text","elements":[{"type":"rich_text_list","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x"}]}]}]}]`, "invalid_blocks"},
		"too long in sum": {
			"[" + strings.Join(slices.Repeat([]string{rich(`{"type":"text","text":"` + strings.Repeat("x", 2500) + `"}`)}, 4), ",") + "]",
			"msg_blocks_too_long",
		},
	} {
		if code, problems := channeltest.CheckMessage("", []byte(c.blocks)); code != c.code {
			t.Errorf("%s: %q %v, want %q", name, code, problems, c.code)
		}
	}
}

func call(t *testing.T, s *channeltest.Slack, method string, form url.Values) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.APIURL()+method, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

func TestSlackAnswersLikeSlack(t *testing.T) {
	s := channeltest.NewSlack(t)
	ok := url.Values{"token": {s.Token}, "channel": {s.Channel}, "text": {"x"}}
	with := func(kv ...string) url.Values {
		v := url.Values{}
		for k, x := range ok {
			v[k] = x
		}
		for i := 0; i+1 < len(kv); i += 2 {
			v.Set(kv[i], kv[i+1])
		}
		return v
	}
	for _, c := range []struct {
		method string
		form   url.Values
		status int
		err    any
	}{
		{"chat.postMessage", with("token", "xoxb-no"), 200, "invalid_auth"},
		{"chat.postMessage", with("channel", "C404"), 200, "channel_not_found"},
		{"chat.update", with("ts", "1.1"), 200, "message_not_found"},
		{"chat.postMessage", ok, 200, nil},
		{"chat.postMessage", ok, 429, "ratelimited"},
		{"chat.update", with("channel", "#picket", "ts", "1.1"), 200, "channel_not_found"},
		{"chat.nonsense", ok, 200, "unknown_method"},
	} {
		if status, out := call(t, s, c.method, c.form); status != c.status || out["error"] != c.err {
			t.Errorf("%s %v: %d %v, want %d %v", c.method, c.form, status, out, c.status, c.err)
		}
	}
	if n := len(s.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestPagerDutyAnswersLikePagerDuty(t *testing.T) {
	p := channeltest.NewPagerDuty(t)
	event := func(change func(ev, payload map[string]any)) string {
		payload := map[string]any{"summary": "s", "source": "x", "severity": "error"}
		ev := map[string]any{"routing_key": p.RoutingKey, "event_action": "trigger", "dedup_key": "k", "payload": payload}
		change(ev, payload)
		raw, err := json.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for want, body := range map[string]string{
		"202 Event processed":     event(func(_, _ map[string]any) {}),
		"400 should be 32":        event(func(ev, _ map[string]any) { ev["routing_key"] = "short" }),
		"400 Invalid routing key": event(func(ev, _ map[string]any) { ev["routing_key"] = strings.Repeat("z", 32) }),
		"400 'event_action'":      event(func(ev, _ map[string]any) { ev["event_action"] = "shout" }),
		"400 'payload.summary'":   event(func(_, pl map[string]any) { pl["summary"] = strings.Repeat("x", 1025) }),
		"400 'payload.severity'":  event(func(_, pl map[string]any) { pl["severity"] = "high" }),
		"400 'payload.source'":    event(func(_, pl map[string]any) { pl["source"] = "" }),
		"400 512 KB":              event(func(_, pl map[string]any) { pl["custom_details"] = map[string]any{"x": strings.Repeat("x", 600<<10)} }),
	} {
		resp, err := p.Client().Post("https://events.test/v2/enqueue", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		status, text, _ := strings.Cut(want, " ")
		if fmt.Sprint(resp.StatusCode) != status || !strings.Contains(string(raw), text) {
			t.Errorf("want %s, got %d %s", want, resp.StatusCode, raw)
		}
	}
}
