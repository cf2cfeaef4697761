package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"picket/alerting"
	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest/kafka"
	"picket/store"
)

// unhurried is below how many events one goroutine is enough for a batch of the store.
const unhurried = 25_000

type runner = func(context.Context) error

// How many partitions a batch is made of while a role is behind, of which two can be worked on at
// once. An insert of 110 columns costs as much as some thousand rows, so a store's ranges are large.
const (
	storeRanges  = 2
	detectRanges = 4
)

// pace is how far apart the batches of a role begin on the way to an alert: a declaration, the
// requests of all partitions, and markers cost as much for ten events as for a thousand.
const pace = 10 * time.Millisecond

// Signals gain less from large ranges than inserts do, and their batches take memory beside those
// of the store. What one rule says of one group is in one record, which the topic has to take: 8 MiB
// are enough for 25,000 events.
const (
	detectRows   = 25_000
	detectBytes  = 16 << 20
	signalsBytes = 16 << 20
)

func (a *App) storeRole(ctx context.Context) ([]runner, error) {
	p, err := a.producer()
	if err != nil {
		return nil, err
	}
	c, err := a.consumer(0, a.cfg.Kafka.Topics.Events, role.Store, func(o *kafka.ConsumerOptions) {
		// An insert costs the engine about the same for ten rows as for a thousand.
		o.Linger, o.Pace, o.MaxRanges, o.PrefetchBytes = o.MaxWait, o.MaxWait*3/2, storeRanges, eventsAhead
	})
	if err != nil {
		return nil, err
	}
	s := &role.Storer{
		Loop: a.loop(role.Store), Reader: a.reader(), Consumer: c, Producer: p,
		Dead: a.cfg.Kafka.Topics.Dead, Generation: c.Generation, Unhurried: unhurried,
	}
	s.Lag, s.Spent = c.Lag, c.Stats().Spent
	run, err := a.withStore(ctx, s.Loop, func(ctx context.Context, db *store.DB) error {
		s.Probe = db.Ping
		s.Writer = store.NewWriter(db, store.WriterOptions{Instance: a.cfg.Instance})
		return s.Run(ctx)
	})
	return []runner{run}, err
}

// withStore opens ClickHouse and then runs. What only a person can mend is an error at
// once; a ClickHouse that cannot be reached parks the role until it can.
func (a *App) withStore(ctx context.Context, l role.Loop, run func(context.Context, *store.DB) error) (runner, error) {
	open := func(ctx context.Context) (*store.DB, error) {
		ctx, cancel := context.WithTimeout(ctx, openTime)
		defer cancel()
		return a.openStore(ctx)
	}
	db, err := open(ctx)
	var setup *store.ConfigError
	if errors.As(err, &setup) {
		return nil, err
	}
	return func(ctx context.Context) error {
		if db == nil {
			l.Wait(ctx, err, func() (err error) {
				db, err = open(ctx)
				return err
			})
		}
		if db == nil {
			return nil // stopped before it came
		}
		defer db.Close()
		return run(ctx, db)
	}, nil
}

// archiveRows bounds a batch of alerts or deliveries, each of which is kilobytes when it is decoded.
const archiveRows = 5 * role.MostArchived

// tellRows bounds a batch of what a destination is told. A restart in the middle of one tells what it does not
// remember again, so more is remembered than a batch has.
const tellRows = 1000

// freshAlerts is how old an alert may be that a destination is told which was told nothing so far.
const freshAlerts = time.Hour

func (a *App) detectRole(ctx context.Context) ([]runner, error) {
	p, err := a.producer()
	if err != nil {
		return nil, err
	}
	topics := a.cfg.Kafka.Topics
	sources, targets, err := a.partitions(ctx, topics.Events, topics.Signals)
	if err != nil {
		return nil, err
	}
	c, err := a.consumer(0, topics.Events, role.Detect, func(o *kafka.ConsumerOptions) {
		o.MaxRows, o.MaxBytes = min(o.MaxRows, detectRows), min(o.MaxBytes, detectBytes)
		o.MaxRanges, o.Pace, o.PrefetchBytes = detectRanges, pace, eventsAhead
	})
	if err != nil {
		return nil, err
	}
	d := &role.Detector{
		Loop: a.loop(role.Detect), Reader: a.reader(), Consumer: c, Producer: p, Rules: a.opt.Rules,
		Signals: topics.Signals, Sources: sources, Targets: targets, Ends: c.Ends,
		MatchesPerEvent: a.cfg.Limits.MatchesPerEvent,
	}
	d.Lag, d.Spent = c.Lag, c.Stats().Spent
	a.reload = append(a.reload, d.Reload)
	return []runner{d.Run}, nil
}

func (a *App) partitions(ctx context.Context, events, signals string) (int32, int32, error) {
	t, err := kafka.NewTopics(ctx, a.kafka)
	if err != nil {
		return 0, 0, err
	}
	defer t.Close()
	n, err := t.Partitions(ctx, events)
	if err != nil {
		return 0, 0, err
	}
	m, err := t.Partitions(ctx, signals)
	return int32(n), int32(m), err
}

func (a *App) correlateRole() ([]runner, error) {
	p, err := a.producer()
	if err != nil {
		return nil, err
	}
	topics := a.cfg.Kafka.Topics
	r := &role.Correlator{
		Loop: a.loop(role.Correlate), Producer: p, Rules: a.opt.Rules,
		Hasher: func() detect.Hasher { return a.opt.Keys.Hasher() },
		Alerts: topics.Alerts, Lateness: a.cfg.Lateness,
		Bounds: detect.WindowOptions{
			MaxGroups: a.cfg.Limits.WindowGroups, MaxHeld: a.cfg.Limits.WindowPoints, MaxEvidence: a.cfg.Limits.WindowEvidence,
		},
	}
	c, err := a.consumer(1, topics.Signals, role.Correlate, func(o *kafka.ConsumerOptions) {
		o.Meta, o.OnAssign, o.Pace, o.MaxBytes = r.Meta, r.Assign, pace, min(o.MaxBytes, signalsBytes)
	})
	if err != nil {
		return nil, err
	}
	r.Consumer, r.Lag, r.Spent = c, c.Lag, c.Stats().Spent
	r.OffsetsAt = func(ctx context.Context, t time.Time) (map[int32]int64, error) {
		return c.OffsetsAt(ctx, topics.Signals, t)
	}
	a.reload = append(a.reload, r.Reload)
	return []runner{r.Run}, nil
}

// notifyRole is one consumer group for each destination, and ClickHouse is two of them.
func (a *App) notifyRole(ctx context.Context, tell []alerting.Destination) ([]runner, error) {
	var runs []runner
	for _, d := range tell {
		run, err := a.teller(d)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	alerts, err := archive(ctx, a, 2, "alerts", a.cfg.Kafka.Topics.Alerts, func(rec *kafka.Record) (detect.Alert, bool) {
		al, err := role.DecodeAlert(rec)
		if err != nil {
			a.skip("alert", rec, err)
		}
		return al, err == nil
	}, func(ctx context.Context, db *store.DB, alerts []detect.Alert) error {
		return store.NewAlertWriter(db).Write(ctx, alerts...)
	})
	if err != nil {
		return nil, err
	}
	deliveries, err := archive(ctx, a, 3, "deliveries", a.cfg.Kafka.Topics.Deliveries, func(rec *kafka.Record) (out store.Delivery, ok bool) {
		var d alerting.Delivery
		err := json.Unmarshal(rec.Value, &d)
		if ok = err == nil && d.Schema == alerting.DeliverySchema; !ok {
			a.skip("delivery", rec, err)
		}
		return store.Delivery{
			Tenant: d.Tenant, AlertID: d.AlertID, Destination: d.Destination, Outcome: d.Outcome, At: d.At, Thread: d.Thread, Error: d.Error,
		}, ok
	}, func(ctx context.Context, db *store.DB, ds []store.Delivery) error {
		return store.NewAlertWriter(db).WriteDeliveries(ctx, ds...)
	})
	return append(runs, alerts, deliveries), err
}

func (a *App) skip(what string, rec *kafka.Record, err error) {
	a.metrics.Dead.WithLabelValues(what).Inc()
	a.log.Error(what+" record skipped: not written by this version of Picket", "topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "err", err)
}

func (a *App) teller(d alerting.Destination) (runner, error) {
	p, err := a.producer()
	if err != nil {
		return nil, err
	}
	for _, outcome := range []string{alerting.EventSent, alerting.EventFailed, alerting.EventRetried, alerting.EventSkipped} {
		a.metrics.Told.WithLabelValues(d.Name(), outcome)
	}
	t := &role.Teller{
		Loop: a.loop("notify " + d.Name()), Producer: p, Destination: d, Deliveries: a.cfg.Kafka.Topics.Deliveries,
		Options: alerting.NotifierOptions{
			MinSeverity: a.cfg.Alerting.MinSeverity, Remember: 10 * tellRows, HoldSetup: true, Log: a.log,
			Observe: func(event, dest string, took time.Duration) {
				a.metrics.Told.WithLabelValues(dest, event).Inc()
				if took > 0 {
					a.metrics.TellTime.WithLabelValues(dest).Observe(took.Seconds())
				}
			},
		},
		Scan: func(ctx context.Context, topic string, fn func(kafka.Record) error) error {
			return kafka.Scan(ctx, a.kafka, topic, fn)
		},
	}
	c, err := a.consumer(2, a.cfg.Kafka.Topics.Alerts, "notify."+d.Name(), func(o *kafka.ConsumerOptions) {
		o.OnAssign, o.FromTime = t.Assign, time.Now().Add(-freshAlerts)
		o.MaxRows = min(o.MaxRows, tellRows)
	})
	if err != nil {
		return nil, err
	}
	t.Consumer, t.Lag = c, c.Lag
	return t.Run, nil
}

// archive copies a topic's records into ClickHouse.
func archive[T any](
	ctx context.Context, a *App, stage int, what, topic string,
	read func(*kafka.Record) (T, bool), write func(context.Context, *store.DB, []T) error,
) (runner, error) {
	c, err := a.consumer(stage, topic, "notify.clickhouse."+what, func(o *kafka.ConsumerOptions) { o.MaxRows = min(o.MaxRows, archiveRows) })
	if err != nil {
		return nil, err
	}
	l := a.loop("notify clickhouse " + what)
	l.Lag = c.Lag
	return a.withStore(ctx, l, func(ctx context.Context, db *store.DB) error {
		l.Probe = db.Ping
		arch := &role.Archive[T]{Loop: l, Consumer: c, Read: read, Write: func(ctx context.Context, items []T) error {
			if err := write(ctx, db, items); err != nil {
				return fmt.Errorf("store %s: %w", what, err)
			}
			return nil
		}}
		return arch.Run(ctx)
	})
}
