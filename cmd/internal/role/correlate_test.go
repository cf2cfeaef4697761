package role_test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
)

type producerFunc func([]kafka.Record) error

func (f producerFunc) Produce(_ context.Context, rs []kafka.Record) error { return f(rs) }

// correlator is one process: what it knows goes with it.
func (k *bench) correlator(c *consumer) *role.Correlator {
	r := &role.Correlator{
		Loop: k.loop("correlate"), Consumer: c, Producer: k.b, Rules: k.rules, Alerts: "alerts", Lateness: lateness,
		Hasher:    func() detect.Hasher { return k.ring.Hasher() },
		OffsetsAt: k.b.offsetsAt("signals"),
	}
	c.meta, c.assign = r.Meta, r.Assign
	return r
}

func (k *bench) signalsOf(group string, rows int) *consumer {
	return k.b.consumer("signals", group, rows, 0, 1)
}

// alerts are the names (id, count, settled) on the topic, and how often each is there.
func (k *bench) alerts() map[string]int {
	out := map[string]int{}
	for _, r := range k.b.all("alerts") {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			k.t.Fatal(err)
		}
		out[name(a)]++
	}
	return out
}

func name(a detect.Alert) string {
	b, _ := json.Marshal([]any{a.ID, a.Count, a.Settled})
	return string(b)
}

// settled are the names of the settled alerts.
func settled(all map[string]int) map[string]bool {
	out := map[string]bool{}
	for n := range all {
		if n[len(n)-5:] == "true]" {
			out[n] = true
		}
	}
	return out
}

// reference is what one engine says that nothing happened to.
func (k *bench) reference() map[string]bool {
	e := detect.NewEngine(k.rules, k.keys, lateness, detect.WindowOptions{})
	dec := ingest.NewDecoder(ingest.Options{Lateness: lateness})
	var said []detect.Alert
	for _, r := range k.b.all("events") {
		var ev detect.Event
		if err := dec.Decode(&ev, ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Append: r.Append, Value: r.Value}); err != nil {
			k.t.Fatal(err)
		}
		said = e.Observe(said, &ev, func(string) bool { return false })
	}
	said = e.Settle(said, time.Now().Add(time.Hour))
	out := map[string]bool{}
	for _, a := range said {
		if a.Settled {
			out[name(a)] = true
		}
	}
	if len(out) == 0 {
		k.t.Fatal("the reference has no alert: the test shows nothing")
	}
	return out
}

func (k *bench) same() {
	k.t.Helper()
	if got, want := settled(k.alerts()), k.reference(); !maps.Equal(got, want) {
		k.t.Errorf("settled\n%v\nan engine that nothing happened to says\n%v", got, want)
	}
}

// traffic lets two addresses fail every few seconds, which makes several buckets.
func (k *bench) traffic(seconds int) {
	for i := 0; i < seconds; i += 7 {
		k.failures(1, "203.0.113.1", "203.0.113.2")
		k.b.put(failure(0, 1_000_000+i, "203.0.113.3"))
		pass(7 * time.Second)
	}
}

func TestCorrelateIsWhatOneEngineSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
		stop := k.start(k.correlator(k.signalsOf("c", 3)).Run)
		k.traffic(300)
		pass(10 * time.Minute)
		stop()
		stopDetect()
		k.same()
		first := map[string]bool{}
		for n, times := range k.alerts() {
			if times != 1 {
				t.Errorf("%s was written %d times", n, times)
			}
			first[n[:28]] = true
		}
		if n := k.value(k.metrics.Alerts.WithLabelValues("TT-01", "high")); n != float64(len(first)) {
			t.Errorf("%v alerts are counted of %d: an update is not another alert", n, len(first))
		}
		if k.value(k.metrics.Groups) != 0 || k.value(k.metrics.Watermark) == 0 {
			t.Error("what has settled is still held")
		}
	})
}

// A range of signals may be produced twice: whole after a lost answer, and in parts.
func TestCorrelateDropsRepeatedSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		chance := rand.New(rand.NewPCG(1, 2))
		d := k.detector(k.b.consumer("events", "d", 5, 0, 1))
		d.Producer = producerFunc(func(rs []kafka.Record) error {
			switch chance.IntN(5) {
			case 0: // written, and the answer lost
				k.b.put(rs...)
				return errDown
			case 1: // written in part
				k.b.put(rs[:(len(rs)+1)/2]...)
				return errDown
			}
			k.b.put(rs...)
			return nil
		})
		d.Backoff = role.Backoff{First: time.Millisecond, Most: time.Millisecond}
		stopDetect := k.start(d.Run)
		stop := k.start(k.correlator(k.signalsOf("c", 3)).Run)
		k.traffic(300)
		pass(10 * time.Minute)
		stop()
		stopDetect()
		k.same()
		if k.value(k.metrics.Left.WithLabelValues("duplicate")) == 0 {
			t.Error("nothing was repeated: the test shows nothing")
		}
	})
}

func TestCorrelateTellsUntilItIsDurable(t *testing.T) {
	for name, persisted := range map[string]bool{"failed": false, "failed but persisted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBench(t)
				stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
				r := k.correlator(k.signalsOf("c", 3))
				n, failed := 0, 0
				r.Producer = producerFunc(func(rs []kafka.Record) error {
					if n++; n%2 == 1 {
						failed++
						if persisted {
							k.b.put(rs...)
						}
						return errDown
					}
					k.b.put(rs...)
					return nil
				})
				stop := k.start(r.Run)
				k.traffic(300)
				pass(10 * time.Minute)
				stop()
				stopDetect()
				k.same()
				if failed < 5 {
					t.Fatal("too little failed")
				}
				if n := k.value(k.metrics.Left.WithLabelValues("duplicate")); n != 0 {
					t.Errorf("%v signals were looked at again because alerts could not be written", n)
				}
				for n, times := range k.alerts() {
					if want := 1; !persisted && times != want {
						t.Errorf("%s was written %d times", n, times)
					}
				}
			})
		})
	}
}

// A process that dies inside a window is followed by one that knows nothing.
func TestCorrelateRestartsInsideAWindow(t *testing.T) {
	for name, commit := range map[string]bool{"after a commit": true, "in the middle of a batch": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBench(t)
				stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
				const lives = 21 // longer than a rewind
				var stop func()
				for life := range lives {
					c := k.signalsOf("c", 3)
					r := k.correlator(c)
					if !commit && life%2 == 1 && life < lives-1 {
						r.Producer = producerFunc(func(rs []kafka.Record) error {
							k.b.put(rs...)
							return errDown // told, and never acknowledged
						})
					}
					stop = k.start(r.Run)
					k.traffic(40)
					if life < lives-1 {
						stop()
					}
				}
				pass(10 * time.Minute)
				stop()
				stopDetect()
				k.same()
				again := 0
				for _, times := range k.alerts() {
					again += times - 1
				}
				if commit && again != 0 {
					t.Errorf("%d alerts were told again: what is rebuilt is rebuilt in silence", again)
				}
				if all := k.log.with("rebuilding windows"); all[len(all)-1].From == 0 {
					t.Error("the last life read everything again, not only what open windows need")
				}
				if !commit && again == 0 {
					t.Error("no batch was done twice: the test shows nothing")
				}
			})
		})
	}
}

// What alerts do not show is counted, once, and changes nothing else.
func TestEvidenceWithoutRoomIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
		correlate := func() func() {
			r := k.correlator(k.signalsOf("c", 3))
			r.Bounds = detect.WindowOptions{MaxEvidence: 1}
			return k.start(r.Run)
		}
		stop := correlate()
		k.traffic(60)
		stop()
		left := func() float64 { return k.value(k.metrics.Left.WithLabelValues("evidence")) }
		before := left()
		stop = correlate()
		pass(5 * time.Second)
		if len(k.log.with("rebuilding windows")) == 0 {
			t.Error("no windows were rebuilt: the test shows nothing")
		}
		if before == 0 || left() != before {
			t.Errorf("%v pieces of evidence were left out, %v after windows were rebuilt", before, left())
		}
		pass(10 * time.Minute)
		stop()
		stopDetect()
		k.same()
	})
}

// A long outage must not make the rewind miss the open windows: it goes by the log's time.
func TestCorrelateRewindsInTheLogsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
		stop := k.start(k.correlator(k.signalsOf("c", 3)).Run)
		k.failures(2, "203.0.113.1", "203.0.113.2") // one short of the threshold
		pass(5 * time.Second)
		stop()
		k.failures(1, "203.0.113.1", "203.0.113.2")
		pass(3 * time.Second)
		k.b.put(failure(0, 5000, "203.0.113.1"), failure(1, 5001, "203.0.113.2"))
		pass(4 * time.Hour) // longer than lateness and every window
		stop = k.start(k.correlator(k.signalsOf("c", 3)).Run)
		pass(time.Minute)
		stop()
		stopDetect()
		k.same()
	})
}

func TestCorrelateKeepsWhatComesBackWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
		c := k.signalsOf("c", 3)
		r := k.correlator(c)
		stop := k.start(r.Run)
		k.traffic(40)
		c.rebalance()
		k.traffic(40)
		if n := len(k.log.with("rebuilding windows")); n != 0 {
			t.Errorf("windows of %d partitions were rebuilt, though they came back where they were", n)
		}
		// Another one has the partitions for a while.
		c.mu.Lock()
		c.down = errDown
		c.mu.Unlock()
		pass(6 * time.Second)
		other := k.start(k.correlator(k.signalsOf("c", 3)).Run)
		k.traffic(40)
		other()
		c.mu.Lock()
		c.down = nil
		c.mu.Unlock()
		before := len(k.log.with("rebuilding windows"))
		c.rebalance()
		pass(10 * time.Second)
		if n := len(k.log.with("rebuilding windows")) - before; n != signalParts {
			t.Errorf("windows of %d partitions were rebuilt, want those of both", n)
		}
		k.traffic(40)
		pass(10 * time.Minute)
		stop()
		stopDetect()
		k.same()
	})
}

func TestCorrelateGivesABatchUpWhenItsGroupMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		stopDetect := k.start(k.detector(k.b.consumer("events", "d", 5, 0, 1)).Run)
		c := k.signalsOf("c", 3)
		r := k.correlator(c)
		var down atomic.Bool
		down.Store(true)
		r.Producer = producerFunc(func(rs []kafka.Record) error {
			if down.Load() {
				return errDown
			}
			k.b.put(rs...)
			return nil
		})
		stop := k.start(r.Run)
		k.traffic(40)
		c.rebalance() // its windows are ahead of the commit, so they are not to be used
		k.traffic(40)
		down.Store(false)
		pass(20 * time.Minute)
		stop()
		stopDetect()
		k.same()
		for n, times := range k.alerts() {
			if times != 1 {
				t.Errorf("%s was written %d times", n, times)
			}
		}
		if k.value(k.metrics.Batches.WithLabelValues("correlate", "fenced")) == 0 {
			t.Error("no batch was given up: the test shows nothing")
		}
	})
}
