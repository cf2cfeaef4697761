package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// ledger stands for a store that knows each effect by its name, topic:partition:C-E.
type ledger struct {
	mu     sync.Mutex
	ends   map[int32]map[int64]int64 // partition -> begin -> end
	values map[string]string         // name -> what was written under it
	twice  int
	err    error
}

// write does a batch's effects: a name seen before must come with the same records.
func (l *ledger) write(b kafka.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range b.Ranges {
		name, value := fmt.Sprintf("%d:%d-%d", r.Partition, r.Begin, r.End), ""
		for rec := range r.All() {
			value += string(rec.Value) + ","
		}
		if end, ok := l.ends[r.Partition][r.Begin]; ok {
			l.twice++
			if end != r.End || l.values[name] != value {
				l.err = fmt.Errorf("%s was written as ending at %d before, or with other records", name, end)
			}
			continue
		}
		if l.ends[r.Partition] == nil {
			l.ends[r.Partition] = map[int64]int64{}
		}
		l.ends[r.Partition][r.Begin], l.values[name] = r.End, value
	}
}

// upTo follows the ranges from 0: they must join without gap or overlap.
func (l *ledger) upTo(p int32) (at int64, ranges int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		end, ok := l.ends[p][at]
		if !ok {
			return at, ranges
		}
		at, ranges = end, ranges+1
	}
}

// Three instances crash at any moment (and go on as zombies), close in order, and come back,
// with limits of their own each time. Whatever happens, all effects have names that join
// without gap or overlap: nothing is missing and a repetition is recognised.
func TestEffectsHaveRepeatableNames(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		const partitions, each = 3, 400
		topic := newTopic(t, brokers, partitions)
		for p := range int32(partitions) {
			produce(t, brokers, topic, p, 0, each)
		}
		l := &ledger{ends: map[int32]map[int64]int64{}, values: map[string]string{}}
		complete := func() bool {
			for p := range int32(partitions) {
				if at, _ := l.upTo(p); at < each {
					return false
				}
			}
			return true
		}
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		crashes := make([]int, 3)
		for i := range 3 {
			rnd := rand.New(rand.NewPCG(uint64(i), 1)) // the schedule differs all the same
			wg.Go(func() {
				defer cancel() // or the others may wait for one that crashed to join again
				for ctx.Err() == nil && !complete() {
					c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) {
						o.InstanceID, o.MaxRows, o.MaxWait = fmt.Sprint("i", i), 3+rnd.IntN(30), 50*time.Millisecond
					})
					for range 1 + rnd.IntN(12) {
						b, err := c.Poll(ctx)
						if err != nil {
							break
						}
						fate := rnd.IntN(10)
						if fate == 0 {
							break // crash after the declaration, before the effect
						}
						l.write(b)
						if fate == 1 {
							break // crash after the effect, before the commit
						}
						_ = c.Commit(ctx, b)
					}
					if rnd.IntN(2) == 0 {
						_ = c.Close(ctx)
					} else {
						crashes[i]++
					}
				}
			})
		}
		wg.Wait()
		if l.err != nil {
			t.Error(l.err)
		}
		for p := range int32(partitions) {
			at, n := l.upTo(p)
			if at != each || n != len(l.ends[p]) {
				t.Errorf("partition %d: %d of %d ranges join, up to offset %d of %d", p, n, len(l.ends[p]), at, each)
			}
		}
		t.Logf("%d ranges were done again, after %v crashes", l.twice, crashes)
	})
}
