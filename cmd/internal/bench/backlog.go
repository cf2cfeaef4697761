package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// backlog starts the run and measures until every role has done the whole backlog.
func (w *world) backlog(ctx context.Context, r *report) error {
	var err error
	if w.run, err = w.start("picket", "run", "--roles", w.opt.roles); err != nil {
		return err
	}
	var began time.Time
	if err := w.until(ctx, time.Minute, soon, "the run has started", w.run, func() (bool, error) {
		began = w.began()
		return !began.IsZero(), nil
	}); err != nil {
		return err
	}
	before, err := w.usage() // the start is not the backlog's
	if err != nil {
		return err
	}
	profiled := make(chan error, 1)
	profiling, stop := context.WithCancel(ctx)
	defer stop()
	go func() { profiled <- w.profile(profiling, "") }()
	want := float64(w.opt.events)
	done := map[string]time.Time{}
	stage := time.Now()
	err = w.until(ctx, time.Hour, 300*time.Millisecond, "the backlog is done", w.run, func() (bool, error) {
		m, err := w.metrics(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // it is starting
		}
		now := time.Now()
		for _, role := range []string{"store", "detect"} {
			if _, ok := done[role]; !ok && m[`picket_records_total{role="`+role+`"}`] >= want {
				done[role] = now
			}
		}
		if now.Sub(stage) > 5*time.Second {
			stage = now
			fmt.Printf("%5.1f s  stored %.0f  judged %.0f  peak memory %d MiB\n", now.Sub(began).Seconds(),
				m[`picket_records_total{role="store"}`], m[`picket_records_total{role="detect"}`], w.run.peak()>>20)
		}
		if !w.has("store", done) || !w.has("detect", done) {
			return false, nil
		}
		r.samples = m
		return m.sum("picket_lag_records", `role="correlate"`) == 0, nil
	})
	if err != nil {
		return err
	}
	after, err := w.usage()
	if err != nil {
		return err
	}
	stop()
	if err := <-profiled; err != nil {
		return fmt.Errorf("take a profile: %w", err)
	}
	r.PeakBacklog = float64(w.run.peak()) / (1 << 20)
	merged, err := w.merged(ctx)
	if err != nil {
		return err
	}
	idle, err := w.idle(ctx)
	if err != nil {
		return err
	}
	r.took(before, after, merged, idle, began, done)
	return w.check(ctx, r)
}

func (w *world) has(role string, done map[string]time.Time) bool {
	_, ok := done[role]
	return ok || !bytes.Contains([]byte(w.opt.roles), []byte(role))
}

// began is when the run's loops began, as it logged it.
func (w *world) began() time.Time {
	raw, err := os.ReadFile(w.run.log)
	if err != nil {
		return time.Time{}
	}
	for line := range bytes.Lines(raw) {
		var l struct {
			Time time.Time
			Msg  string
		}
		if json.Unmarshal(line, &l) == nil && l.Msg == "picket is running" {
			return l.Time
		}
	}
	return time.Time{}
}

// merged waits until the engine has merged what the backlog left, which is work that a steady
// load would have to do too.
func (w *world) merged(ctx context.Context) (usage, error) {
	quiet := 0
	err := w.until(ctx, 2*time.Minute, 100*time.Millisecond, "the merges are done", w.engine, func() (bool, error) {
		got, err := get(ctx, w.clickhouse+"/?query=SELECT+count()+FROM+system.merges")
		if err != nil {
			return false, err
		}
		if got != "0\n" {
			quiet = 0
		}
		quiet++
		return quiet > 10, nil
	})
	if err != nil {
		return usage{}, err
	}
	return w.usage()
}

// idle is what the processes use in a second without any events: threads that wake up, heartbeats,
// the engine's own tables. It is no part of what an event costs, and the slower the machine is, the
// more of it is in the time that a backlog takes.
func (w *world) idle(ctx context.Context) (usage, error) {
	before, err := w.usage()
	if err != nil {
		return usage{}, err
	}
	const during = 10
	select {
	case <-ctx.Done():
		return usage{}, ctx.Err()
	case <-time.After(during * time.Second):
	}
	after, err := w.usage()
	u := after.since(before)
	for name := range u.procs {
		u.procs[name] /= during
	}
	return u, err
}

// check refuses figures of a run that lost or doubled something.
func (w *world) check(ctx context.Context, r *report) error {
	if _, ok := r.done["store"]; !ok {
		return nil
	}
	got, err := get(ctx, w.clickhouse+"/?query=SELECT+count(),uniqExact(kafka_partition,kafka_offset)+FROM+picket.events")
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%d\t%d\n", w.opt.events, w.opt.events); got != want {
		return fmt.Errorf("ClickHouse has %q rows and distinct ones of %d events", got, w.opt.events)
	}
	return nil
}

// profile takes CPU profiles until ctx ends, and at the end one of the heap. `go tool pprof`
// adds several up.
func (w *world) profile(ctx context.Context, prefix string) error {
	if w.opt.profile == "" {
		return nil
	}
	if err := os.MkdirAll(w.opt.profile, 0o755); err != nil {
		return err
	}
	take := func(name, query string) error {
		got, err := get(context.WithoutCancel(ctx), w.admin+"/debug/pprof/"+query)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(w.opt.profile, name), []byte(got), 0o644)
	}
	for i := 0; ctx.Err() == nil; i++ {
		if err := take(fmt.Sprintf("%scpu-%03d.pprof", prefix, i), "profile?seconds=2"); err != nil {
			return err
		}
	}
	return take(prefix+"heap.pprof", "heap")
}
