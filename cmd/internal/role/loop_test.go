package role_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/ingest/kafka"
)

// archive is the plainest loop. It tells of record after record.
func (k *bench) archive(c role.Consumer, write func(context.Context, *kafka.Record) error) *role.Archive[kafka.Record] {
	return &role.Archive[kafka.Record]{
		Loop: k.loop("archive"), Consumer: c,
		Read: func(rec *kafka.Record) (kafka.Record, bool) {
			return kafka.Record{Offset: rec.Offset, Append: rec.Append, Value: slices.Clone(rec.Value)}, true
		},
		Write: func(ctx context.Context, items []kafka.Record) error {
			for i := range items {
				if err := write(ctx, &items[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func values(n int) (out []kafka.Record) {
	for i := range n {
		out = append(out, kafka.Record{Topic: "t", Value: []byte{byte(i)}})
	}
	return out
}

var errDown = errors.New("the store is down")

func TestLoopParksAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		k.b.put(values(3)...)
		c := k.b.consumer("t", "g", 2, 0)
		up, attempts, probes := time.Now().Add(20*time.Second), 0, 0
		var got []byte
		a := k.archive(c, func(_ context.Context, r *kafka.Record) error {
			if attempts++; time.Now().Before(up) {
				return errDown
			}
			got = append(got, r.Value[0])
			return nil
		})
		a.Probe = func(context.Context) error {
			if probes++; time.Now().Before(up) {
				return errDown
			}
			return nil
		}
		a.Lag = func() map[int32]int64 { return map[int32]int64{0: int64(3 - len(got))} }
		stop := k.start(a.Run)
		pass(10 * time.Second)
		s := k.health.States()[0]
		if s.Ready || s.Why != errDown.Error() || k.value(k.metrics.Parked.WithLabelValues("archive")) != 1 {
			t.Errorf("a parked loop is not shown: %+v", s)
		}
		if n := k.value(k.metrics.Lag.WithLabelValues("archive", "0")); n != 3 {
			t.Errorf("lag is %v while parked", n)
		}
		pass(20 * time.Second)
		stop()
		if string(got) != "\x00\x01\x02" {
			t.Errorf("written: %v", got)
		}
		if attempts != 4 || probes < 5 {
			t.Errorf("%d writes and %d probes: what is known to be down was tried with the whole batch", attempts, probes)
		}
		parked := k.log.with("parked")
		for i, l := range parked[1:5] {
			if l.Wait <= parked[i].Wait || l.Attempt != parked[i].Attempt+1 {
				t.Errorf("waits do not grow: %+v", parked)
			}
		}
		if s := k.health.States()[0]; !s.Ready || k.value(k.metrics.Parked.WithLabelValues("archive")) != 0 || len(k.log.with("goes on")) != 1 {
			t.Errorf("a loop that goes on is not shown: %+v", s)
		}
		if at := k.b.commits["g"][0]; at.offset != 3 || k.value(k.metrics.Records.WithLabelValues("archive")) != 3 {
			t.Errorf("committed %+v", at)
		}
	})
}

func TestLoopReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		c := k.b.consumer("t", "g", 2, 0)
		c.down = errDown
		n := 0
		stop := k.start(k.archive(c, func(context.Context, *kafka.Record) error { n++; return nil }).Run)
		pass(time.Minute)
		if s := k.health.States()[0]; s.Ready || !strings.Contains(s.Why, "read: ") || c.polls > 20 {
			t.Errorf("%d polls in a minute, %+v", c.polls, s)
		}
		c.mu.Lock()
		c.down = nil
		c.mu.Unlock()
		k.b.put(values(1)...)
		pass(10 * time.Second)
		stop()
		if n != 1 || !k.health.States()[0].Ready {
			t.Error("the loop does not go on")
		}
	})
}

func TestLoopFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		k.b.put(values(4)...)
		c := k.b.consumer("t", "g", 2, 0)
		c.refuse = kafka.ErrFenced
		var got []byte
		stop := k.start(k.archive(c, func(_ context.Context, r *kafka.Record) error { got = append(got, r.Value[0]); return nil }).Run)
		pass(time.Second)
		stop()
		if string(got) != "\x00\x01\x00\x01\x02\x03" {
			t.Errorf("written %v: a fenced batch is its owner's to do again, whole", got)
		}
		for result, want := range map[string]float64{"fenced": 1, "redone": 1, "done": 1, "failed": 0} {
			if n := k.value(k.metrics.Batches.WithLabelValues("archive", result)); n != want {
				t.Errorf("%s: %v, want %v", result, n, want)
			}
		}
		if n := k.value(k.metrics.Records.WithLabelValues("archive")); n != 4 {
			t.Errorf("%v records are counted", n)
		}
	})
}

func TestLoopGivesABatchUpThatCannotBeFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		k.b.put(values(2)...)
		c := k.b.consumer("t", "g", 2, 0)
		joins := 0
		c.assign = func([]kafka.Assignment) (map[int32]int64, error) { joins++; return nil, nil }
		stop := k.start(k.archive(c, func(context.Context, *kafka.Record) error { return errDown }).Run)
		pass(time.Minute)
		if joins != 1 {
			t.Fatalf("%d joins", joins)
		}
		before := time.Now()
		c.rebalance()
		synctest.Wait()
		if joins != 2 || time.Since(before) != 0 {
			t.Errorf("%d joins, %s after the group asked for one: others wait for this member", joins, time.Since(before))
		}
		if at := k.b.commits["g"][0]; at.offset != 0 || at.end != 2 {
			t.Errorf("the declaration is %+v, want [0,2) as it was", at)
		}
		stop()
	})
}

func TestStopFinishesWhatIsInHand(t *testing.T) {
	for name, takes := range map[string]time.Duration{"in time": 3 * time.Second, "for ever": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBench(t)
				k.b.put(values(1)...)
				c := k.b.consumer("t", "g", 2, 0)
				stop := k.start(k.archive(c, func(ctx context.Context, _ *kafka.Record) error {
					select {
					case <-time.After(takes):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}).Run)
				synctest.Wait()
				asked := time.Now()
				stop()
				if took := time.Since(asked); took > 4*time.Second {
					t.Errorf("stopping took %s", took)
				}
				if done := k.b.commits["g"][0].offset == 1; done != (takes < time.Minute) {
					t.Errorf("committed: %v", done)
				}
			})
		})
	}
}

func TestLagOfAPartitionThatMovedAwayIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		c := k.b.consumer("t", "g", 2, 0)
		a := k.archive(c, func(context.Context, *kafka.Record) error { return nil })
		mine := map[int32]int64{0: 7, 1: 9}
		a.Lag = func() map[int32]int64 { return mine }
		stop := k.start(a.Run)
		pass(time.Second)
		mine = map[int32]int64{0: 5}
		pass(time.Second)
		stop()
		if n := k.value(k.metrics.Lag.WithLabelValues("archive", "0")); n != 5 {
			t.Error(n)
		}
		if n := k.value(k.metrics.Lag.WithLabelValues("archive", "1")); n != 0 { // made anew by asking
			t.Errorf("a lag of %v is still shown", n)
		}
	})
}

// What is missing at the start is tried again under numbers that go on, and its return is told.
func TestLoopWaitsForWhatIsMissing(t *testing.T) {
	for _, missing := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			k := newBench(t)
			l, tries := k.loop("archive"), 0
			l.Wait(t.Context(), errDown, func() error {
				if tries++; tries < missing {
					return errDown
				}
				return nil
			})
			var got []int
			for _, line := range k.log.with("parked") {
				got = append(got, line.Attempt)
			}
			if want := []int{1, 2, 3}[:missing]; !slices.Equal(got, want) || len(k.log.with("goes on")) != 1 {
				t.Errorf("missing at %d tries: attempts %v, and %d times that it goes on", missing, got, len(k.log.with("goes on")))
			}
		})
	}
}
