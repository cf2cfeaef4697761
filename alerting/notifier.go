package alerting

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"picket/detect"
)

// NotifierOptions configure a Notifier; the zero value is ready.
type NotifierOptions struct {
	MinSeverity string        // milder alerts are skipped; "" tells all
	Quiet       time.Duration // an incident without a new bucket for this long is over; 1 h by default
	Remember    int           // incidents kept in memory; 10,000 by default
	// HoldSetup keeps an alert when the destination refuses every message until
	// a person acts (SetupError), and tries again once a minute. Without it such
	// an alert is a failed delivery.
	HoldSetup bool
	// Clean says that no other Notifier was in the middle of a send: the first one repeats nothing.
	Clean   bool
	Observe Observer
	Log     *slog.Logger
}

// Delays of a Notifier.
const (
	backoffFirst = time.Second
	backoffMax   = time.Minute
	// attemptTime bounds one Send, which may be several requests.
	attemptTime = 30 * time.Second
	// grace is what a Send in hand gets after the context ended.
	grace = 3 * time.Second
)

// Notifier decides what one destination is told. One goroutine owns it, and
// feeds it alerts in the order of picket.alerts; only Waiting may be called from
// others. It belongs to one assignment of the partition: after a rebalance make
// a new one and Restore it.
type Notifier struct {
	dest Destination
	opt  NotifierOptions
	min  int

	incidents map[string]*list.Element // of *incident
	order     *list.List               // most recently used first

	unsure  bool // the next send may repeat one that nobody recorded
	waiting atomic.Pointer[Wait]
}

// Wait says why a Notifier stands still.
type Wait struct {
	Since    time.Time
	Attempts int
	Err      string
}

// NewNotifier starts with no memory; Restore gives it one.
func NewNotifier(d Destination, o NotifierOptions) *Notifier {
	if o.Quiet <= 0 {
		o.Quiet = time.Hour
	}
	if o.Remember <= 0 {
		o.Remember = 10_000
	}
	if o.Observe == nil {
		o.Observe = func(string, string, time.Duration) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{dest: d, opt: o, incidents: map[string]*list.Element{}, order: list.New(), unsure: !o.Clean}
	if o.MinSeverity != "" {
		n.min = SeverityRank(o.MinSeverity)
	}
	return n
}

// Restore takes a delivery record read back from picket.deliveries, in order.
// Records of other destinations are ignored.
func (n *Notifier) Restore(d Delivery) {
	if d.Schema == DeliverySchema && d.Destination == n.dest.Name() {
		n.apply(d)
	}
}

// Waiting returns why the Notifier waits before another attempt, or nil.
func (n *Notifier) Waiting() *Wait { return n.waiting.Load() }

// Handle tells an alert, or finds that there is nothing to tell. It returns
// when the alert is done with: the caller writes the Delivery if record is true,
// and commits. While the destination is down it tries for ever, so that order
// is kept and nothing is lost. An error means that ctx ended first: the alert is
// not done, and must not be committed. A send that succeeds as ctx ends is
// returned as sent.
func (n *Notifier) Handle(ctx context.Context, a detect.Alert) (d Delivery, record bool, err error) {
	d = newDelivery(n.dest.Name(), a)
	if reason, known := n.reason(a); reason != "" {
		d.Outcome, d.Note, d.At = Skipped, reason, time.Now().UTC()
		n.opt.Observe(EventSkipped, d.Destination, 0)
		if known {
			n.apply(d)
		}
		return d, known, nil
	}
	d, err = n.deliver(ctx, n.incident(a), d)
	if err != nil {
		return Delivery{}, false, err
	}
	n.apply(d)
	return d, true, nil
}

// reason is why an alert is not told, or "". A new figure that is only
// remembered, and so recorded, has known set.
func (n *Notifier) reason(a detect.Alert) (reason string, known bool) {
	if a.Mode != "alert" {
		return "mode " + brief(a.Mode, 20) + " is not told", false
	}
	if SeverityRank(a.Severity) < n.min {
		return "below the severity of this destination", false
	}
	s := n.get(IncidentKey(a), a.BucketStart)
	if s == nil {
		return "", false
	}
	was := s.find(a.ID)
	switch {
	case was == nil:
		return "", false
	case a.Count <= was.count && (was.settled || !a.Settled) && SeverityRank(a.Severity) <= SeverityRank(was.severity):
		return "told before", false
	case was.told && s.told.AlertID != a.ID:
		return "the incident's message shows a newer alert", true
	}
	return "", false
}

// incident describes what is to be told, without changing the state.
func (n *Notifier) incident(a detect.Alert) Incident {
	i := Incident{Key: IncidentKey(a), Alert: a, Since: a.First, Alerts: 1, Total: a.Count, Unsure: n.unsure}
	s := n.get(i.Key, a.BucketStart)
	if s == nil {
		return i
	}
	next := *s
	next.recent = append([]seen(nil), s.recent...)
	next.note(newDelivery("", a))
	i.Since, i.Alerts, i.Total = next.since, next.alerts, next.total()
	i.Told, i.Thread, i.Update = s.told, s.thread, s.told.AlertID != ""
	return i
}

func (n *Notifier) deliver(ctx context.Context, i Incident, d Delivery) (Delivery, error) {
	defer n.waiting.Store(nil)
	began := time.Now()
	delay := backoffFirst
	for {
		if err := ctx.Err(); err != nil {
			return d, fmt.Errorf("tell %s of alert %s: %w", d.Destination, d.AlertID, err)
		}
		d.Attempts++
		start := time.Now()
		got, err := n.send(ctx, i)
		took := time.Since(start)
		d.At = time.Now().UTC()
		n.unsure = false
		if err == nil {
			d.Update, d.Thread, d.ID, d.Note, d.Outcome = i.Update, got.Thread, got.ID, got.Note, Sent
			event := EventSent
			if got.Skipped {
				d.Outcome, event, took = Skipped, EventSkipped, 0
			}
			n.opt.Observe(event, d.Destination, took)
			return d, nil
		}
		after, again := n.again(err, &i)
		if !again {
			d.Outcome, d.Update, d.Error = Failed, i.Update, clip(err.Error(), 1000)
			n.opt.Observe(EventFailed, d.Destination, took)
			n.opt.Log.ErrorContext(ctx, "alert refused", "destination", d.Destination, "alert", d.AlertID, "err", err)
			return d, nil
		}
		n.unsure = i.Unsure // should this call be given up
		n.opt.Observe(EventRetried, d.Destination, took)
		after = max(after, delay)
		// Up to a fifth more, so that destinations that failed together do not return together.
		after += rand.N(after/5 + 1)
		delay = min(2*delay, backoffMax)
		n.waiting.Store(&Wait{Since: began, Attempts: d.Attempts, Err: err.Error()})
		n.opt.Log.WarnContext(ctx, "alert not told yet", "destination", d.Destination, "alert", d.AlertID,
			"attempt", d.Attempts, "again_in", after.Round(time.Millisecond), "err", err)
		sleep(ctx, after)
	}
}

// again tells whether the error leaves hope, and how long to wait at least.
func (n *Notifier) again(err error, i *Incident) (time.Duration, bool) {
	if r, ok := retryable(err); ok {
		i.Unsure = i.Unsure || r.Unsure
		return r.After, true
	}
	var setup *SetupError
	return backoffMax, n.opt.HoldSetup && errors.As(err, &setup)
}

// send gives a Send in hand time to end after ctx did: its outcome is worth knowing.
func (n *Notifier) send(ctx context.Context, i Incident) (Receipt, error) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-work.Done():
		}
	})
	defer stop()
	return n.dest.Send(work, i)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// get returns the open incident that a bucket belongs to, or nil.
func (n *Notifier) get(key string, bucket time.Time) *incident {
	e := n.incidents[key]
	if e == nil {
		return nil
	}
	s := e.Value.(*incident)
	if bucket.After(s.end.Add(n.opt.Quiet)) {
		return nil
	}
	return s
}

func (n *Notifier) apply(d Delivery) {
	s := n.get(d.Incident, d.BucketStart)
	if s == nil {
		if e := n.incidents[d.Incident]; e != nil {
			n.order.Remove(e)
		}
		s = &incident{key: d.Incident}
		n.incidents[d.Incident] = n.order.PushFront(s)
	}
	n.order.MoveToFront(n.incidents[d.Incident])
	s.apply(d)
	if n.order.Len() > n.opt.Remember {
		last := n.order.Back()
		delete(n.incidents, n.order.Remove(last).(*incident).key)
	}
}
