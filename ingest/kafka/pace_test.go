package kafka_test

import (
	"context"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// While records trickle in, batches begin a pace apart and take what came meanwhile; the first
// after a pause is there at once.
func TestPaceGathersOnlyWhileRecordsKeepComing(t *testing.T) {
	brokers := kafkatest.Embedded(t)
	topic := newTopic(t, brokers, 3)
	const pace = 400 * time.Millisecond
	c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.Pace = pace })
	p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pollEmpty(t, c)
	began := time.Now()
	produce(t, brokers, topic, 0, 0, 1)
	commit(t, c, poll(t, c))
	if took := time.Since(began); took > pace {
		t.Errorf("the first record waited for %s", took)
	}
	const n = 60
	sent := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		var err error
		for i := 0; i < n && err == nil && ctx.Err() == nil; i++ {
			err = p.Produce(ctx, []kafka.Record{{Topic: topic, Partition: int32(i % 3), Value: []byte("x")}})
			<-tick.C
		}
		sent <- err
	}()
	began = time.Now()
	batches, got := 0, 0
	for got < n {
		b := poll(t, c)
		batches, got = batches+1, got+b.Len()
		commit(t, c, b)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if most := int(time.Since(began)/pace) + 2; batches > most {
		t.Errorf("%d batches in %s, want at most %d", batches, time.Since(began), most)
	}
}
