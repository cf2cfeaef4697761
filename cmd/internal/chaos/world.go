//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"picket/ingest"
)

// Protections that can be switched off.
const (
	weakToken       = "token"
	weakFence       = "fence"
	weakDeclaration = "declaration"
)

// session is how long the group waits for a member that is silent. Picket asks for 10 s; the
// proxies make it what Kafka's default allows at least, to wait less.
const session = 6 * time.Second

// world is the servers, the processes, and what is known of them.
type world struct {
	dir    string
	binary string // picket
	script string // kafka.sh
	weak   string
	began  time.Time
	out    io.Writer // the timeline
	kafka  string    // host:port
	click  string
	keys   *ingest.Keyring

	engine    *process
	instances []*instance
	traffic   *traffic

	mu     sync.Mutex
	stores map[int32]progress
}

// progress is the last range of a partition that was stored whole.
type progress struct {
	at  time.Time
	who string
	end int64
}

// instance is one picket with its proxies, which outlive it.
type instance struct {
	name   string
	gate   gate
	kafka  kafkaProxy
	click  clickProxy
	config string
	args   []string
	proc   *process // nil while it is down
}

func newWorld(dir, binary, root, weak string, out io.Writer) (*world, error) {
	w := &world{
		dir: dir, binary: binary, script: filepath.Join(root, "deploy/dev/kafka.sh"), weak: weak,
		began: time.Now(), out: out, stores: map[int32]progress{},
	}
	port, err := freePort(3) // Kafka's two, and ClickHouse's
	if err != nil {
		return nil, err
	}
	w.kafka, w.click = "127.0.0.1:"+strconv.Itoa(port), "127.0.0.1:"+strconv.Itoa(port+2)
	if w.keys, err = ingest.NewKeyring(rand.Reader, time.Now()); err != nil {
		return nil, err
	}
	return w, w.keys.WriteNew(filepath.Join(dir, "keys.json"))
}

// say writes a line of the timeline.
func (w *world) say(format string, args ...any) {
	fmt.Fprintf(w.out, "%6.1fs  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

// newInstance makes the proxies and the configuration of a picket, which is not started yet.
func (w *world) newInstance(name string) (*instance, error) {
	i := &instance{name: name, args: []string{"run", "--roles", "store"}}
	i.kafka = kafkaProxy{to: w.kafka, gate: &i.gate, weak: w.weak, session: int32(session.Milliseconds())}
	i.click = clickProxy{name: name, to: w.click, gate: &i.gate, stored: w.stored, weak: w.weak}
	if err := errors.Join(i.kafka.start(), i.click.start()); err != nil {
		return nil, err
	}
	var err error
	i.config, err = w.config(name, i.kafka.addr(), i.click.addr)
	w.instances = append(w.instances, i)
	return i, err
}

func (w *world) start(i *instance) (err error) {
	i.gate.reset()
	i.proc, err = launch(w.binary, w.dir, i.name, append([]string{"-c", i.config}, i.args...)...)
	return err
}

// stored is told by the proxies of each insert that took effect.
func (w *world) stored(who string, p point) {
	if p.table != tableLedger {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stores[p.partition] = progress{time.Now(), who, p.end}
}

// goesOn waits until every partition was stored again since, and each of these instances
// had a part in it.
func (w *world) goesOn(ctx context.Context, since time.Time, with ...*instance) error {
	seen := map[string]bool{}
	return w.until(ctx, 3*time.Minute, "every partition is stored again", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for p := range int32(partitions) {
			if s := w.stores[p]; s.at.Before(since) {
				return fmt.Errorf("partition %d was last stored by %q, %.1f s ago", p, s.who, time.Since(s.at).Seconds())
			}
			if s := w.stores[p]; !s.at.Before(since) {
				seen[s.who] = true
			}
		}
		for _, i := range with {
			if !seen[i.name] {
				return fmt.Errorf("%s has stored nothing", i.name)
			}
		}
		return nil
	})
}

// until tries until it succeeds, a process ends that should not, or the time is over.
func (w *world) until(ctx context.Context, within time.Duration, what string, try func() error) error {
	limit := time.NewTimer(within)
	defer limit.Stop()
	beat := time.NewTicker(25 * time.Millisecond)
	defer beat.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		for _, i := range w.instances {
			if i.proc != nil && i.proc.ended() {
				return fmt.Errorf("waiting until %s: %s ended by itself: %w (%s.log)", what, i.name, i.proc.err, i.name)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s (%w): %w", what, err, ctx.Err())
		case <-limit.C:
			return fmt.Errorf("not within %s: %s: %w", within, what, err)
		case <-beat.C:
		}
	}
}

// drained waits until everything in the log is acknowledged.
func (w *world) drained(ctx context.Context, within time.Duration) error {
	return w.until(ctx, within, "the whole log is stored and acknowledged", func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		ends, committed, err := w.offsets(ctx)
		if err != nil {
			return err
		}
		left := int64(0)
		for p, end := range ends {
			left += end - max(committed[p], 0)
		}
		if len(ends) < partitions || left > 0 {
			return fmt.Errorf("%d records are left", left)
		}
		return nil
	})
}

// close ends everything that is left.
func (w *world) close() {
	for _, i := range w.instances {
		if i.proc != nil {
			i.proc.kill()
		}
		i.gate.close()
		i.gate.reset()
		if i.kafka.l != nil {
			i.kafka.stop()
			i.click.stop()
		}
	}
	if w.engine == nil {
		return // it was in the picket, like the broker
	}
	w.engine.kill()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = w.kafkaScript(ctx, "stop")
}

// drawSeed is for a run that was given none.
func drawSeed() (uint64, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<31))
	if err != nil {
		return 0, err
	}
	return n.Uint64(), nil
}
