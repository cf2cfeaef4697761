package role

import (
	"errors"
	"sync/atomic"
	"testing"

	"picket/ingest/kafka"
)

// A range that fails fails the batch: what has begun beside it is finished, no other is begun.
func TestSideStopsAtAFailure(t *testing.T) {
	errA, errB := errors.New("a"), errors.New("b")
	failed := make(chan struct{})
	var began, ended atomic.Int32
	err := side(2, 100, func(_, i int) error {
		began.Add(1)
		defer ended.Add(1)
		if i == 0 {
			defer close(failed)
			return errA
		}
		<-failed
		return errB
	})
	if !errors.Is(err, errA) {
		t.Errorf("the error is %v", err)
	}
	if b, e := began.Load(), ended.Load(); b > 3 || b != e { // the third when the lanes race for it
		t.Errorf("%d ranges began and %d ended of 100, the first of which failed", b, e)
	}
}

func TestSideDoesEachOnceOnItsOwnLane(t *testing.T) {
	const lanes, n = 3, 1000
	var done [n]atomic.Int32
	var busy [lanes]atomic.Bool
	if err := side(lanes, n, func(lane, i int) error {
		if busy[lane].Swap(true) {
			t.Errorf("two ranges at once on lane %d", lane)
		}
		done[i].Add(1)
		busy[lane].Store(false)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if done[i].Load() != 1 {
			t.Fatalf("range %d was done %d times", i, done[i].Load())
		}
	}
	if side(2, 0, nil) != nil {
		t.Error("nothing to do is an error")
	}
}

func TestSmallBatchesOfTheStoreLeaveProcessorsToAlerts(t *testing.T) {
	s := &Storer{lanes: make([]*storeLane, 4), Unhurried: 1000}
	batch := func(ranges, events int) kafka.Batch {
		b := kafka.Batch{Ranges: make([]kafka.Range, ranges)}
		for i := range b.Ranges {
			b.Ranges[i].End = int64(events / ranges)
			b.Ranges[i].Give(func(yield func(*kafka.Record) bool) {
				for offset := range b.Ranges[i].End {
					if !yield(&kafka.Record{Offset: offset}) {
						return
					}
				}
			})
		}
		return b
	}
	for _, c := range []struct{ ranges, events, want int }{{2, 998, 1}, {2, 1000, 4}, {8, 800, 1}, {9, 900, 4}} {
		if got := s.hands(batch(c.ranges, c.events)); got != c.want {
			t.Errorf("%d goroutines for %d events in %d ranges, not %d", got, c.events, c.ranges, c.want)
		}
	}
}
