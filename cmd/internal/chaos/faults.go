//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// catchTime bounds how long a process may take to come by where it is wanted.
const catchTime = 3 * time.Minute

// lullTime is how long the traffic rests for a process to acknowledge what it has.
const lullTime = 15 * time.Second

// done counts what was done.
type done struct {
	kills               kills
	rebalances, zombies int
}

// do does one step, and waits until everything goes on.
func (w *world) do(ctx context.Context, r *rand.Rand, s step, d *done) error {
	var err error
	switch s.what {
	case kill:
		err = w.kill(ctx, w.anyOf(r), s)
		*map[string]*int{declare: &d.kills.Declare, insert: &d.kills.Insert, commit: &d.kills.Commit, idle: &d.kills.Idle}[s.state]++
	case cut:
		err = w.cut(ctx, w.anyOf(r), s)
	case zombie:
		err = w.zombie(ctx, w.anyOf(r), s)
		d.zombies++
	case rebalance:
		err = w.rebalance(ctx, r)
		d.rebalances++
	case outage:
		err = w.outage(ctx, w.anyOf(r), s)
	case bounce:
		err = w.bounce(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

// anyOf draws one of the processes that run.
func (w *world) anyOf(r *rand.Rand) *instance {
	var up []*instance
	for _, i := range w.instances {
		if i.proc != nil {
			up = append(up, i)
		}
	}
	return up[r.IntN(len(up))]
}

// catch waits until the process comes by the state of a step, and holds it there.
func (w *world) catch(ctx context.Context, i *instance, s step) (*held, error) {
	state, after := s.state, s.after
	if state == idle { // has acknowledged, and begins nothing
		state, after = commit, true
	}
	got := i.gate.catch(func(p point) bool {
		return p.kind == state && p.after == after && (s.table == "" || s.table == p.table)
	})
	patience := catchTime
	if state == commit { // a commit that declares nothing needs a moment without new records
		patience = lullTime
		w.traffic.pause()
		defer w.traffic.resume()
	}
	h, err := await(ctx, got, patience)
	for waited := patience; err != nil && ctx.Err() == nil && waited < catchTime; waited += patience {
		// Its last commit may have been just before the lull: let it have some work again.
		w.traffic.resume()
		if err := pause(ctx, time.Second); err != nil {
			return nil, err
		}
		w.traffic.pause()
		h, err = await(ctx, got, patience)
	}
	if err != nil {
		return nil, fmt.Errorf("catch %s: %w", i.name, err)
	}
	if s.state == idle {
		i.gate.close() // the answer goes home, and nothing else leaves
		h.release(true)
		if err := pause(ctx, 150*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (w *world) kill(ctx context.Context, i *instance, s step) error {
	h, err := w.catch(ctx, i, s)
	if err != nil {
		return err
	}
	i.proc.kill()
	i.proc = nil
	w.say("killed %s at its %s", i.name, h.point)
	since := time.Now()
	if s.takeover {
		if err := w.goesOn(ctx, since); err != nil {
			return err
		}
		w.say("others have taken over")
	}
	if s.state != idle {
		h.release(s.late)
	}
	if err := w.start(i); err != nil {
		return err
	}
	return w.goesOn(ctx, time.Now())
}

// cut hangs up on a process that lives.
func (w *world) cut(ctx context.Context, i *instance, s step) error {
	h, err := w.catch(ctx, i, s)
	if err != nil {
		return err
	}
	w.say("cut %s off at its %s", i.name, h.point)
	since := time.Now()
	h.release(false)
	return w.goesOn(ctx, since)
}

// zombie stops a process with a request on its way, until another one has gone on with its
// partitions, and lets both the request and the process go on.
func (w *world) zombie(ctx context.Context, i *instance, s step) error {
	h, err := w.catch(ctx, i, s)
	if err != nil {
		return err
	}
	i.proc.signal(syscall.SIGSTOP)
	w.say("stopped %s at its %s", i.name, h.point)
	since := time.Now()
	if err := w.goesOn(ctx, since); err != nil {
		return err
	}
	w.say("others have taken over after %.1f s; the zombie goes on", time.Since(since).Seconds())
	h.release(true)
	if err := pause(ctx, 200*time.Millisecond); err != nil { // the request arrives before its sender wakes up
		return err
	}
	since = time.Now()
	i.proc.signal(syscall.SIGCONT)
	return w.goesOn(ctx, since, i)
}

// rebalance lets the one that is down join, or any leave.
func (w *world) rebalance(ctx context.Context, r *rand.Rand) error {
	for _, i := range w.instances {
		if i.proc == nil {
			w.say("%s joins", i.name)
			if err := w.start(i); err != nil {
				return err
			}
			return w.goesOn(ctx, time.Now(), i)
		}
	}
	i := w.anyOf(r)
	w.say("%s leaves", i.name)
	err := i.proc.end(ctx)
	i.proc = nil
	if err != nil {
		return err
	}
	return w.goesOn(ctx, time.Now())
}

// outage kills ClickHouse when it has stored something that nobody has been told of.
func (w *world) outage(ctx context.Context, i *instance, s step) error {
	h, err := w.catch(ctx, i, s)
	if err != nil {
		return err
	}
	w.engine.kill()
	w.say("killed ClickHouse at %s's %s", i.name, h.point)
	h.release(false)
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := w.startEngine(ctx); err != nil {
		return err
	}
	w.say("ClickHouse is back")
	return w.goesOn(ctx, time.Now())
}

// bounce kills Kafka and starts it again.
func (w *world) bounce(ctx context.Context) error {
	if err := w.killBroker(ctx); err != nil {
		return fmt.Errorf("kill Kafka: %w", err)
	}
	w.say("killed Kafka")
	if err := w.startBroker(ctx); err != nil {
		return err
	}
	w.say("Kafka is back")
	return w.goesOn(ctx, time.Now())
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return errors.New("the run is over its time")
	case <-t.C:
		return nil
	}
}
