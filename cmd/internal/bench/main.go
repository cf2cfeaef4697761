package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

type options struct {
	picket, kafka, dir, compression, profile, extra, roles string
	events, rate                                           int
	attacks                                                float64
	live, over                                             time.Duration
	keep                                                   bool
}

// world is the servers of one measurement, and the run that is measured.
type world struct {
	opt                                options
	dir, config                        string
	broker, clickhouse, admin, keyring string
	kafka, engine, run                 *proc
	stops                              []func()
	port                               int // the next to try
}

func main() {
	var o options
	flag.StringVar(&o.picket, "picket", "bin/picket", "the binary to measure")
	flag.StringVar(&o.kafka, "kafka", "deploy/dev/kafka.sh", "script that starts a broker")
	flag.StringVar(&o.dir, "dir", "", "folder for the servers' data; a new one, removed at the end, by default")
	flag.StringVar(&o.compression, "compression", "lz4", "of the producer: lz4, zstd, snappy, gzip or none")
	flag.StringVar(&o.profile, "profile", "", "write profiles of the run while it works off the backlog to this folder")
	flag.StringVar(&o.extra, "config", "", "lines to add to the run's configuration, such as 'batch: {max_rows: 100000}'")
	flag.StringVar(&o.roles, "roles", "store,detect,correlate", "roles of the run")
	flag.IntVar(&o.events, "events", 1_000_000, "events of the backlog")
	flag.DurationVar(&o.over, "over", 0, "how long the backlog took to come, such as 1h; 0: it was all appended just now")
	flag.IntVar(&o.rate, "rate", 10_000, "events a second of the live load")
	flag.Float64Var(&o.attacks, "attacks", 0.015, "share of events that are attacks")
	flag.DurationVar(&o.live, "live", 20*time.Second, "how long the live load lasts; 0 leaves it out")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measure(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, o options) (err error) {
	w := &world{opt: o, dir: o.dir}
	if w.dir == "" {
		if w.dir, err = os.MkdirTemp("", "picket-bench-"); err != nil {
			return err
		}
	}
	if w.dir, err = filepath.Abs(w.dir); err != nil {
		return err
	}
	defer func() {
		for _, stop := range slices.Backward(w.stops) {
			stop()
		}
		if !o.keep && o.dir == "" {
			_ = os.RemoveAll(w.dir)
		}
	}()
	if err := w.startServers(ctx); err != nil {
		return err
	}
	began := time.Now()
	fmt.Printf("preloading %d events\n", o.events)
	size, err := w.preload(ctx, o.events)
	if err != nil {
		return err
	}
	fmt.Printf("preloaded in %s: %.0f bytes each\n", time.Since(began).Round(100*time.Millisecond), size)
	r := &report{Events: o.events, Bytes: size, Roles: o.roles, Compression: o.compression}
	if err := w.backlog(ctx, r); err != nil {
		return err
	}
	if o.live > 0 {
		if err := w.livePart(ctx, r); err != nil {
			return err
		}
	}
	r.PeakRSS = float64(w.run.peak()) / (1 << 20)
	return r.print(os.Stdout)
}

func (w *world) startServers(ctx context.Context) (err error) {
	w.config = filepath.Join(w.dir, "picket.yaml")
	w.keyring = filepath.Join(w.dir, "keys.json")
	if w.kafka, err = w.startKafka(); err != nil {
		return err
	}
	port, err := w.freePorts(1)
	if err != nil {
		return err
	}
	w.admin = "http://127.0.0.1:" + strconv.Itoa(port)
	if w.engine, err = w.startEngine(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{{"keys", "new"}, {"topics", "create"}, {"migrate"}} {
		if err := w.command(args...); err != nil {
			return err
		}
	}
	return nil
}

// writeConfig writes one configuration, for the run and for the engine.
func (w *world) writeConfig() error {
	text := fmt.Sprintf(`instance: bench
data_dir: %q
log: {format: json}
admin: {listen: %q, pprof: true}
kafka: {brokers: [%q], partitions: {events: %d, signals: %d}}
clickhouse: {url: %q}
privacy: {keys_file: %q}
alerting: {preview: never}
%s
`, w.dir, w.admin[len("http://"):], w.broker, parts, parts, w.clickhouse, w.keyring, w.opt.extra)
	return os.WriteFile(w.config, []byte(text), 0o600)
}
