package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

func TestEveryRecordOnceInOrder(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 3)
		const each = 500
		for p := range int32(3) {
			produce(t, brokers, topic, p, 0, each)
		}
		c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.MaxRows = 170 })
		next := map[int32]int64{}
		for n := 0; n < 3*each; {
			b := poll(t, c)
			if b.Len() > 170 {
				t.Fatalf("%d records, want at most 170", b.Len())
			}
			for _, r := range b.Ranges {
				if r.Begin != next[r.Partition] {
					t.Fatalf("partition %d: range begins at %d, want %d", r.Partition, r.Begin, next[r.Partition])
				}
				i := 0
				for rec := range r.All() {
					if rec.Offset != r.Begin+int64(i) || string(rec.Value) != fmt.Sprint(rec.Offset) {
						t.Fatalf("record %d of %s has offset %d and value %q", i, show(b), rec.Offset, rec.Value)
					}
					if age := time.Since(rec.Append); age < -time.Minute || age > 5*time.Minute {
						t.Fatalf("append time %s is not now", rec.Append)
					}
					i++
				}
				next[r.Partition] = r.End
			}
			n += b.Len()
			commit(t, c, b)
		}
		pollEmpty(t, c)
		if lag := c.Lag(); len(lag) != 3 || lag[0]+lag[1]+lag[2] != 0 {
			t.Errorf("lag %v after reading all", lag)
		}
	})
}

// A consumer that is dropped without Close stands for a crash: its successor has to find the
// very same borders, whatever its own limits are.
func TestDeclaredBatchIsRedoneExactly(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 100)
		static := func(rows int) func(*kafka.ConsumerOptions) {
			return func(o *kafka.ConsumerOptions) { o.MaxRows, o.InstanceID = rows, "one" }
		}
		a := consumer(t, brokers, topic, static(10))
		b := poll(t, a)
		want(t, b, "0[0,10)x10")
		commit(t, a, b)
		want(t, poll(t, a), "0[10,20)x10") // declared; its effects may or may not exist

		var given []kafka.Assignment
		c := consumer(t, brokers, topic, static(3), func(o *kafka.ConsumerOptions) {
			o.OnAssign = func(as []kafka.Assignment) (map[int32]int64, error) { given = as; return nil, nil }
		})
		redo := poll(t, c)
		want(t, redo, "0[10,20)x10 redo")
		if len(given) != 1 || given[0].Committed != 10 || given[0].DeclaredEnd != 20 || given[0].New {
			t.Errorf("assignment %+v, want [10,20) declared", given)
		}
		got := ""
		for rec := range redo.Ranges[0].All() {
			got = string(rec.Value)
		}
		if got != "19" {
			t.Errorf("last record is %s, want 19", got)
		}
		commit(t, c, redo)
		want(t, poll(t, c), "0[20,23)x3")
	})
}

func TestPollReturnsTheBatchAgainUntilCommitted(t *testing.T) {
	brokers := kafkatest.Embedded(t)
	topic := newTopic(t, brokers, 1)
	produce(t, brokers, topic, 0, 0, 5)
	c := consumer(t, brokers, topic)
	first := poll(t, c)
	produce(t, brokers, topic, 0, 5, 5)
	want(t, poll(t, c), show(first))
	commit(t, c, first)
	if err := c.Commit(t.Context(), first); !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("second commit of a batch: %v, want ErrFenced", err)
	}
	want(t, poll(t, c), "0[5,10)x5")
}

// The acknowledgement of the last batch goes alone when there is nothing to ride on.
func TestIdleAndCloseAcknowledge(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 5)
		meta := func(o *kafka.ConsumerOptions) { o.Meta = func(p int32) string { return fmt.Sprintf("wm=%d00", p+1) } }
		find := func(committed int64) {
			t.Helper()
			var given []kafka.Assignment
			c := consumer(t, brokers, topic, meta, func(o *kafka.ConsumerOptions) {
				o.InstanceID = "x"
				o.OnAssign = func(as []kafka.Assignment) (map[int32]int64, error) { given = as; return nil, nil }
			})
			_, err := c.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(given) != 1 || given[0].Committed != committed || given[0].DeclaredEnd != -1 || given[0].Meta != "wm=100" {
				t.Fatalf("assignment %+v, want %d done, nothing declared, and the metadata", given, committed)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		a := consumer(t, brokers, topic, meta, func(o *kafka.ConsumerOptions) { o.InstanceID = "x" })
		commit(t, a, poll(t, a))
		pollEmpty(t, a)
		find(5) // a was never closed

		produce(t, brokers, topic, 0, 5, 5)
		b := consumer(t, brokers, topic, meta, func(o *kafka.ConsumerOptions) { o.InstanceID = "x" })
		commit(t, b, poll(t, b))
		began := time.Now()
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Close took %s", took)
		}
		find(10)
	})
}

func TestPollStopsWithItsContext(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Embedded(t)
	c := consumer(t, brokers, newTopic(t, brokers, 1), func(o *kafka.ConsumerOptions) { o.MaxWait = time.Hour })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.Poll(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Poll: %v, want the context's error", err)
	}
}

// Whoever is stuck with a batch reads no further, and its lag has to grow nevertheless.
func TestLagGrowsBehindAnOwnerThatIsStuck(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 10)
		c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.MaxRows, o.PrefetchBytes, o.MaxBytes = 1, 1, 1 })
		poll(t, c) // and never committed
		// Each is a stored batch of its own, so that a few are enough to stop the reading.
		for i := range 20 {
			produce(t, brokers, topic, 0, 10+i, 1)
		}
		kafkatest.Eventually(t, 15*time.Second, "the lag to be 30", func() bool { return c.Lag()[0] == 30 })
	})
}

// A group that never was there begins at what is fresh, and one that was there goes on where it was.
func TestANewGroupBeginsAtATime(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 5)
		old := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.Group = "old-" + topic })
		b := poll(t, old)
		want(t, b, "0[0,5)x5")
		var last time.Time
		for rec := range b.Ranges[0].All() {
			last = rec.Append
		}
		commit(t, old, b)
		since := last.Add(2 * time.Millisecond)
		for tick := time.NewTicker(time.Millisecond); time.Now().Before(since.Add(5 * time.Millisecond)); {
			<-tick.C
		}
		produce(t, brokers, topic, 0, 5, 3)
		begin := func(o *kafka.ConsumerOptions) { o.FromTime = since }
		fresh := consumer(t, brokers, topic, begin)
		b = poll(t, fresh)
		want(t, b, "0[5,8)x3")
		commit(t, fresh, b)
		want(t, poll(t, old), "0[5,8)x3")
		if err := fresh.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		produce(t, brokers, topic, 0, 8, 2)
		later := consumer(t, brokers, topic, begin, func(o *kafka.ConsumerOptions) { o.FromTime = time.Now().Add(time.Hour) })
		want(t, poll(t, later), "0[8,10)x2")
	})
}

// Where a new group begins is noted, also if nothing comes: what comes while it is away for long is not too old later.
func TestWhereANewGroupBeginsIsNoted(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		quiet := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.FromTime = time.Now() })
		pollEmpty(t, quiet)
		if err := quiet.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		produce(t, brokers, topic, 0, 0, 3)
		again := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.FromTime = time.Now().Add(time.Hour) })
		want(t, poll(t, again), "0[0,3)x3")
	})
}
