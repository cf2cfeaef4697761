package role_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/ingest/kafka"
)

// oneBatch is a consumer with the same declared batch for each owner, until it is committed.
type oneBatch struct {
	batch kafka.Batch
	done  bool
}

func (c *oneBatch) Poll(ctx context.Context) (kafka.Batch, error) {
	if !c.done {
		return c.batch, nil
	}
	<-ctx.Done()
	return kafka.Batch{}, ctx.Err()
}
func (c *oneBatch) Commit(context.Context, kafka.Batch) error { c.done = true; return nil }
func (c *oneBatch) Rebalancing() <-chan struct{}              { return nil }
func (c *oneBatch) Close(context.Context) error               { return nil }

// A gap must be told before the commit that forgets it, and under one name however often the
// batch is done.
func TestGapIsToldBeforeItsBatchIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		first := failure(0, 1, "203.0.113.1")
		first.Offset, first.Append = 15, time.Now()
		gap := kafka.Range{Topic: "events", Partition: 0, Begin: 10, End: 16, Gap: true, Lost: 5}
		gap.Give(lend([]kafka.Record{first}))
		c := &oneBatch{batch: kafka.Batch{Ranges: []kafka.Range{
			gap,
			{Topic: "events", Partition: 1, Begin: 0, End: 3, Gap: true},
			{Topic: "events", Partition: 2, Begin: 7, End: 8},
		}}}
		down, written := true, 0
		worked := 0
		loop := func() *role.Archive[kafka.Record] {
			a := k.archive(c, func(context.Context, *kafka.Record) error {
				worked++
				if worked == 1 {
					return errDown
				}
				return nil
			})
			a.Name = "store"
			a.Notices = &role.Notices{Topic: "alerts", Metrics: k.metrics, Producer: producerFunc(func(rs []kafka.Record) error {
				if down {
					return errDown
				}
				written++
				k.b.put(rs...)
				return nil
			})}
			return a
		}
		stop := k.start(loop().Run)
		pass(20 * time.Second)
		stop()
		if worked > 0 || c.done {
			t.Fatal("the batch went on though nobody could be told of the gap")
		}
		down = false
		stop = k.start(loop().Run)
		pass(100 * time.Millisecond)
		stop() // it was told, and the work has failed
		pass(10 * time.Minute)
		stop = k.start(loop().Run)
		pass(20 * time.Second)
		stop()
		if !c.done || written != 2 {
			t.Fatalf("done %t, told %d times", c.done, written)
		}
		for name, times := range k.alerts() {
			if times != 2 {
				t.Errorf("%s is there %d times: a repetition must have the same name", name, times)
			}
		}
		if n := len(k.alerts()); n != 2 {
			t.Errorf("%d alerts of 2 gaps", n)
		}
		if n := k.value(k.metrics.Alerts.WithLabelValues(role.RuleGap, "high")); n != 4 {
			t.Errorf("%v are counted", n)
		}
	})
}
