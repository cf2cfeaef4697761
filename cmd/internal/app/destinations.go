package app

import (
	"fmt"

	"picket/alerting"
	"picket/cmd/internal/config"
	"picket/detect/secret"
)

// destinations are who is told, by the configuration. With none, or when asked to,
// the preview page is one of them.
func (a *App) destinations() ([]alerting.Destination, error) {
	c, client := a.cfg.Alerting, alerting.NewClient(a.cfg.Agent())
	out := a.opt.Tell
	for _, d := range []struct {
		at   string
		by   config.Secret // without it nobody is told
		open func(secret.Value) (alerting.Destination, error)
	}{
		{"alerting.slack", c.Slack.BotToken, func(token secret.Value) (alerting.Destination, error) {
			return alerting.NewSlack(alerting.SlackOptions{Token: token, Channel: c.Slack.Channel, APIURL: c.Slack.APIURL, Client: client})
		}},
		{"alerting.slack.webhook_url", c.Slack.WebhookURL, func(url secret.Value) (alerting.Destination, error) {
			return alerting.NewSlackHook(alerting.SlackHookOptions{URL: url, Client: client})
		}},
		{"alerting.pagerduty", c.PagerDuty.RoutingKey, func(key secret.Value) (alerting.Destination, error) {
			return alerting.NewPagerDuty(alerting.PagerDutyOptions{RoutingKey: key, Region: c.PagerDuty.Region, URL: c.PagerDuty.URL, Client: client})
		}},
		{"alerting.webhook", c.Webhook.URL, func(url secret.Value) (alerting.Destination, error) {
			return alerting.NewWebhook(alerting.WebhookOptions{URL: url, Key: secret.New(c.Webhook.SigningKey.Reveal()), Client: client})
		}},
	} {
		if !d.by.IsSet() {
			continue
		}
		to, err := d.open(secret.New(d.by.Reveal()))
		if err != nil {
			return nil, &SetupError{fmt.Errorf("%s: %w", d.at, err)}
		}
		out = append(out, to)
	}
	a.tells = len(out) > len(a.opt.Tell)
	if c.Preview == "always" || c.Preview == "auto" && !a.tells {
		a.preview = alerting.NewPreview(alerting.PreviewOptions{Copy: a.tells})
		out = append(out, a.preview)
	}
	return out, nil
}
