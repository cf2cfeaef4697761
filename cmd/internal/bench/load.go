package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"picket/detect"
	"picket/ingest/kafka"
)

const (
	eventsTopic = "mcp.events"
	alertsTopic = "picket.alerts"
	parts       = 6
	// batchOf is how many events of a partition a producer sends at once.
	batchOf = 500
	// spread is how much time the backlog's events are of, where they were all appended just now.
	// It is less than the lateness.
	spread = 10 * time.Minute
)

// preload fills the events topic, each partition in order of time. It returns how large the
// events are on average.
func (w *world) preload(ctx context.Context, n int) (size float64, err error) {
	p, err := kafka.NewProducer(w.kafkaConfig(), kafka.ProducerOptions{Compression: w.opt.compression})
	if err != nil {
		return 0, err
	}
	defer p.Close()
	over, write := spread, p.Produce
	if w.opt.over > 0 {
		aged, bad := w.aged(ctx)
		if bad != nil {
			return 0, bad
		}
		defer func() { err = errors.Join(err, aged.done(ctx)) }()
		over, write = w.opt.over, aged.append
	}
	begin := time.Now().Add(-over)
	sizes := make([]int, parts)
	g, all := errgroup.WithContext(ctx)
	for part := range parts {
		g.Go(func() error {
			t := newTraffic(uint64(part+1), w.opt.attacks)
			mine := n / parts
			if part < n%parts {
				mine++
			}
			for done := 0; done < mine; {
				records := make([]kafka.Record, 0, batchOf)
				for ; done < mine && len(records) < batchOf; done++ {
					at := begin.Add(time.Duration(float64(done) / float64(mine) * float64(over)))
					value := t.event(make([]byte, 0, 1024), at)
					sizes[part] += len(value)
					records = append(records, kafka.Record{Topic: eventsTopic, Partition: int32(part), Value: value, Append: at})
				}
				if err := write(all, records); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, fmt.Errorf("preload %d events: %w", n, err)
	}
	sum := 0
	for _, s := range sizes {
		sum += s
	}
	return float64(sum) / float64(max(n, 1)), nil
}

// steady sends events at a rate for a while, and among them probes: events that fire a rule by
// themselves. It returns how many of each were sent, and how long it really took.
func (w *world) steady(ctx context.Context, rate int, during time.Duration) (sent, probes int, took time.Duration, err error) {
	p, err := kafka.NewProducer(w.kafkaConfig(), kafka.ProducerOptions{Compression: w.opt.compression})
	if err != nil {
		return 0, 0, 0, err
	}
	defer p.Close()
	const every = 20 * time.Millisecond
	t := newTraffic(99, w.opt.attacks)
	tick := time.NewTicker(every)
	defer tick.Stop()
	began := time.Now()
	for round := 0; time.Since(began) < during; round++ {
		// As many as are due by now, so that a slow round is made up for.
		due := int(time.Since(began).Seconds()*float64(rate)) - sent
		records := make([]kafka.Record, 0, due+1)
		for i := range due {
			records = append(records, kafka.Record{Topic: eventsTopic, Partition: int32(i % parts), Value: t.event(make([]byte, 0, 1024), time.Now())})
		}
		records = append(records, kafka.Record{Topic: eventsTopic, Partition: int32(round % parts), Value: t.probe(make([]byte, 0, 1024), time.Now())})
		if err := p.Produce(ctx, records); err != nil {
			return sent, probes, time.Since(began), fmt.Errorf("send %d events: %w", len(records), err)
		}
		sent, probes = sent+due, probes+1
		select {
		case <-ctx.Done():
			return sent, probes, time.Since(began), ctx.Err()
		case <-tick.C:
		}
	}
	return sent, probes, time.Since(began), nil
}

// alertTimes are how long it took from the append of each probe to that of the alert that it
// fired, by the broker's clock.
func (w *world) alertTimes(ctx context.Context, since time.Time) ([]time.Duration, error) {
	seen := map[string]bool{}
	var out []time.Duration
	err := kafka.Scan(ctx, w.kafkaConfig(), alertsTopic, func(r kafka.Record) error {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			return fmt.Errorf("read an alert: %w", err)
		}
		if a.Rule.ID == "IN-06" && !a.FiredAt.Before(since) && !seen[a.ID] {
			seen[a.ID] = true
			out = append(out, r.Append.Sub(a.FiredAt))
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// queryable sends one event at a time and measures when ClickHouse finds it.
func (w *world) queryable(ctx context.Context, n int) ([]time.Duration, error) {
	p, err := kafka.NewProducer(w.kafkaConfig(), kafka.ProducerOptions{Compression: w.opt.compression})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	t := newTraffic(98, 0)
	var out []time.Duration
	for i := range n {
		value := t.event(make([]byte, 0, 1024), time.Now())
		var ev struct{ ID string }
		if err := json.Unmarshal(value, &ev); err != nil {
			return nil, fmt.Errorf("read an event: %w", err)
		}
		began := time.Now()
		if err := p.Produce(ctx, []kafka.Record{{Topic: eventsTopic, Partition: int32(i % parts), Value: value}}); err != nil {
			return nil, err
		}
		if err := w.until(ctx, 30*time.Second, soon, "the event can be queried", w.run, func() (bool, error) {
			got, err := get(ctx, w.clickhouse+"/?query=SELECT+count()+FROM+picket.events+WHERE+id='"+ev.ID+"'+AND+observed>now()-600")
			return err == nil && strings.TrimSpace(got) == "1", err
		}); err != nil {
			return nil, err
		}
		out = append(out, time.Since(began))
	}
	slices.Sort(out)
	return out, nil
}

func (w *world) kafkaConfig() kafka.Config {
	return kafka.Config{Brokers: []string{w.broker}, ClientID: "bench", DialTimeout: 10 * time.Second}
}

// quantile is of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
