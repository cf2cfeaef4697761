package alerting_test

import (
	"testing"

	"picket/alerting"
	"picket/alerting/channeltest"
	"picket/detect/secret"
)

func TestSlackContract(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Subject {
		fake := channeltest.NewSlack(t)
		return channeltest.Subject{
			Destination: newSlack(t, fake), Wire: &fake.Wire, Secrets: []string{fake.Token},
			Seen: func() int { return len(fake.Messages()) },
		}
	})
}

func TestSlackHookContract(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Subject {
		fake := channeltest.NewSlack(t)
		d, err := alerting.NewSlackHook(alerting.SlackHookOptions{
			URL: secret.New("https://hooks.slack.test" + fake.HookPath()), Client: fake.Client(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return channeltest.Subject{
			Destination: d, Wire: &fake.Wire, Secrets: []string{fake.HookPath()}, MayRepeat: true,
			Seen: func() int { return len(fake.Messages()) },
		}
	})
}

func TestPagerDutyContract(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Subject {
		fake := channeltest.NewPagerDuty(t)
		return channeltest.Subject{
			Destination: newPagerDuty(t, fake, false), Wire: &fake.Wire, Secrets: []string{fake.RoutingKey},
			Seen: func() int { return len(fake.Incidents()) },
		}
	})
}

func TestWebhookContract(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) channeltest.Subject {
		fake := channeltest.NewHook(t)
		d, err := alerting.NewWebhook(alerting.WebhookOptions{
			URL: secret.New("https://user:pa55word@soar.test/in?token=t0psecret"), Key: secret.New("signing-key-1"), Client: fake.Client(),
		})
		if err != nil {
			t.Fatal(err)
		}
		seen := func() int {
			keys := map[string]bool{}
			for _, r := range fake.Taken() {
				keys[string(r.Body)] = true
			}
			return len(keys)
		}
		return channeltest.Subject{
			Destination: d, Wire: &fake.Wire, Secrets: []string{"pa55word", "t0psecret", "signing-key-1"}, PerSend: true, Seen: seen,
		}
	})
}

func newSlack(t *testing.T, fake *channeltest.Slack) *alerting.Slack {
	t.Helper()
	d, err := alerting.NewSlack(alerting.SlackOptions{
		Token: secret.New(fake.Token), Channel: fake.Channel, Client: fake.Client(), APIURL: "https://slack.test/api/",
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newPagerDuty(t *testing.T, fake *channeltest.PagerDuty, resolve bool) *alerting.PagerDuty {
	t.Helper()
	d, err := alerting.NewPagerDuty(alerting.PagerDutyOptions{
		RoutingKey: secret.New(fake.RoutingKey), Client: fake.Client(), ResolveSettled: resolve,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
