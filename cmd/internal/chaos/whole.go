//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"
)

// killWhole runs one picket with everything in it, and kills it at random moments under load:
// broker, engine and roles at once. Nothing can be held here, so the moments are drawn.
func (w *world) killWhole(ctx context.Context, r *rand.Rand, o options) (*done, error) {
	d := &done{}
	if _, err := w.config("direct", w.kafka, w.click); err != nil { // for the audit
		return d, err
	}
	i := &instance{name: "whole", args: []string{"run"}}
	var err error
	i.config, err = w.writeConfig(i.name, fmt.Sprintf("embedded: {listen: %q}", w.kafka), fmt.Sprintf("embedded: {listen: %q}", w.click))
	if err != nil {
		return d, err
	}
	w.instances = append(w.instances, i)
	if err := w.start(i); err != nil {
		return d, err
	}
	if err := w.until(ctx, 2*time.Minute, "picket has made the tables", func() error {
		return w.query(ctx, "SELECT count() FROM picket.ingest_ledger", nil)
	}); err != nil {
		return d, err
	}
	if w.traffic, err = newTraffic(source{seed: o.seed, base: w.began.Truncate(time.Second)}, o.rate, w.kafka, false); err != nil {
		return d, err
	}
	w.traffic.start()
	for n := 0; ; n++ {
		if err := w.storesWhole(ctx, time.Now()); err != nil {
			return d, err
		}
		if n == o.kills {
			return d, nil
		}
		if err := pause(ctx, time.Duration(r.IntN(2000))*time.Millisecond); err != nil {
			return d, err
		}
		i.proc.kill()
		d.kills.Whole++
		w.say("%d of %d: killed picket, broker and engine at once, after %d acknowledged records", n+1, o.kills, w.traffic.acknowledged())
		if err := w.start(i); err != nil {
			return d, err
		}
	}
}

// storesWhole waits until every partition was stored since, by the ledger.
func (w *world) storesWhole(ctx context.Context, since time.Time) error {
	sql := "SELECT uniqExact(kafka_partition) FROM picket.ingest_ledger WHERE stored_at > fromUnixTimestamp64Milli(" + strconv.FormatInt(since.UnixMilli(), 10) + ")"
	return w.until(ctx, 3*time.Minute, "every partition is stored again", func() error {
		return w.query(ctx, sql, func(c []string) error {
			if c[0] != strconv.Itoa(partitions) {
				return errors.New(c[0] + " of them are, see " + filepath.Join(w.dir, "whole.log"))
			}
			return nil
		})
	})
}
