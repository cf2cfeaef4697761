package alerting_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picket/alerting"
	"picket/alerting/channeltest"
	"picket/detect/secret"
)

func sample() alerting.Incident {
	a := channeltest.SampleAlert()
	return alerting.Incident{Key: alerting.IncidentKey(a), Alert: a, Since: a.First, Alerts: 1, Total: a.Count}
}

func TestSlackErrorsSayWhatToDo(t *testing.T) {
	for code, want := range map[string]string{
		"not_in_channel":    "/invite",
		"channel_not_found": "alerting.slack.channel (C0PICKET01)",
		"invalid_auth":      "bot_token_file",
		"token_revoked":     "install the app again",
		"missing_scope":     "chat:write",
		"is_archived":       "unarchive C0PICKET01",
		"invalid_blocks":    "invalid_blocks", // a defect of ours: final, and no setup to change
	} {
		fake := channeltest.NewSlack(t)
		fake.RefuseNext(code)
		_, err := newSlack(t, fake).Send(t.Context(), sample())
		var again *alerting.RetryError
		var setup *alerting.SetupError
		if err == nil || errors.As(err, &again) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a final error with %q", code, err, want)
		}
		if errors.As(err, &setup) == (code == "invalid_blocks") {
			t.Errorf("%s: SetupError = %t", code, setup != nil)
		}
	}
	for _, code := range []string{"ratelimited", "internal_error", "fatal_error", "service_unavailable"} {
		fake := channeltest.NewSlack(t)
		fake.RefuseNext(code)
		_, err := newSlack(t, fake).Send(t.Context(), sample())
		var again *alerting.RetryError
		if !errors.As(err, &again) || again.Unsure == (code == "ratelimited") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestSlackWrongToken(t *testing.T) {
	fake := channeltest.NewSlack(t)
	d, err := alerting.NewSlack(alerting.SlackOptions{Token: secret.New("xoxb-wrong-token"), Channel: fake.Channel, APIURL: fake.APIURL()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Send(t.Context(), sample())
	var setup *alerting.SetupError
	if !errors.As(err, &setup) || strings.Contains(err.Error(), "wrong-token") {
		t.Errorf("err = %v", err)
	}
}

func TestSlackOverASocket(t *testing.T) {
	fake := channeltest.NewSlack(t)
	fake.SetRate(0)
	d, err := alerting.NewSlack(alerting.SlackOptions{
		Token: secret.New(fake.Token), Channel: "#picket", APIURL: fake.APIURL(), Pace: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Send(t.Context(), sample())
	if err != nil || !strings.HasPrefix(got.Thread, fake.Channel+"/") {
		t.Fatalf("%+v %v: the thread keeps the channel's id, also when it was named", got, err)
	}
	fake.AcceptButDrop(1)
	if _, err := d.Send(t.Context(), sample()); err == nil || strings.Contains(err.Error(), fake.URL()) {
		t.Errorf("err = %v", err)
	}
	if n := len(fake.Messages()); n != 2 {
		t.Errorf("%d messages: the dropped one had its effect", n)
	}
}

func TestSlackNothingListens(t *testing.T) {
	d, err := alerting.NewSlack(alerting.SlackOptions{Token: secret.New("xoxb-1"), Channel: "C0", APIURL: "http://127.0.0.1:1/api/"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Send(t.Context(), sample())
	var again *alerting.RetryError
	if !errors.As(err, &again) || again.Unsure {
		t.Errorf("err = %v: a refused connection sent nothing", err)
	}
}

func TestSlackDeletedMessageIsPostedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		d := newSlack(t, fake)
		got, err := d.Send(t.Context(), sample())
		if err != nil {
			t.Fatal(err)
		}
		fake.Delete(got.ID)
		up := sample()
		up.Update, up.Thread = true, got.Thread
		up.Told = alerting.Told{AlertID: up.Alert.ID, Severity: up.Alert.Severity, Count: 5}
		up.Alert.Count = 10
		again, err := d.Send(t.Context(), up)
		if err != nil || again.Thread == got.Thread || len(fake.Roots()) != 1 {
			t.Errorf("%+v %v, %d messages", again, err, len(fake.Roots()))
		}
	})
}

func TestSlackOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]alerting.SlackOptions{
		"bot_token_file": {Channel: "C1"},
		"xoxb-":          {Channel: "C1", Token: secret.New("xoxp-user-token")},
		"channel's id":   {Token: secret.New("xoxb-1")},
	} {
		_, err := alerting.NewSlack(o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "user-token") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSlackHookTellsAgainOnlyWhenWorse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		d, err := alerting.NewSlackHook(alerting.SlackHookOptions{URL: secret.New("https://hooks.slack.test" + fake.HookPath()), Client: fake.Client()})
		if err != nil {
			t.Fatal(err)
		}
		n := alerting.NewNotifier(d, alerting.NotifierOptions{})
		a := nth(1)
		for i, want := range []int{1, 1, 1, 2, 2} {
			a.Count = []uint64{5, 10, 40, 50, 100}[i]
			handle(t, n, a)
			if got := len(fake.Messages()); got != want {
				t.Errorf("count %d: %d messages, want %d", a.Count, got, want)
			}
		}
		a.Severity = "critical"
		handle(t, n, a)
		if got := len(fake.Messages()); got != 3 {
			t.Errorf("more severe: %d messages, want 3", got)
		}
		handle(t, n, settled(a, 120))
		if got := len(fake.Messages()); got != 3 {
			t.Errorf("settled: %d messages, want 3", got)
		}
	})
}

func TestSlackHookErrors(t *testing.T) {
	for body, status := range map[string]int{"no_service": http.StatusNotFound, "channel_is_archived": http.StatusGone, "action_prohibited": http.StatusForbidden} {
		fake := channeltest.NewSlack(t)
		d, err := alerting.NewSlackHook(alerting.SlackHookOptions{URL: secret.New(fake.URL() + fake.HookPath())})
		if err != nil {
			t.Fatal(err)
		}
		fake.AnswerNext(status, body)
		_, err = d.Send(t.Context(), sample())
		var setup *alerting.SetupError
		if !errors.As(err, &setup) || strings.Contains(err.Error(), fake.HookPath()) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// What answers in Slack's place, such as a proxy, is not about the message: it waits for a mend.
func TestSlackAnswersOfOthersWaitForAMend(t *testing.T) {
	const page = "<html><title>Blocked</title></html>"
	for code, waits := range map[int]bool{401: true, 403: true, 404: true, 407: true, 410: true, 400: false, 413: false} {
		fake := channeltest.NewSlack(t)
		hook, err := alerting.NewSlackHook(alerting.SlackHookOptions{URL: secret.New(fake.URL() + fake.HookPath())})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []alerting.Destination{newSlack(t, fake), hook} {
			fake.AnswerNext(code, page)
			_, err = d.Send(t.Context(), sample())
			var setup *alerting.SetupError
			if err == nil || errors.As(err, &setup) != waits || errors.As(err, new(*alerting.RetryError)) {
				t.Errorf("%T, HTTP %d: %v, waits %t", d, code, err, waits)
			} else if strings.Contains(err.Error(), "Blocked") || !strings.Contains(err.Error(), strconv.Itoa(code)) {
				t.Errorf("%T, HTTP %d: the error is %v", d, code, err)
			}
		}
	}
}
