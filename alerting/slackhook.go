package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"picket/detect/secret"
)

// SlackHookOptions configure an incoming webhook.
type SlackHookOptions struct {
	Name     string       // "slack" by default
	URL      secret.Value // https://hooks.slack.com/services/...; whoever has it can post
	Pace     time.Duration
	Client   *http.Client
	Renderer Renderer
}

// SlackHook tells one channel through an incoming webhook. A webhook can
// neither edit nor reply, so an incident is told once, and again only when it
// grows worse: a higher severity, or ten times the count told before. A lost
// answer may lead to a repeated message: a webhook cannot look.
type SlackHook struct {
	name   string
	url    secret.Value
	client *http.Client
	pace   pace
	render Renderer
}

// NewSlackHook checks the options; it does not call Slack.
func NewSlackHook(o SlackHookOptions) (*SlackHook, error) {
	if !isURL(o.URL) {
		return nil, &SetupError{Problem: "slack: no usable webhook URL", Fix: "set alerting.slack.webhook_url_file to a file with the whole URL, https://hooks.slack.com/services/..."}
	}
	h := &SlackHook{name: o.Name, url: o.URL, client: httpClient(o.Client), pace: pace{every: o.Pace}, render: o.Renderer}
	if h.name == "" {
		h.name = "slack"
	}
	if o.Pace == 0 {
		h.pace.every = time.Second
	}
	return h, nil
}

func isURL(s secret.Value) bool {
	return strings.HasPrefix(s.Reveal(), "https://") || strings.HasPrefix(s.Reveal(), "http://")
}

// Name implements Destination.
func (h *SlackHook) Name() string { return h.name }

// Send implements Destination.
func (h *SlackHook) Send(ctx context.Context, i Incident) (Receipt, error) {
	worse := SeverityRank(i.Alert.Severity) > SeverityRank(i.Told.Severity)
	if i.Update && !worse && i.Alert.Count < 10*i.Told.Count {
		return Receipt{Skipped: true, Note: "a webhook cannot edit: told again when ten times as many, or more severe"}, nil
	}
	blocks, fallback := h.render.Blocks(i)
	off := false
	body, err := json.Marshal(slack.WebhookMessage{
		Text: escapeSlack.Replace(fallback), Blocks: &slack.Blocks{BlockSet: blocks}, UnfurlLinks: &off, UnfurlMedia: &off,
	})
	if err != nil {
		return Receipt{}, fmt.Errorf("slack: encode the message: %w", err)
	}
	if err := h.pace.wait(ctx); err != nil {
		return Receipt{}, &RetryError{Err: fmt.Errorf("slack: waiting for the rate limit: %w", err)}
	}
	got, err := post(ctx, h.client, h.url, body, nil)
	h.pace.done()
	if err != nil {
		return Receipt{}, err
	}
	switch {
	case got.code == http.StatusOK:
		return Receipt{ID: i.Alert.ID}, nil
	case got.code == http.StatusTooManyRequests:
		return Receipt{}, &RetryError{After: got.after, Err: fmt.Errorf("slack: post to the webhook: rate limited")}
	case got.code >= 500 || got.code == http.StatusRequestTimeout:
		return Receipt{}, &RetryError{After: got.after, Unsure: true, Err: fmt.Errorf("slack: post to the webhook: HTTP %d", got.code)}
	case got.code >= 300 && got.code < 400:
		return Receipt{}, &SetupError{Problem: fmt.Sprintf("slack: post to the webhook: HTTP %d", got.code), Fix: "the URL leads elsewhere: copy it again into alerting.slack.webhook_url_file"}
	}
	word := strings.TrimSpace(got.body)
	if !slackWord.MatchString(word) {
		problem := fmt.Sprintf("slack: post to the webhook: HTTP %d, and the answer is not Slack's", got.code)
		if aboutMessage(got.code) {
			return Receipt{}, errors.New(problem)
		}
		return Receipt{}, &SetupError{Problem: problem, Fix: "check alerting.slack.webhook_url_file, and the proxies on the way"}
	}
	return Receipt{}, refusedBySlack(slack.SlackErrorResponse{Err: word}, "post to the webhook", h.url, "the channel")
}

var escapeSlack = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
