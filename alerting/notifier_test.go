package alerting_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picket/alerting"
	"picket/alerting/channeltest"
	"picket/detect"
	"picket/detect/secret"
)

// nth is an alert of its own incident.
func nth(n int) detect.Alert {
	a := channeltest.SampleAlert()
	a.ID = fmt.Sprintf("alert%d", n)
	a.GroupID = fmt.Sprintf("group%d", n)
	a.Title = fmt.Sprintf("number %d", n)
	return a
}

func settled(a detect.Alert, count uint64) detect.Alert {
	a.Count, a.Settled = count, true
	return a
}

func grown(a detect.Alert, count uint64) detect.Alert {
	a.Count = count
	return a
}

func handle(t *testing.T, n *alerting.Notifier, a detect.Alert) alerting.Delivery {
	t.Helper()
	d, _, err := n.Handle(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOneThreadPerIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		a := nth(1)
		for _, step := range []struct {
			alert   detect.Alert
			outcome string
			edits   int
			replies int
		}{
			{a, alerting.Sent, 0, 0},
			{a, alerting.Skipped, 0, 0}, // a replay
			{grown(a, 10), alerting.Sent, 1, 0},
			{grown(a, 20), alerting.Sent, 2, 0},
			{grown(a, 10), alerting.Skipped, 2, 0},
			{settled(a, 23), alerting.Sent, 3, 1},
			{settled(a, 23), alerting.Skipped, 3, 1},
		} {
			if d := handle(t, n, step.alert); d.Outcome != step.outcome {
				t.Fatalf("count %d settled %t: %s (%s), want %s", step.alert.Count, step.alert.Settled, d.Outcome, d.Note, step.outcome)
			}
			roots := fake.Roots()
			if len(roots) != 1 || roots[0].Edits != step.edits || len(fake.Messages())-1 != step.replies {
				t.Fatalf("count %d: %d roots, %d edits, %d replies", step.alert.Count, len(roots), roots[0].Edits, len(fake.Messages())-1)
			}
		}
		if !strings.Contains(string(fake.Roots()[0].Blocks), "23 events (final)") {
			t.Errorf("the message does not show the final count: %s", fake.Roots()[0].Blocks)
		}
	})
}

func TestBurstAcrossBucketsIsOneIncidentUntilQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		a := nth(1)
		shifted := func(id string, by time.Duration) detect.Alert {
			b := a
			b.ID = id
			for _, t := range []*time.Time{&b.BucketStart, &b.BucketEnd, &b.First, &b.Last, &b.FiredAt} {
				*t = t.Add(by)
			}
			return b
		}
		handle(t, n, a)
		handle(t, n, shifted("second", 30*time.Minute))
		if len(fake.Roots()) != 1 || !strings.Contains(string(fake.Roots()[0].Blocks), "alert 2 of this incident, 10 events in all") {
			t.Fatalf("the next bucket is not in the same thread: %+v", fake.Roots())
		}
		if d := handle(t, n, settled(a, 7)); d.Outcome != alerting.Skipped {
			t.Errorf("the end of an older bucket took over the message: %+v", d)
		}
		handle(t, n, shifted("later", 3*time.Hour))
		if len(fake.Roots()) != 2 {
			t.Errorf("%d threads: after an hour of quiet another incident begins", len(fake.Roots()))
		}
	})
}

func TestWhatIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{MinSeverity: "high"})
		for i, change := range []func(*detect.Alert){
			func(a *detect.Alert) { a.Mode = "shadow" },
			func(a *detect.Alert) { a.Mode = "signal" },
			func(a *detect.Alert) { a.Severity = "medium" },
		} {
			a := nth(i)
			change(&a)
			if d := handle(t, n, a); d.Outcome != alerting.Skipped || d.Note == "" {
				t.Errorf("%s %s: %+v", a.Mode, a.Severity, d)
			}
		}
		if fake.Requests() != 0 {
			t.Errorf("%d requests", fake.Requests())
		}
	})
}

func TestSeverityRiseIsShownInTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		a := nth(1)
		a.Severity = "medium"
		handle(t, n, a)
		a.Severity = "critical"
		handle(t, n, a)
		last := fake.Messages()[len(fake.Messages())-1]
		if !last.Broadcast || !strings.Contains(last.Text, "from medium to critical") {
			t.Errorf("%+v", last)
		}
	})
}

// outages are the ways in which a destination is away; each loses nothing, and
// tells nothing twice.
func TestOutageThenCatchUpInOrder(t *testing.T) {
	outages := map[string]func(*channeltest.Slack){
		"503":               func(s *channeltest.Slack) { s.FailNext(7, 503) },
		"rate limited":      func(s *channeltest.Slack) { s.FailNext(5, 429) },
		"internal_error":    func(s *channeltest.Slack) { s.RefuseNext("internal_error") },
		"no answer":         func(s *channeltest.Slack) { s.HangNext(3) },
		"persisted, no ack": func(s *channeltest.Slack) { s.AcceptButDrop(1) },
		"persisted, then down": func(s *channeltest.Slack) {
			s.AcceptButDrop(1)
			s.FailNext(4, 502)
		},
		"hour long": func(s *channeltest.Slack) {
			s.SetDown(true)
			time.AfterFunc(time.Hour, func() { s.SetDown(false) })
		},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := channeltest.NewSlack(t)
				counts := map[string]int{}
				n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{
					Observe: func(event, _ string, _ time.Duration) { counts[event]++ },
				})
				for i := range 10 {
					if i == 3 {
						outage(fake)
					}
					handle(t, n, nth(i))
				}
				roots := fake.Roots()
				if len(roots) != 10 {
					t.Fatalf("%d messages for 10 alerts", len(roots))
				}
				for i, m := range roots {
					if !strings.Contains(m.Text, fmt.Sprintf("number %d ", i)) {
						t.Errorf("message %d is %q", i, m.Text)
					}
					if i > 0 && m.Posted.Sub(roots[i-1].Posted) < time.Second {
						t.Errorf("messages %d and %d are %v apart", i-1, i, m.Posted.Sub(roots[i-1].Posted))
					}
				}
				if counts[alerting.EventSent] != 10 || counts[alerting.EventRetried] == 0 {
					t.Errorf("observed %v", counts)
				}
			})
		})
	}
}

func TestRepliesAreNotToldTwiceEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		handle(t, n, nth(1))
		// The edit passes and the reply loses its answer.
		fake.AnswerNext(200, `{"ok":true,"channel":"C0PICKET01","ts":"1.0"}`)
		fake.AcceptButDrop(1)
		handle(t, n, settled(nth(1), 9))
		if got := len(fake.Messages()); got != 2 {
			t.Errorf("%d messages, want the root and one reply", got)
		}
	})
}

func TestWithoutHistoryUnsureIsToldAgainRatherThanLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		fake.WithoutHistory()
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		fake.FailNext(1, 503) // may have arrived, for all that is known
		d := handle(t, n, nth(1))
		if d.Outcome != alerting.Sent || !strings.Contains(d.Note, "channels:history") {
			t.Errorf("%+v: the note should name the scope that is missing", d)
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		var log []alerting.Delivery
		a := nth(1)
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		for _, x := range []detect.Alert{a, grown(a, 10), nth(2)} {
			d, record, err := n.Handle(t.Context(), x)
			if err != nil || !record {
				t.Fatalf("%+v %t %v", d, record, err)
			}
			// As JSON, the way they come back from the topic.
			raw, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			var back alerting.Delivery
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			log = append(log, back)
		}
		// Killed after the send of alert 3 and before its record was written.
		handle(t, n, nth(3))

		n = alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		for _, d := range log {
			n.Restore(d)
		}
		before := len(fake.Messages())
		for _, x := range []detect.Alert{a, grown(a, 10), nth(2), nth(3), settled(a, 12)} {
			handle(t, n, x)
		}
		if roots := fake.Roots(); len(roots) != 3 || len(fake.Messages()) != before+1 {
			t.Errorf("%d threads and %d messages; want 3 threads, and one more message (the settled reply)", len(roots), len(fake.Messages()))
		}
	})
}

func TestSendInHandIsFinishedAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		slow := &stub{send: func(sendCtx context.Context, _ alerting.Incident) (alerting.Receipt, error) {
			cancel()
			select {
			case <-time.After(2 * time.Second):
				return alerting.Receipt{Thread: "t"}, nil
			case <-sendCtx.Done():
				return alerting.Receipt{}, &alerting.RetryError{Unsure: true, Err: sendCtx.Err()}
			}
		}}
		n := alerting.NewNotifier(slow, alerting.NotifierOptions{})
		d, record, err := n.Handle(ctx, nth(1))
		if err != nil || !record || d.Outcome != alerting.Sent {
			t.Errorf("%+v %t %v", d, record, err)
		}
		if _, _, err := n.Handle(ctx, nth(2)); !errors.Is(err, context.Canceled) || slow.calls != 1 {
			t.Errorf("err = %v after %d sends: nothing begins after the end", err, slow.calls)
		}
	})
}

func TestShutdownDoesNotWaitForAHangingService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		fake.HangNext(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		start := time.Now()
		_, record, err := n.Handle(ctx, nth(1))
		if !errors.Is(err, context.DeadlineExceeded) || record {
			t.Errorf("record = %t, err = %v", record, err)
		}
		if took := time.Since(start) - time.Second; took > 4*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

func TestSetupErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		fake.WithoutHistory()
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{})
		handle(t, n, nth(0))
		fake.RefuseNext("not_in_channel")
		d := handle(t, n, nth(1))
		if d.Outcome != alerting.Failed || !strings.Contains(d.Error, "/invite") {
			t.Errorf("%+v", d)
		}
		held := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{HoldSetup: true})
		for range 3 {
			fake.RefuseNext("not_in_channel")
		}
		time.AfterFunc(10*time.Second, func() {
			if w := held.Waiting(); w == nil || !strings.Contains(w.Err, "/invite") {
				t.Errorf("Waiting() = %+v, want the reason", w)
			}
		})
		if d := handle(t, held, nth(2)); d.Outcome != alerting.Sent || d.Attempts < 2 {
			t.Errorf("%+v: held until it can be sent", d)
		}
		if held.Waiting() != nil {
			t.Error("waits after the send")
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		d := &stub{send: func(context.Context, alerting.Incident) (alerting.Receipt, error) {
			told++
			return alerting.Receipt{Thread: "t"}, nil
		}}
		n := alerting.NewNotifier(d, alerting.NotifierOptions{Remember: 100})
		for i := range 1000 {
			handle(t, n, nth(i))
		}
		handle(t, n, nth(999)) // remembered
		handle(t, n, nth(0))   // forgotten: told again rather than lost
		if told != 1001 {
			t.Errorf("told %d, want 1001", told)
		}
	})
}

func TestTokenIsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := channeltest.NewSlack(t)
		var log bytes.Buffer
		n := alerting.NewNotifier(newSlack(t, fake), alerting.NotifierOptions{Log: slog.New(slog.NewJSONHandler(&log, nil))})
		fake.FailNext(1, 503)
		fake.HangNext(1)
		fake.AnswerNext(200, "<html>proxy says "+fake.Token+"</html>")
		fake.AnswerNext(200, `{"ok":false,"error":"strange `+fake.Token+`"}`)
		d := handle(t, n, nth(1))
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		secret := secret.New(fake.Token)
		printed := fmt.Sprintf("%v %+v %#v %s %q %x", secret, secret, &secret, secret, secret, secret)
		all := log.String() + string(raw) + printed
		if log.Len() == 0 || strings.Contains(all, fake.Token) {
			t.Errorf("the token is in: %s", strings.ReplaceAll(all, fake.Token, "<HERE>"))
		}
	})
}

type stub struct {
	calls int
	send  func(context.Context, alerting.Incident) (alerting.Receipt, error)
}

func (s *stub) Name() string { return "stub" }

func (s *stub) Send(ctx context.Context, i alerting.Incident) (alerting.Receipt, error) {
	s.calls++
	return s.send(ctx, i)
}
