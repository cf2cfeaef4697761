package role

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"picket/alerting"
	"picket/detect"
	"picket/ingest/kafka"
)

// Teller is the notify role for one destination: a consumer group of its own on
// the alerts topic, so that a destination that is down holds up nobody else.
// The one partition has one owner, who alone knows what was told.
type Teller struct {
	Loop
	Consumer    Consumer // made with Assign of this Teller
	Producer    Producer
	Destination alerting.Destination
	Options     alerting.NotifierOptions
	Deliveries  string // topic

	// Scan reads a topic from its earliest record to its present end.
	Scan func(ctx context.Context, topic string, fn func(kafka.Record) error) error

	notifier *alerting.Notifier
	next     int64               // offset of the next alert to tell
	unsaid   []alerting.Delivery // told, and not written down yet
}

// Run tells until the context ends.
func (t *Teller) Run(ctx context.Context) error {
	return t.run(ctx, t.Consumer, func(inHand context.Context, b kafka.Batch) error { return t.work(ctx, inHand, b) }, nil)
}

// Assign makes a notifier that knows what this destination was told before: by what was
// written down, and what this process told and could not write down while Kafka was away.
func (t *Teller) Assign(given []kafka.Assignment) (map[int32]int64, error) {
	t.notifier, t.next = nil, 0
	if len(given) == 0 {
		t.unsaid = nil // the new owner finds out by asking the destination
		return nil, nil
	}
	o := t.Options
	o.Clean = !slices.ContainsFunc(given, func(a kafka.Assignment) bool { return a.Moved || a.DeclaredEnd >= 0 })
	n := alerting.NewNotifier(t.Destination, o)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := t.Scan(ctx, t.Deliveries, func(r kafka.Record) error {
		var d alerting.Delivery
		if json.Unmarshal(r.Value, &d) == nil {
			n.Restore(d)
			// A write that seemed to fail may have got through.
			t.unsaid = slices.DeleteFunc(t.unsaid, func(u alerting.Delivery) bool {
				return u.Destination == d.Destination && u.AlertID == d.AlertID && u.Count == d.Count && u.Settled == d.Settled && u.Outcome == d.Outcome
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what %s was told before: %w", t.Destination.Name(), err)
	}
	for _, d := range t.unsaid {
		n.Restore(d)
	}
	t.notifier = n
	return nil, nil
}

// work tells the batch's alerts in order and writes down what became of each. A crash between
// the two leaves the batch declared, and is why the next Notifier begins unsure.
func (t *Teller) work(ctx, inHand context.Context, b kafka.Batch) error {
	ctx, stop := until(ctx, t.Consumer.Rebalancing())
	defer stop()
	for i := range b.Ranges {
		for rec := range b.Ranges[i].All() {
			if err := t.write(inHand); err != nil {
				return err
			}
			if rec.Offset < t.next {
				continue // told by the attempt before
			}
			if err := t.tell(ctx, rec); err != nil {
				return err
			}
			t.next = rec.Offset + 1
		}
	}
	return t.write(inHand)
}

func (t *Teller) tell(ctx context.Context, rec *kafka.Record) error {
	a, err := DecodeAlert(rec)
	if err != nil {
		t.Log.Error("alert record skipped: not written by this version of Picket", "offset", rec.Offset, "err", err)
		t.Metrics.Dead.WithLabelValues("alert").Inc()
		return nil
	}
	defer t.watch()()
	d, record, err := t.notifier.Handle(ctx, a)
	if err != nil {
		return err
	}
	if !record {
		return nil
	}
	t.unsaid = append(t.unsaid, d)
	return nil
}

func (t *Teller) write(ctx context.Context) error {
	if len(t.unsaid) == 0 {
		return nil
	}
	records := make([]kafka.Record, len(t.unsaid))
	for i, d := range t.unsaid {
		value, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode delivery of alert %s: %w", d.AlertID, err)
		}
		records[i] = kafka.Record{Topic: t.Deliveries, Partition: 0, Key: []byte(d.AlertID), Value: value}
	}
	if err := t.Producer.Produce(ctx, records); err != nil {
		return fmt.Errorf("write %d deliveries to %s: %w", len(t.unsaid), t.Deliveries, err)
	}
	t.unsaid = t.unsaid[:0]
	return nil
}

// watch keeps the loop's health current while the notifier waits for its
// destination; the function that it returns ends it.
func (t *Teller) watch() func() {
	n, done, gone := t.notifier, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if w := n.Waiting(); w != nil {
				t.Metrics.Parked.WithLabelValues(t.Name).Set(1)
				t.Health.NotReady(t.Name, fmt.Sprintf("since %s, attempt %d: %s", w.Since.Format(time.RFC3339), w.Attempts, w.Err))
			} else {
				t.Health.Tick(t.Name)
			}
		}
	}()
	return func() {
		close(done)
		<-gone
	}
}

// until is a context that also ends when moved is closed.
func until(ctx context.Context, moved <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if moved != nil {
		go func() {
			select {
			case <-moved:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// Archive copies one topic's records into ClickHouse: alerts, or deliveries.
type Archive[T any] struct {
	Loop
	Consumer Consumer
	Read     func(rec *kafka.Record) (item T, ok bool)  // false: it is skipped. Nothing of rec may be kept
	Write    func(ctx context.Context, items []T) error // may be called again with the same items
}

// MostArchived is how many items an Archive writes at once: an insert has its price, however few
// rows it brings, and a storm leaves thousands of alerts.
const MostArchived = 1000

// Run archives until the context ends.
func (a *Archive[T]) Run(ctx context.Context) error { return a.run(ctx, a.Consumer, a.work, nil) }

// work writes the items of each range, many at once: the same ones together however often the
// batch is done.
func (a *Archive[T]) work(ctx context.Context, b kafka.Batch) error {
	var items []T
	write := func() error {
		if len(items) == 0 {
			return nil
		}
		if err := a.Write(ctx, items); err != nil {
			return err
		}
		items = items[:0]
		a.Health.Tick(a.Name)
		return nil
	}
	for i := range b.Ranges {
		for rec := range b.Ranges[i].All() {
			if item, ok := a.Read(rec); ok {
				items = append(items, item)
			}
			if len(items) == MostArchived {
				if err := write(); err != nil {
					return err
				}
			}
		}
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// DecodeAlert reads a record of the alerts topic.
func DecodeAlert(rec *kafka.Record) (detect.Alert, error) {
	var a detect.Alert
	if err := json.Unmarshal(rec.Value, &a); err != nil {
		return a, fmt.Errorf("read alert: %w", err)
	}
	if a.Schema != detect.AlertSchema {
		return a, fmt.Errorf("read alert: schema %q, this build reads %q", a.Schema, detect.AlertSchema)
	}
	return a, nil
}
