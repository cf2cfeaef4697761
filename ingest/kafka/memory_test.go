package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// large is record n of a partition: of a size of its own, and different in every byte's neighbourhood.
func large(partition int32, n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(partition), uint64(n)))
	b := fmt.Appendf(nil, "%d/%d:", partition, n)
	for range 50 + rnd.IntN(3000) {
		b = append(b, byte('a'+rnd.IntN(16)))
	}
	return b
}

// A consumer uses the memory of committed batches again. What is overwritten as soon as it goes
// back must be nothing that a later batch still needs: records of a stored batch that two batches
// share, or of a declared one that is done again.
func TestMemoryIsTakenBackOnlyAfterTheCommit(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		const parts, each = 3, 3000
		topic := newTopic(t, brokers, parts)
		for i, codec := range []string{"lz4", "snappy", "zstd", "gzip", "none"} {
			p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{Compression: codec, BatchBytes: 400_000})
			if err != nil {
				t.Fatal(err)
			}
			var rs []kafka.Record
			for n := i * each / 5; n < (i+1)*each/5; n++ {
				for part := range int32(parts) {
					rs = append(rs, kafka.Record{Topic: topic, Partition: part, Key: fmt.Append(nil, n), Value: large(part, n), Headers: []kafka.Header{{Key: "n", Value: fmt.Append(nil, n)}}})
				}
			}
			if err := p.Produce(t.Context(), rs); err != nil {
				t.Fatal(err)
			}
			p.Close()
		}
		open := func(rows int) *kafka.Consumer {
			c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.MaxRows, o.PrefetchBytes = rows, 1 })
			kafka.Poison(c)
			return c
		}
		c := open(5000)
		at := map[int32]int64{}
		for left, batches := parts*each, 0; left > 0; batches++ {
			b := poll(t, c)
			if batches == 1 { // crash with a declared batch: its next owner gathers it over several polls
				if err := c.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				c = open(130)
				continue
			}
			for _, r := range b.Ranges {
				for _, rec := range r.Records {
					n := at[r.Partition]
					if rec.Offset != n || !bytes.Equal(rec.Value, large(r.Partition, int(n))) || string(rec.Key) != fmt.Sprint(n) || string(rec.Headers[0].Value) != fmt.Sprint(n) {
						t.Fatalf("batch %d: record %d/%d is %.40q, want %.40q", batches, r.Partition, rec.Offset, rec.Value, large(r.Partition, int(n)))
					}
					at[r.Partition]++
					left--
				}
			}
			commit(t, c, b)
			for _, r := range b.Ranges { // so that this test can fail
				if len(r.Records) > 0 && r.Records[0].Value != nil {
					t.Fatal("a committed batch still has its records")
				}
			}
		}
		pollEmpty(t, c)
	})
}
