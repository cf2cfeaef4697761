package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// A zombie: its successor has taken over its place, and it comes back with a finished batch.
func TestZombieCannotCommitOrDeclare(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 30)
		opts := func(o *kafka.ConsumerOptions) { o.MaxRows = 10 }
		zombie := consumer(t, brokers, topic, opts)
		held := poll(t, zombie)
		want(t, held, "0[0,10)x10")

		throwOut(t, brokers, topic)
		heir := consumer(t, brokers, topic, opts)
		redo := poll(t, heir)
		want(t, redo, "0[0,10)x10 redo")
		commit(t, heir, redo)
		want(t, poll(t, heir), "0[10,20)x10")

		// In memory the zombie may still commit; the broker must not hear of it. Its next
		// Poll drops what it had and waits for an assignment, which the heir does not give up.
		_ = zombie.Commit(t.Context(), held)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		for ctx.Err() == nil {
			b, err := zombie.Poll(ctx)
			if err == nil && !b.Empty() {
				t.Fatalf("the zombie got %s", show(b))
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("a stale generation is no error, but Poll said %v", err)
			}
		}
		if err := zombie.Commit(t.Context(), held); !errors.Is(err, kafka.ErrFenced) {
			t.Errorf("commit of a stale batch: %v, want ErrFenced", err)
		}
		raw := &kgo.Client{Addr: kgo.TCP(brokers...)}
		at, err := raw.OffsetFetch(t.Context(), &kgo.OffsetFetchRequest{GroupID: "g-" + topic, Topics: map[string][]int{topic: {0}}})
		if err != nil {
			t.Fatal(err)
		}
		if p := at.Topics[topic][0]; p.CommittedOffset != 10 || p.Metadata != "p1 E=20" {
			t.Errorf("committed (%d, %q), want the heir's (10, \"p1 E=20\")", p.CommittedOffset, p.Metadata)
		}
	})
}

// A batch that a member finished after another one had been given it is not known to be done: what of it
// ClickHouse dropped because of the other's attempt may be gone.
func TestWhatAZombieFinishedIsDoneAgain(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 30)
		opts := func(o *kafka.ConsumerOptions) { o.MaxRows = 10 }
		zombie := consumer(t, brokers, topic, opts)
		commit(t, zombie, poll(t, zombie)) // and does not say so
		throwOut(t, brokers, topic)
		heir := consumer(t, brokers, topic, opts)
		want(t, poll(t, heir), "0[0,10)x10 redo")
		if err := heir.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, poll(t, zombie), "0[0,10)x10 redo")
	})
}

// throwOut has the group throw its member out, as after a pause longer than its session.
func throwOut(t *testing.T, brokers []string, topic string) {
	t.Helper()
	raw := &kgo.Client{Addr: kgo.TCP(brokers...)}
	group, err := raw.DescribeGroups(t.Context(), &kgo.DescribeGroupsRequest{GroupIDs: []string{"g-" + topic}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = raw.LeaveGroup(t.Context(), &kgo.LeaveGroupRequest{
		GroupID: "g-" + topic, Members: []kgo.LeaveGroupRequestMember{{ID: group.Groups[0].Members[0].MemberID}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Two members share the partitions; what one finished before the rebalance is not done again.
func TestRebalance(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 4)
		const each = 200
		for p := range int32(4) {
			produce(t, brokers, topic, p, 0, each)
		}
		var mu sync.Mutex
		seen := map[string]int{}
		total := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		var assigned [2]struct {
			sync.Mutex
			parts []int32
		}
		run := func(i int) {
			c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) {
				o.MaxRows = 7
				o.OnAssign = func(as []kafka.Assignment) (map[int32]int64, error) {
					assigned[i].Lock()
					defer assigned[i].Unlock()
					assigned[i].parts = nil
					for _, a := range as {
						assigned[i].parts = append(assigned[i].parts, a.Partition)
					}
					return nil, nil
				}
			})
			wg.Go(func() {
				for ctx.Err() == nil {
					b, err := c.Poll(ctx)
					if err != nil {
						if ctx.Err() == nil {
							t.Error(err)
						}
						break
					}
					var read []string
					for _, r := range b.Ranges {
						for rec := range r.All() {
							read = append(read, fmt.Sprint(r.Partition, rec.Offset))
						}
					}
					if c.Commit(ctx, b) != nil {
						continue
					}
					mu.Lock()
					for _, at := range read {
						seen[at]++
					}
					mu.Unlock()
				}
				_ = c.Close(context.Background())
			})
		}
		parts := func(i int) []int32 {
			assigned[i].Lock()
			defer assigned[i].Unlock()
			return slices.Clone(assigned[i].parts)
		}
		run(0)
		kafkatest.Eventually(t, 20*time.Second, "the first member has all", func() bool { return len(parts(0)) == 4 })
		run(1)
		kafkatest.Eventually(t, 20*time.Second, "the members share", func() bool { return len(parts(0)) == 2 && len(parts(1)) == 2 })
		for p := range int32(4) {
			produce(t, brokers, topic, p, each, each)
		}
		kafkatest.Eventually(t, 20*time.Second, "all is read", func() bool { return total() == 4*2*each })
		mu.Lock()
		defer mu.Unlock()
		for at, n := range seen {
			if n != 1 {
				t.Errorf("record %s was done %d times in an orderly rebalance", at, n)
			}
		}
	})
}

func TestReplayComesFirstAndIsNotDeclared(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 20)
		a := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.MaxRows = 10 })
		commit(t, a, poll(t, a))
		want(t, poll(t, a), "0[10,20)x10")
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) {
			o.MaxRows = 4
			o.OnAssign = func(as []kafka.Assignment) (map[int32]int64, error) {
				return map[int32]int64{0: as[0].Committed - 6}, nil
			}
		})
		for _, shown := range []string{"0[4,8)x4 replay", "0[8,10)x2 replay", "0[10,20)x10 redo"} {
			b := poll(t, c)
			want(t, b, shown)
			commit(t, c, b)
		}
		pollEmpty(t, c)
	})
}

func TestOffsetsAt(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 2)
		produce(t, brokers, topic, 0, 0, 5)
		produce(t, brokers, topic, 1, 0, 3)
		c := consumer(t, brokers, topic)
		for _, at := range []struct {
			t    time.Time
			p, q int64
		}{{time.Now().Add(-time.Hour), 0, 0}, {time.Now().Add(time.Hour), 5, 3}} {
			got, err := c.OffsetsAt(t.Context(), topic, at.t)
			if err != nil || got[0] != at.p || got[1] != at.q {
				t.Errorf("OffsetsAt(%s) = %v, %v; want %d, %d", at.t, got, err, at.p, at.q)
			}
		}
	})
}
