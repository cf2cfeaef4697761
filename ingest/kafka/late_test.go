package kafka_test

import (
	"errors"
	"sync"
	"testing"

	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/ingest/kafka"
)

// A commit that was sent, was not answered, and arrives after later ones must not set the
// record back: borders that were given up would be drawn anew after a crash.
func TestLateCommitIsRefused(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	brokers := cluster.ListenAddrs()
	topic := newTopic(t, brokers, 1)
	produce(t, brokers, topic, 0, 0, 40)

	var mu sync.Mutex
	var late *kmsg.OffsetCommitRequest // guarded by mu
	armed := false                     // guarded by mu
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if armed && late == nil {
			late = req.(*kmsg.OffsetCommitRequest)
			return nil, errors.New("the network ate it"), true
		}
		return nil, nil, false
	})
	for _, instance := range []string{"", "static"} {
		c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.MaxRows, o.InstanceID, o.Group = 5, instance, "late-"+instance })
		commit(t, c, poll(t, c))
		mu.Lock()
		armed, late = true, nil
		mu.Unlock()
		commit(t, c, poll(t, c)) // its declaration is the one that is lost
		mu.Lock()
		armed = false
		lost := late
		mu.Unlock()
		if lost == nil {
			t.Fatal("no commit was caught")
		}
		if n := c.Stats().Unanswered.Load(); n != 1 {
			t.Fatalf("%d commits without an answer, want 1", n)
		}
		commit(t, c, poll(t, c))
		res, err := (&kgo.Client{Addr: kgo.TCP(brokers...)}).OffsetCommit(t.Context(), &kgo.OffsetCommitRequest{
			GroupID: lost.Group, GenerationID: int(lost.Generation), MemberID: lost.MemberID, InstanceID: deref(lost.InstanceID),
			Topics: map[string][]kgo.OffsetCommit{topic: {{Partition: 0, Offset: lost.Topics[0].Partitions[0].Offset}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Topics[topic][0].Error; err == nil {
			t.Errorf("instance %q: the late commit was taken", instance)
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
