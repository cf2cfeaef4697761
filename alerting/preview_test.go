package alerting_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"picket/alerting"
	"picket/alerting/channeltest"
)

func TestPreviewContract(t *testing.T) {
	channeltest.Run(t, func(*testing.T) channeltest.Subject {
		p := alerting.NewPreview(alerting.PreviewOptions{})
		return channeltest.Subject{Destination: p, Seen: p.Len}
	})
}

func get(t *testing.T, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPreviewShowsWhatHappened(t *testing.T) {
	p := alerting.NewPreview(alerting.PreviewOptions{})
	n := alerting.NewNotifier(p, alerting.NotifierOptions{})
	if page := get(t, p, "/preview").Body.String(); !strings.Contains(page, "No alert yet") || !strings.Contains(page, "nothing was sent") {
		t.Errorf("an empty page: %s", page)
	}
	a := nth(1)
	for _, x := range []uint64{5, 10} {
		handle(t, n, grown(a, x))
	}
	handle(t, n, settled(a, 17))
	handle(t, n, nth(2))
	page := get(t, p, "/preview").Body.String()
	for _, want := range []string{
		"Preview: no Slack credentials are configured; nothing was sent.", "alerting.slack.bot_token_file",
		"HIGH: number 1", "17 events (final)", "(edited 2×", "1 reply", "Settled: 17 events", "HIGH: number 2", `class="high"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	var all struct {
		Sent     bool `json:"sent"`
		Messages []struct {
			Count uint64           `json:"count"`
			Edits int              `json:"edits"`
			Block []map[string]any `json:"blocks"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(get(t, p, "/preview.json").Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if all.Sent || len(all.Messages) != 2 || all.Messages[0].Count != 17 || all.Messages[0].Edits != 2 || len(all.Messages[0].Block) < 5 {
		t.Errorf("%+v", all)
	}
}

func TestPreviewRefreshesOnlyWhenThereIsNews(t *testing.T) {
	p := alerting.NewPreview(alerting.PreviewOptions{})
	n := alerting.NewNotifier(p, alerting.NotifierOptions{})
	tag := get(t, p, "/preview/feed").Header().Get("ETag")
	if w := get(t, p, "/preview/feed", "If-None-Match", tag); w.Code != http.StatusNotModified {
		t.Errorf("no news: %d", w.Code)
	}
	handle(t, n, nth(1))
	if w := get(t, p, "/preview/feed", "If-None-Match", tag); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "number 1") {
		t.Errorf("news: %d %s", w.Code, w.Body)
	}
}

func TestPreviewKeepsTheLastAndEarlierThreadsApart(t *testing.T) {
	p := alerting.NewPreview(alerting.PreviewOptions{})
	n := alerting.NewNotifier(p, alerting.NotifierOptions{})
	var last alerting.Delivery
	for i := range 250 {
		last = handle(t, n, nth(i))
	}
	if p.Len() != 200 {
		t.Errorf("%d messages are kept", p.Len())
	}
	// After a restart the page is empty, and a remembered thread means nothing.
	p = alerting.NewPreview(alerting.PreviewOptions{})
	n = alerting.NewNotifier(p, alerting.NotifierOptions{})
	n.Restore(last)
	handle(t, n, nth(3))
	handle(t, n, settled(nth(249), 9))
	if p.Len() != 2 {
		t.Errorf("%d messages, want 2", p.Len())
	}
}

var (
	tagOpen  = regexp.MustCompile(`<[a-zA-Z/!][^>]*>`)
	allowed  = regexp.MustCompile(`^</?(article|div|span|b|time|h3|h4|p|dl|dt|dd|code|small|ol|ul|li|pre|i)\b`)
	external = regexp.MustCompile(`(?i)(src|href)=|url\(|@import`)
)

func TestPreviewEscapesHostileText(t *testing.T) {
	p := alerting.NewPreview(alerting.PreviewOptions{})
	for _, text := range channeltest.Hostile() {
		in := sample()
		in.Alert = channeltest.HostileAlert(text)
		if _, err := p.Send(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	feed := get(t, p, "/preview/feed").Body.String()
	for _, m := range tagOpen.FindAllString(feed, -1) {
		if !allowed.MatchString(m) {
			t.Errorf("the text made a tag: %s", head(m))
		}
	}
	page := get(t, alerting.NewPreview(alerting.PreviewOptions{}), "/preview")
	if m := external.FindString(page.Body.String()); m != "" {
		t.Errorf("the page reaches out: %q", m)
	}
	csp := page.Header().Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	if again := get(t, p, "/preview").Header().Get("Content-Security-Policy"); again == csp {
		t.Error("the nonce repeats")
	}
}

func TestPreviewBesideOtherDestinationsDoesNotSayNothingWasSent(t *testing.T) {
	p := alerting.NewPreview(alerting.PreviewOptions{Copy: true})
	if page := get(t, p, "/preview").Body.String(); strings.Contains(page, "nothing was sent") || !strings.Contains(page, "a local copy") {
		t.Error("the banner is wrong")
	}
}

func TestPreviewOnlyReads(t *testing.T) {
	p := alerting.NewPreview(alerting.PreviewOptions{})
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/preview", nil)
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || get(t, p, "/else").Code != http.StatusNotFound {
		t.Errorf("POST: %d", w.Code)
	}
}
