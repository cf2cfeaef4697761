package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picket/alerting"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/detect/secret"
)

// Beside a destination that is told, the preview page does not say that nothing was sent.
func TestPreviewBesideADestination(t *testing.T) {
	for _, webhook := range []string{"http://127.0.0.1:1/in", ""} {
		cfg := &config.Config{}
		cfg.Alerting.Preview = "always"
		cfg.Alerting.Webhook.URL = config.Secret{Value: secret.New(webhook)}
		a := &App{cfg: cfg}
		if _, err := a.destinations(); err != nil {
			t.Fatal(err)
		}
		page := httptest.NewRecorder()
		a.preview.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/preview", nil))
		if told := webhook != ""; a.Tells() != told || strings.Contains(page.Body.String(), "nothing was sent") == told {
			t.Errorf("with the webhook %q: tells %t, and the page\n%s", webhook, a.Tells(), page.Body)
		}
	}
}

// A configured webhook is a destination, posts signed JSON, and needs no preview page beside it.
func TestWebhookIsConfigured(t *testing.T) {
	var signature, posted, agent string
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		signature, posted, agent = r.Header.Get("Picket-Signature"), string(body), r.UserAgent()
	}))
	defer receiver.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"url": receiver.URL + "/in?token=t0psecret\n", "key": "signing-key-1\n", "picket.yaml": "alerting: {webhook: {url_file: url, signing_key_file: key}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, problems := config.Load(filepath.Join(dir, "picket.yaml"), os.LookupEnv)
	if problems != nil {
		t.Fatal(problems)
	}
	cfg.Version = "v1.2"
	if shown := fmt.Sprintf("%v", cfg.Alerting); strings.Contains(shown, "t0psecret") || strings.Contains(shown, "signing-key-1") {
		t.Error("the configuration shows its secrets:", shown)
	}
	a := &App{cfg: cfg}
	tell, err := a.destinations()
	if err != nil || len(tell) != 1 || tell[0].Name() != "webhook" || a.HasPreview() {
		t.Fatalf("%v, %v, preview %t", tell, err, a.HasPreview())
	}
	if _, err := tell[0].Send(t.Context(), alerting.Incident{Key: "k", Alert: detect.Alert{ID: "a-1", Title: "T"}}); err != nil {
		t.Fatal(err)
	}
	at, sig, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	if sig != alerting.Sign(secret.New("signing-key-1"), at, []byte(posted)) || !strings.Contains(posted, alerting.IncidentSchema) {
		t.Errorf("signature %q of %s", signature, posted)
	}
	if agent != "picket/v1.2" {
		t.Errorf("the receiver hears from %q", agent)
	}
}

// The first line of a run names who hears of alerts, and says it when that is nobody.
func TestAlertsTo(t *testing.T) {
	for _, tt := range []struct {
		roles, webhook, want string
	}{
		{"store,notify", "http://127.0.0.1:1/in?k=t0psecret", "clickhouse,webhook"},
		{"notify", "", "clickhouse,preview (nobody is told: alerting has no destination)"},
		{"store", "http://127.0.0.1:1/in", "others tell: this process has no notify role"},
	} {
		cfg := config.Default()
		cfg.Roles = strings.Split(tt.roles, ",")
		cfg.Alerting.Webhook.URL = config.NewSecret(tt.webhook)
		a := &App{cfg: cfg}
		tell, err := a.destinations()
		if got := a.alertsTo(tell); err != nil || got != tt.want {
			t.Errorf("%q, %v; want %q", got, err, tt.want)
		}
	}
}
