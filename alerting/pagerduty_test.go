package alerting_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"picket/alerting"
	"picket/alerting/channeltest"
	"picket/detect/secret"
)

func TestPagerDutyPage(t *testing.T) {
	fake := channeltest.NewPagerDuty(t)
	d, err := alerting.NewPagerDuty(alerting.PagerDutyOptions{RoutingKey: secret.New(fake.RoutingKey), URL: fake.EnqueueURL()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	got := fake.Incidents()[0]
	if got.DedupKey != "AU-01/h7w2kq5nxz3m4r6tpvybdcjafe" || got.Severity != "error" || got.Source != "files-prod" {
		t.Errorf("%+v", got)
	}
	if want := "🟠 HIGH: 5 failed logins from one source in 5m. 5 failed authentications"; !strings.HasPrefix(got.Summary, want) {
		t.Errorf("summary %q", got.Summary)
	}
	raw, err := json.Marshal(got.Details)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"block it at the gateway", "pseudonym, key k3", "kafka_offset", "attack.t1110.001", `"count":"5 events so far; fires at 5 in 5m"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%q is not in %s", want, raw)
		}
	}
	for name := range got.Details { // people read them
		if strings.Contains(name, "_") || name == "settled" || name == "unsure" {
			t.Errorf("a page has the field %s, which says nothing to whoever it wakes", name)
		}
	}
}

func TestPagerDutyHostileTextIsHarmless(t *testing.T) {
	fake := channeltest.NewPagerDuty(t)
	d := newPagerDuty(t, fake, false)
	for _, text := range channeltest.Hostile() {
		in := sample()
		in.Alert = channeltest.HostileAlert(text)
		if _, err := d.Send(t.Context(), in); err != nil {
			t.Fatalf("%q: %v", head(text), err)
		}
		last := fake.Incidents()[0]
		checkHarmless(t, "summary", last.Summary)
		checkHarmless(t, "source", last.Source)
		walk(last.Details, "", func(path, s string) { checkHarmless(t, path, s) })
	}
}

func TestPagerDutySettling(t *testing.T) {
	for _, resolve := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			fake := channeltest.NewPagerDuty(t)
			n := alerting.NewNotifier(newPagerDuty(t, fake, resolve), alerting.NotifierOptions{})
			a := nth(1)
			handle(t, n, a)
			handle(t, n, grown(a, 10))
			if in := fake.Incidents(); len(in) != 1 || in[0].Triggers != 2 {
				t.Fatalf("%+v", in)
			}
			if !resolve {
				// A person resolves it; that the bucket settles is no reason to page again.
				fake.Resolve(fake.Incidents()[0].DedupKey)
			}
			handle(t, n, settled(a, 12))
			if in := fake.Incidents(); len(in) != 1 || in[0].Open {
				t.Errorf("resolve = %t: %+v", resolve, in)
			}
		})
	}
}

func TestPagerDutyErrors(t *testing.T) {
	fake := channeltest.NewPagerDuty(t)
	d, err := alerting.NewPagerDuty(alerting.PagerDutyOptions{RoutingKey: secret.New(strings.Repeat("x", 32)), Client: fake.Client()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Send(t.Context(), sample())
	var setup *alerting.SetupError
	if !errors.As(err, &setup) || !strings.Contains(err.Error(), "routing_key_file") || strings.Contains(err.Error(), "xxxx") {
		t.Errorf("a wrong key: %v", err)
	}
	fake.AnswerNext(400, `{"status":"invalid event","message":"Event object is invalid","errors":["'payload.summary' is missing or blank"]}`)
	_, err = newPagerDuty(t, fake, false).Send(t.Context(), sample())
	if errors.As(err, new(*alerting.SetupError)) || err == nil || !strings.Contains(err.Error(), "'payload.summary' is missing or blank") {
		t.Errorf("a refused event: %v", err)
	}
	for want, o := range map[string]alerting.PagerDutyOptions{
		"32 characters": {RoutingKey: secret.New("short-key-value")},
		"us or eu":      {RoutingKey: secret.New(fake.RoutingKey), Region: "mars"},
	} {
		if _, err := alerting.NewPagerDuty(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "short-key-value") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestWebhookIsSigned(t *testing.T) {
	fake := channeltest.NewHook(t)
	key := secret.New("signing-key-1")
	d, err := alerting.NewWebhook(alerting.WebhookOptions{URL: secret.New(fake.URL() + "/in"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Send(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	got := fake.Taken()[0]
	ts, sig, ok := strings.Cut(got.Header.Get("Picket-Signature"), ",v1=")
	if !ok || sig != alerting.Sign(key, strings.TrimPrefix(ts, "t="), got.Body) {
		t.Errorf("signature %q", got.Header.Get("Picket-Signature"))
	}
	if alerting.Sign(key, strings.TrimPrefix(ts, "t="), append(got.Body, ' ')) == sig {
		t.Error("the signature does not depend on the body")
	}
	var body struct {
		Schema string `json:"schema"`
		Key    string `json:"key"`
		Alert  struct {
			ID string `json:"id"`
		} `json:"alert"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil || body.Schema != alerting.IncidentSchema || body.Alert.ID != sample().Alert.ID {
		t.Errorf("%v %+v", err, body)
	}
}

// A receiver may repeat the request in its answer, and moves now and then.
func TestWebhookAnswersKeepTheSecretAndWaitForAMend(t *testing.T) {
	for code, waits := range map[int]bool{302: true, 308: true, 401: true, 404: true, 405: true, 410: true, 400: false, 422: false} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://192.0.2.1"+r.RequestURI)
			w.WriteHeader(code)
			_, _ = w.Write([]byte("cannot handle " + r.Method + " " + r.RequestURI))
		}))
		d, err := alerting.NewWebhook(alerting.WebhookOptions{URL: secret.New(srv.URL + "/hook/T0KEN?key=VERYSECRET")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Send(t.Context(), sample())
		var setup *alerting.SetupError
		if err == nil || errors.As(err, &setup) != waits {
			t.Errorf("HTTP %d: %v, waits %t", code, err, waits)
		}
		if strings.Contains(err.Error(), "T0KEN") || strings.Contains(err.Error(), "VERYSECRET") {
			t.Errorf("HTTP %d: the error shows the URL: %v", code, err)
		}
		srv.Close()
	}
}
