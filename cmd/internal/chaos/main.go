//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"picket/store/embedded"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	sizes
	seed   uint64
	events int
	rate   int
	weak   string
	whole  bool
	within time.Duration
}

// kills counts them by the state of the process, or of the whole.
type kills struct {
	Declare int `json:"declare"`
	Insert  int `json:"insert"`
	Commit  int `json:"commit"`
	Idle    int `json:"idle"`
	Whole   int `json:"whole,omitempty"`
}

// result is the last line.
type result struct {
	Seed       uint64 `json:"seed"`
	Events     int    `json:"events"`
	Kills      kills  `json:"kills"`
	Rebalances int    `json:"rebalances"`
	Zombies    int    `json:"zombies"`
	Lost       int    `json:"lost"`
	Duplicated int    `json:"duplicated"`
	Exact      bool   `json:"rollups_exact"`
	Elapsed    int    `json:"elapsed_s"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o := options{sizes: sizes{kills: 10, rebalances: 5, zombies: 2, outages: 1, bounces: 1, cuts: 3}}
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.SetOutput(stderr)
	long := fs.Bool("long", false, "100 kills over at least a million events")
	fs.IntVar(&o.events, "events", 100_000, "go on until as many records are sent")
	fs.IntVar(&o.rate, "rate", 2000, "records a second")
	fs.StringVar(&o.weak, "weaken", "", "switch a protection off: token, fence or declaration; the run succeeds if that is seen")
	fs.BoolVar(&o.whole, "embedded", false, "kill one picket with broker and engine in it, as a whole")
	fs.DurationVar(&o.within, "within", 15*time.Minute, "give up then: two minutes are usual, but the machine may be busy")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.whole {
		o.kills = 5
	}
	if *long {
		o.sizes = sizes{kills: 100, rebalances: 20, zombies: 6, outages: 4, bounces: 3, cuts: 20}
		o.events, o.within = max(o.events, 1_000_000), max(o.within, 90*time.Minute)
	}
	switch o.weak {
	case "", weakToken, weakFence, weakDeclaration:
	default:
		return fmt.Errorf("-weaken %s: use token, fence or declaration", o.weak)
	}
	var err error
	if given := os.Getenv("CHAOS_SEED"); given != "" {
		o.seed, err = strconv.ParseUint(given, 10, 64)
	} else {
		o.seed, err = drawSeed()
	}
	if err != nil {
		return fmt.Errorf("CHAOS_SEED: %w", err)
	}
	return prepared(ctx, o, stdout, stderr)
}

// prepared builds and fetches what the run needs, and cleans up after it if it was green.
func prepared(ctx context.Context, o options, stdout, stderr io.Writer) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	root := strings.TrimSpace(string(out))
	dir, err := os.MkdirTemp("", "picket-chaos-")
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "chaos: seed %d (CHAOS_SEED=%d repeats the plan), in %s\n", o.seed, o.seed, dir)
	binary := filepath.Join(dir, "picket")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "picket/cmd/picket").CombinedOutput(); err != nil {
		return fmt.Errorf("build picket: %w\n%s", err, out)
	}
	if !o.whole {
		if out, err := exec.CommandContext(ctx, filepath.Join(root, "deploy/dev/kafka.sh"), "classpath").CombinedOutput(); err != nil {
			return fmt.Errorf("fetch Kafka: %w\n%s", err, out)
		}
	}
	if _, err := embedded.Fetch(ctx, "", nil); err != nil {
		return fmt.Errorf("fetch ClickHouse: %w", err)
	}
	w, err := newWorld(dir, binary, root, o.weak, stderr)
	if err != nil {
		return err
	}
	err = w.run(ctx, o, stdout)
	w.close()
	if err != nil {
		w.tails(stderr)
		return fmt.Errorf("seed %d: %w (logs and data are in %s)", o.seed, err, dir)
	}
	return os.RemoveAll(dir)
}

// run does the plan under traffic, and judges.
func (w *world) run(ctx context.Context, o options, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.within)
	defer cancel()
	r := rand.New(rand.NewPCG(o.seed, 0))
	var d *done
	var failed error
	if o.whole {
		d, failed = w.killWhole(ctx, r, o)
	} else {
		d, failed = w.killEach(ctx, r, o)
	}
	if failed != nil {
		w.say("FAILED: %v", failed)
	}
	if w.traffic == nil {
		return failed
	}
	// What is stored is looked at even if a step failed: it may say why.
	v, err := w.settle(ctx, o, failed != nil)
	if err != nil {
		return errors.Join(failed, err)
	}
	w.explain(ctx, v)
	w.say("the log has %d events and %d dead letters; picket audit: %d and %d, %d lost, %d twice", v.events, v.dead, v.audit.Events, v.audit.Dead, v.audit.Lost, v.audit.Twice)
	line, err := json.Marshal(result{
		Seed: o.seed, Events: v.events + v.dead, Kills: d.kills, Rebalances: d.rebalances, Zombies: d.zombies,
		Lost: v.lost, Duplicated: v.duplicated, Exact: v.rollups, Elapsed: int(time.Since(w.began).Seconds() + 0.5),
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, string(line))
	switch {
	case o.weak != "":
		return w.mustBeRed(o.weak, v)
	case failed != nil:
		return failed
	case v.red():
		return fmt.Errorf("%d lost, %d duplicated, roll-ups exact: %v; %s", v.lost, v.duplicated, v.rollups, v.problems[0])
	}
	return nil
}

// killEach does the plan on the processes of a pipeline.
func (w *world) killEach(ctx context.Context, r *rand.Rand, o options) (*done, error) {
	d := &done{}
	if err := w.up(ctx, o); err != nil {
		return d, err
	}
	steps := plan(r, o.sizes)
	for i, s := range steps {
		w.say("%d of %d: %s", i+1, len(steps), s)
		if err := w.do(ctx, r, s, d); err != nil {
			return d, err
		}
	}
	return d, nil
}

// mustBeRed turns a run without one protection round: it has to have rows twice, and picket
// audit has to say so too.
func (w *world) mustBeRed(weak string, v *verdict) error {
	if v.duplicated == 0 || v.rollups || v.audit.OK || v.audit.Twice == 0 {
		return fmt.Errorf("without the %s nothing is wrong: either the run does not test it, or nobody needs it", weak)
	}
	w.say("without the %s the run is red, as it must be", weak)
	return nil
}

// up starts the servers, three pickets and the traffic. A fourth picket is down at first.
func (w *world) up(ctx context.Context, o options) error {
	if err := w.servers(ctx); err != nil {
		return err
	}
	w.say("Kafka %s and ClickHouse %s are up", w.kafka, w.click)
	src := source{seed: o.seed, base: w.began.Truncate(time.Second)}
	var err error
	if w.traffic, err = newTraffic(src, o.rate, w.kafka, true); err != nil {
		return err
	}
	w.traffic.start()
	for i, name := range []string{"a", "b", "c", "d"} {
		in, err := w.newInstance(name)
		if err != nil {
			return err
		}
		if i < 3 {
			if err := w.start(in); err != nil {
				return err
			}
		}
	}
	since := time.Now()
	if err := w.goesOn(ctx, since, w.instances[:3]...); err != nil {
		return err
	}
	w.say("a, b and c store")
	return nil
}

// settle ends the traffic, waits for the pipeline, stops it and verifies.
func (w *world) settle(ctx context.Context, o options, failed bool) (*verdict, error) {
	if !failed {
		err := w.until(ctx, o.within, "enough records are sent", func() error {
			if n := w.traffic.acknowledged(); n < o.events {
				return fmt.Errorf("%d of %d", n, o.events)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if err := w.traffic.stop(ctx); err != nil {
		return nil, err
	}
	w.say("the traffic ended with %d records", w.traffic.made.Load())
	if err := w.drained(ctx, 10*time.Minute); err != nil {
		return nil, err
	}
	w.say("everything is acknowledged")
	if o.whole { // its servers end with it
		v, err := w.verify(ctx)
		return v, errors.Join(err, w.stopAll(ctx))
	}
	if err := w.stopAll(ctx); err != nil {
		return nil, err
	}
	return w.verify(ctx)
}

func (w *world) stopAll(ctx context.Context) error {
	for _, i := range w.instances {
		if i.proc != nil {
			if err := i.proc.end(ctx); err != nil {
				return err
			}
			i.proc = nil
		}
	}
	w.say("every picket has stopped")
	return nil
}

// tails shows the end of each process's log.
func (w *world) tails(out io.Writer) {
	names, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		fmt.Fprintf(out, "--- %s, its last lines:\n%s\n", filepath.Base(name), strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
}
