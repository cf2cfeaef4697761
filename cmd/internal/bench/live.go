package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// livePart measures how long an alert takes under a steady load, and when an event can be
// queried under a low one.
func (w *world) livePart(ctx context.Context, r *report) error {
	times, err := w.queryable(ctx, 20)
	if err != nil {
		return err
	}
	r.QueryP50, r.QueryMax = quantile(times, 0.5).Seconds(), times[len(times)-1].Seconds()
	fmt.Printf("an event can be queried after %.2f s (median of %d; at most %.2f s)\n", r.QueryP50, len(times), r.QueryMax)

	before, err := w.usage()
	if err != nil {
		return err
	}
	metrics, err := w.metrics(ctx)
	if err != nil {
		return err
	}
	profiling, stop := context.WithCancel(ctx)
	defer stop()
	profiled := make(chan error, 1)
	go func() { profiled <- w.profile(profiling, "live-") }()
	began := time.Now()
	sent, probes, took, err := w.steady(ctx, w.opt.rate, w.opt.live)
	if err != nil {
		return err
	}
	after, err := w.usage()
	if err != nil {
		return err
	}
	now, err := w.metrics(ctx)
	if err != nil {
		return err
	}
	stop()
	if err := <-profiled; err != nil {
		return fmt.Errorf("take a profile: %w", err)
	}
	var alerts []time.Duration
	err = w.until(ctx, 3*time.Minute, time.Second, "every probe has an alert", w.run, func() (bool, error) {
		alerts, err = w.alertTimes(ctx, began.Add(-time.Second))
		return len(alerts) >= probes, err
	})
	if err != nil {
		return fmt.Errorf("%d probes, %d alerts: %w", probes, len(alerts), err)
	}
	r.LiveRate = float64(sent) / took.Seconds()
	r.Alerts = len(alerts)
	r.AlertP50, r.AlertP99 = ms(quantile(alerts, 0.5)), ms(quantile(alerts, 0.99))
	r.AlertMax = ms(alerts[len(alerts)-1])
	u := after.since(before)
	r.LiveParts, r.LiveRuns = map[string]float64{}, map[string]float64{}
	for name, t := range u.procs {
		r.LiveParts[name] = t.Seconds() / took.Seconds()
	}
	for _, role := range strings.Split(r.Roles, ",") {
		of := `role="` + role + `"`
		r.LiveRuns[role] = (now.sum("picket_batches_total", of) - metrics.sum("picket_batches_total", of)) / took.Seconds()
	}
	r.LiveCores = u.sum().Seconds() / took.Seconds()
	r.LiveOthers = (u.busy - u.sum()).Seconds() / took.Seconds()
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
