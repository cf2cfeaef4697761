package kafka_test

import (
	"context"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"
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

// Made anew and grown beyond where the reader was, a topic looks by its offsets as if nothing had happened.
func TestTopicMadeAnewWhileItIsReadIsReadFromItsStart(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 30)
		c := consumer(t, brokers, topic)
		b := poll(t, c)
		want(t, b, "0[0,30)x30")
		commit(t, c, b)
		pollEmpty(t, c)
		raw := &kgo.Client{Addr: kgo.TCP(brokers...)}
		if res, err := raw.DeleteTopics(t.Context(), &kgo.DeleteTopicsRequest{Topics: []string{topic}}); err != nil || res.Errors[topic] != nil {
			t.Fatal(err, res)
		}
		makeTopics(t, brokers, kafka.TopicSpec{Name: topic, Partitions: 1, Retention: time.Hour, LogAppendTime: true})
		produce(t, brokers, topic, 0, 0, 50)
		for end := int64(0); end < 50; end = b.Ranges[0].End {
			b = poll(t, c)
			if r := b.Ranges[0]; r.Begin != end || r.Gap != (end == 0) || r.Lost > 0 {
				t.Fatalf("[%d, %d) gap %t, want it to begin at %d", r.Begin, r.End, r.Gap, end)
			}
			commit(t, c, b)
		}
		pollEmpty(t, c)
		if n := c.Stats().Resets.Load(); n != 1 {
			t.Errorf("counted %d resets, want 1", n)
		}
	})
}
