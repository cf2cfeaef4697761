package kafka_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// expire removes the records before an offset, as retention does.
func expire(t *testing.T, brokers []string, topic string, before int64) {
	t.Helper()
	req := kmsg.NewDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = 0, before
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	res := wire[*kmsg.DeleteRecordsResponse](t, brokers[0], &req, 1)
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatalf("delete records: error code %d", code)
	}
}

func TestExpiredRecordsAreToldNotSkipped(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 30)
		opts := func(o *kafka.ConsumerOptions) { o.MaxRows = 10 }
		a := consumer(t, brokers, topic, opts)
		commit(t, a, poll(t, a))
		want(t, poll(t, a), "0[10,20)x10")
		if err := a.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		expire(t, brokers, topic, 15)
		c := consumer(t, brokers, topic, opts)
		b := poll(t, c)
		want(t, b, "0[10,20)x5 redo gap lost=5")
		commit(t, c, b)
		if n := c.Stats().Lost.Load(); n != 5 {
			t.Errorf("counted %d lost, want 5", n)
		}
		b = poll(t, c)
		want(t, b, "0[20,30)x10")
		commit(t, c, b)
		pollEmpty(t, c)
	})
}

// A topic that was made anew ends before the committed offset: reading starts at its start.
func TestShorterLogIsReadFromItsStart(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 3)
		commitAt(t, brokers, "g-"+topic, topic, 1000)
		c := consumer(t, brokers, topic)
		b := poll(t, c)
		want(t, b, "0[0,3)x3 gap lost=0")
		commit(t, c, b)
		if n := c.Stats().Resets.Load(); n != 1 {
			t.Errorf("counted %d resets, want 1", n)
		}
	})
}
