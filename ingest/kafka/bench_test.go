package kafka_test

import (
	"bytes"
	"fmt"
	"testing"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// BenchmarkPoll reads 700-byte records in declared and committed batches:
//
//	go test ./ingest/kafka -run '^$' -bench Poll
func BenchmarkPoll(b *testing.B) {
	for name, start := range map[string]func(testing.TB) []string{"embedded": kafkatest.Embedded, "kafka": kafkatest.Real} {
		b.Run(name, func(b *testing.B) {
			brokers := start(b)
			topic := newTopic(b, brokers, 4)
			p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			const total = 400_000
			value := bytes.Repeat([]byte(`{"a":"0123456789",`), 40)[:700]
			rs := make([]kafka.Record, 5_000)
			for n := 0; n < total; n += len(rs) {
				for i := range rs {
					rs[i] = kafka.Record{Topic: topic, Partition: int32(i % 4), Value: value}
				}
				if err := p.Produce(b.Context(), rs); err != nil {
					b.Fatal(err)
				}
			}
			rows, run := 0, 0
			for b.Loop() {
				b.StopTimer()
				run++
				c := consumer(b, brokers, topic, func(o *kafka.ConsumerOptions) { o.Group = fmt.Sprint(topic, run) })
				first := poll(b, c) // joined
				if err := c.Commit(b.Context(), first); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				n := first.Len()
				for n < total {
					batch, err := c.Poll(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					n += batch.Len()
					if err := c.Commit(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				rows += n - first.Len()
				b.StopTimer()
				if err := c.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(rows)*700/b.Elapsed().Seconds()/1e6, "MB/s")
		})
	}
}
