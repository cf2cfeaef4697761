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

// A consumer uses the memory of committed batches again, and a range's reader its own. What is
// overwritten as soon as it goes back must be nothing that a later batch still needs: a stored batch
// that two batches share, or of a declared one that is done again; nor the rest of a range.
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
		gone := 0
		for left, batches := parts*each, 0; left > 0; batches++ {
			b := poll(t, c)
			if batches == 1 { // crash with a declared batch: its next owner gathers it over several polls
				if err := c.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				c = open(130)
				continue
			}
			var before *kafka.Record
			var was []byte
			for _, r := range b.Ranges {
				for range r.All() { // the first of two readings
					break
				}
				for rec := range r.All() {
					if before == rec && bytes.HasPrefix(was, []byte(fmt.Sprintf("%d/", r.Partition))) { // so that this test can fail
						t.Fatalf("batch %d: a record is still there after the next was read", batches)
					}
					before, was = rec, rec.Value
					n := at[r.Partition]
					if rec.Offset != n || !bytes.Equal(rec.Value, large(r.Partition, int(n))) || string(rec.Key) != fmt.Sprint(n) || string(rec.Headers[0].Value) != fmt.Sprint(n) {
						t.Fatalf("batch %d: record %d/%d is %.40q, want %.40q", batches, r.Partition, rec.Offset, rec.Value, large(r.Partition, int(n)))
					}
					at[r.Partition]++
					left--
				}
			}
			commit(t, c, b)
			for i := range b.Ranges { // so that this test can fail: a reader who comes too late finds nothing
				r := &b.Ranges[i]
				for range r.All() {
					gone--
				}
				gone += r.Len()
			}
		}
		if gone < parts*each/4 {
			t.Errorf("%d records of committed batches were overwritten, want at least a quarter of %d", gone, parts*each)
		}
		pollEmpty(t, c)
	})
}
