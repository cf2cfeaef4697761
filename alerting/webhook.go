package alerting

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"picket/detect/secret"
)

// WebhookOptions configure a generic webhook.
type WebhookOptions struct {
	Name   string       // "webhook" by default
	URL    secret.Value // may hold credentials
	Key    secret.Value // signs the body; without one it is not signed
	Client *http.Client
}

// Webhook posts the incident as JSON (schema picket.incident/1). With a key,
// the header Picket-Signature is "t=<unix seconds>,v1=<hex>", the HMAC-SHA-256
// of "<t>.<body>": a receiver checks it and refuses an old t. The header
// Idempotency-Key is the same for every attempt at the same news. Values in the
// alert are as the rule saw them in public form, not defanged: receivers are
// programs.
type Webhook struct {
	name   string
	url    secret.Value
	key    secret.Value
	client *http.Client
}

// IncidentSchema names the JSON that a Webhook posts.
const IncidentSchema = "picket.incident/1"

// NewWebhook checks the options; it does not call the URL.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	if !isURL(o.URL) {
		return nil, &SetupError{Problem: "webhook: no usable URL", Fix: "set alerting.webhook.url_file to a file with the whole URL"}
	}
	w := &Webhook{name: o.Name, url: o.URL, key: o.Key, client: httpClient(o.Client)}
	if w.name == "" {
		w.name = "webhook"
	}
	return w, nil
}

// Name implements Destination.
func (w *Webhook) Name() string { return w.name }

// Send implements Destination.
func (w *Webhook) Send(ctx context.Context, i Incident) (Receipt, error) {
	body, err := json.Marshal(struct {
		Schema string `json:"schema"`
		Incident
	}{IncidentSchema, i})
	if err != nil {
		return Receipt{}, fmt.Errorf("webhook: encode the incident: %w", err)
	}
	id := fmt.Sprintf("%s-%d-%t", brief(i.Alert.ID, 64), i.Alert.Count, i.Alert.Settled)
	h := http.Header{"Idempotency-Key": {id}}
	if w.key.IsSet() {
		t := strconv.FormatInt(time.Now().Unix(), 10)
		h.Set("Picket-Signature", "t="+t+",v1="+Sign(w.key, t, body))
	}
	got, err := post(ctx, w.client, w.url, body, h)
	switch {
	case err != nil:
		return Receipt{}, err
	case got.code >= 200 && got.code < 300:
		return Receipt{Thread: i.Key, ID: id}, nil
	case got.code == http.StatusTooManyRequests || got.code >= 500 || got.code == http.StatusRequestTimeout:
		return Receipt{}, &RetryError{After: got.after, Unsure: got.code != http.StatusTooManyRequests, Err: fmt.Errorf("webhook: HTTP %d", got.code)}
	case moved(got.code):
		return Receipt{}, &SetupError{Problem: fmt.Sprintf("webhook: HTTP %d", got.code), Fix: "check the URL and the key that the receiver expects"}
	}
	// Servers repeat the path and the query of a request in their answers, where a URL has its secrets.
	return Receipt{}, fmt.Errorf("webhook: HTTP %d", got.code)
}

// moved reports whether a status says that the URL or the key is wrong, which somebody will mend.
func moved(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return true
	}
	return code >= 300 && code < 400 // redirects are not followed
}

// Sign is the signature over a webhook's timestamp and body.
func Sign(key secret.Value, t string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
