package app

import (
	"fmt"

	"picket/alerting"
	"picket/detect/secret"
)

// destinations are who is told, by the configuration. With none, or when asked to,
// the preview page is one of them.
func (a *App) destinations() ([]alerting.Destination, error) {
	c := a.cfg.Alerting
	out := a.opt.Tell
	configured := 0
	if c.Slack.BotToken.IsSet() {
		d, err := alerting.NewSlack(alerting.SlackOptions{
			Token: secret.New(c.Slack.BotToken.Reveal()), Channel: c.Slack.Channel, APIURL: c.Slack.APIURL,
		})
		if err != nil {
			return nil, &SetupError{fmt.Errorf("alerting.slack: %w", err)}
		}
		out = append(out, d)
		configured++
	}
	if c.Slack.WebhookURL.IsSet() {
		d, err := alerting.NewSlackHook(alerting.SlackHookOptions{URL: secret.New(c.Slack.WebhookURL.Reveal())})
		if err != nil {
			return nil, &SetupError{fmt.Errorf("alerting.slack.webhook_url: %w", err)}
		}
		out = append(out, d)
		configured++
	}
	if c.PagerDuty.RoutingKey.IsSet() {
		d, err := alerting.NewPagerDuty(alerting.PagerDutyOptions{
			RoutingKey: secret.New(c.PagerDuty.RoutingKey.Reveal()), Region: c.PagerDuty.Region, URL: c.PagerDuty.URL,
		})
		if err != nil {
			return nil, &SetupError{fmt.Errorf("alerting.pagerduty: %w", err)}
		}
		out = append(out, d)
		configured++
	}
	if c.Webhook.URL.IsSet() {
		d, err := alerting.NewWebhook(alerting.WebhookOptions{
			URL: secret.New(c.Webhook.URL.Reveal()), Key: secret.New(c.Webhook.SigningKey.Reveal()),
		})
		if err != nil {
			return nil, &SetupError{fmt.Errorf("alerting.webhook: %w", err)}
		}
		out = append(out, d)
		configured++
	}
	if c.Preview == "always" || c.Preview == "auto" && configured == 0 {
		a.preview = alerting.NewPreview(alerting.PreviewOptions{})
		out = append(out, a.preview)
	}
	return out, nil
}
