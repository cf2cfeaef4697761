package role_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest/kafka"
)

const signalParts = 2

func (k *bench) detector(c *consumer) *role.Detector {
	return &role.Detector{
		Loop: k.loop("detect"), Consumer: c, Producer: k.b, Rules: k.rules, Reader: k.reader(), Signals: "signals",
		Sources: int32(len(c.parts)), Targets: signalParts, Ends: c.ends,
	}
}

// written splits the signals topic by what its records are.
func (k *bench) written() (signals [][]byte, marks []detect.Progress) {
	for _, r := range k.b.all("signals") {
		s, p, err := detect.DecodeSignals(r.Value)
		switch {
		case err != nil:
			k.t.Fatal(err)
		case s != nil:
			signals = append(signals, r.Value)
		default:
			marks = append(marks, *p)
		}
	}
	return signals, marks
}

func isMark(r kafka.Record) bool {
	_, p, _ := detect.DecodeSignals(r.Value)
	return p != nil
}

func (k *bench) failures(n int, ips ...string) {
	for i := range n {
		for j, ip := range ips {
			k.b.put(failure(int32(j%2), i*100+j, ip))
		}
	}
}

func TestDetectWritesNoMarkerBeforeItsSignals(t *testing.T) {
	for name, persisted := range map[string]bool{"failed": false, "failed but persisted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBench(t)
				k.failures(4, "203.0.113.1", "203.0.113.2")
				tries, refused := 0, 0
				k.b.setFail(func(rs []kafka.Record) (error, bool) {
					tries++
					if isMark(rs[0]) {
						if tries <= 3 {
							t.Error("markers were written while the signals were not")
						}
						return nil, false
					}
					if tries > 3 {
						return nil, false
					}
					refused++
					return errDown, persisted
				})
				c := k.b.consumer("events", "g", 100, 0, 1)
				c.busy = 0 // and no idle markers of it
				stop := k.start(k.detector(c).Run)
				pass(4 * time.Second)
				stop()
				signals, marks := k.written()
				want := 2
				if persisted {
					want += 2 * refused
				}
				if len(signals) != want || refused != 3 || len(marks) < 2*signalParts {
					t.Fatalf("%d packs, %d refused, %d markers", len(signals), refused, len(marks))
				}
				slices.SortFunc(signals, bytes.Compare)
				if distinct := slices.CompactFunc(signals, bytes.Equal); len(distinct) != 2 {
					t.Errorf("%d different records of 2 packs: a repetition must have the same bytes", len(distinct))
				}
				if n := k.value(k.metrics.Matches.WithLabelValues("TT-01")); n != 8 {
					t.Errorf("%v matches are counted of 8: attempts must not count twice", n)
				}
			})
		})
	}
}

func TestDetectRedoesABatchWithTheSameBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		k.failures(4, "203.0.113.1", "203.0.113.2")
		k.b.setFail(func(rs []kafka.Record) (error, bool) {
			if isMark(rs[0]) {
				return errDown, false // crashes between its signals and its markers
			}
			return nil, false
		})
		stop := k.start(k.detector(k.b.consumer("events", "g", 3, 0, 1)).Run)
		pass(100 * time.Millisecond)
		stop()
		before, _ := k.written()
		k.b.setFail(nil)
		k.b.put(failure(0, 999, "203.0.113.1")) // comes behind the border
		stop = k.start(k.detector(k.b.consumer("events", "g", 100, 0, 1)).Run)
		pass(time.Second)
		stop()
		after, _ := k.written()
		if len(before) != 2 || k.value(k.metrics.Batches.WithLabelValues("detect", "redone")) != 1 {
			t.Fatalf("%d packs before the crash", len(before))
		}
		for _, s := range before {
			same := 0
			for _, r := range after {
				if bytes.Equal(r, s) {
					same++
				}
			}
			if same != 2 {
				t.Errorf("a pack of the redone batch is there %d times, want 2", same)
			}
		}
	})
}

func TestDetectMarksIdlePartitions(t *testing.T) {
	for name, busy := range map[string]bool{"all idle": false, "one busy": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBench(t)
				k.b.put(failure(0, 1, "203.0.113.1"))
				c := k.b.consumer("events", "g", 1, 0, 1)
				if busy {
					for i := range 10_000 { // Poll never comes back empty
						k.b.put(failure(0, i, "203.0.113.1"))
					}
				}
				began := time.Now()
				slow := k.detector(c)
				slow.Producer = producerFunc(func(rs []kafka.Record) error { pass(10 * time.Millisecond); return k.b.Produce(t.Context(), rs) })
				stop := k.start(slow.Run)
				pass(30 * time.Second)
				stop()
				var last time.Time
				_, marks := k.written()
				for _, m := range marks {
					if m.Source == 1 && m.Passed.After(last) {
						last = m.Passed
					}
				}
				if last.Before(began.Add(10 * time.Second)) {
					t.Errorf("time of the idle partition stands at %s after 30s", last.Sub(began))
				}
				if last.After(time.Now().Add(-5 * time.Second)) {
					t.Errorf("time of the idle partition is ahead of what a slow clock could still append")
				}
			})
		})
	}
}

func TestDetectTriesAnIdleMarkerAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		failing := true
		k.b.setFail(func([]kafka.Record) (error, bool) {
			if failing {
				return errors.New("no leader"), false
			}
			return nil, false
		})
		c := k.b.consumer("events", "g", 1, 0, 1)
		stop := k.start(k.detector(c).Run)
		pass(3 * time.Second)
		if k.health.States()[0].Ready {
			t.Error("a detector that cannot write says that it is ready")
		}
		failing = false
		pass(4 * time.Second) // not only when the next marker is due
		stop()
		if _, marks := k.written(); len(marks) == 0 || !k.health.States()[0].Ready {
			t.Errorf("%d markers", len(marks))
		}
	})
}

// Ranges are judged side by side, which must not show: neither in the signals nor in their order.
func TestDetectSideBySideGivesTheSameSignals(t *testing.T) {
	const parts = 4
	run := func(k *bench, together bool) [][]byte {
		consumers := []*consumer{k.b.consumer("events", "g", 100, 0, 1, 2, 3)}
		if !together {
			consumers = nil
			for p := range int32(parts) {
				consumers = append(consumers, k.b.consumer("events", "g", 100, p))
			}
		}
		for _, c := range consumers {
			c.busy = c.parts[0]
			d := k.detector(c)
			d.Sources = parts
			stop := k.start(d.Run)
			pass(2 * time.Second)
			stop()
		}
		signals, _ := k.written()
		return signals
	}
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		alone := *k
		alone.b = newBroker()
		for i := range 40 {
			r := failure(int32(i%parts), i, []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"}[i%3])
			k.b.put(r)
			alone.b.put(r)
		}
		one, side := run(&alone, false), run(k, true)
		signals := 0
		for _, b := range side {
			all, _, _ := detect.DecodeSignals(b)
			signals += len(all)
		}
		if signals != parts*3 || !slices.EqualFunc(one, side, bytes.Equal) {
			t.Errorf("%d packs of %d signals side by side, and %d packs one by one, or not the same", len(side), signals, len(one))
		}
	})
}
