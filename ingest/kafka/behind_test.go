package kafka_test

import (
	"crypto/rand"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// While there is more to read than fits in a batch, batches are full and of few partitions, and
// every partition has its turn; at the end of the log nothing waits.
func TestBehindTheEndBatchesAreFullAndOfFewPartitions(t *testing.T) {
	brokers := kafkatest.Embedded(t)
	const parts, each, rows, most = 4, 3000, 2000, 2
	topic := newTopic(t, brokers, parts)
	producer, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	value := make([]byte, 300) // a fetcher has some 200 of them at once, since they do not compress
	_, _ = rand.Read(value)
	for range each / 100 {
		var rs []kafka.Record
		for i := range parts * 100 {
			rs = append(rs, kafka.Record{Topic: topic, Partition: int32(i % parts), Value: value})
		}
		if err := producer.Produce(t.Context(), rs); err != nil {
			t.Fatal(err)
		}
	}
	c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) {
		o.MaxRows, o.MaxRanges, o.PrefetchBytes = rows, most, 1 // the least
	})
	next := map[int32]int64{}
	full, left := 0, parts*each
	for first := true; left > 0; first = false {
		b := poll(t, c)
		if b.Empty() {
			t.Fatalf("nothing came, and %d are left", left)
		}
		if !first && left > rows { // before the first answers nobody knows how much there is
			full++
			if b.Len() != rows || len(b.Ranges) > most {
				t.Errorf("%d records of %d partitions while %d were there, want %d of at most %d", b.Len(), len(b.Ranges), left, rows, most)
			}
		}
		for _, r := range b.Ranges {
			if r.Begin != next[r.Partition] {
				t.Fatalf("partition %d: a range begins at %d, want %d", r.Partition, r.Begin, next[r.Partition])
			}
			next[r.Partition] = r.End
			if ahead := r.End - next[(r.Partition+1)%parts]; ahead > 2*rows {
				t.Errorf("partition %d is %d records ahead of another", r.Partition, ahead)
			}
		}
		left -= b.Len()
		commit(t, c, b)
	}
	if full < 3 {
		t.Errorf("%d batches were taken from behind the end: the test shows nothing", full)
	}
	pollEmpty(t, c)
	produce(t, brokers, topic, 0, each, 1)
	began := time.Now()
	if b := poll(t, c); b.Len() != 1 {
		t.Errorf("%s after one more record", show(b))
	}
	if took := time.Since(began); took > 400*time.Millisecond { // a poll's wait is 500 ms
		t.Errorf("a record at the end of the log waited for %s", took)
	}
}

// A consumer that lingers takes what comes meanwhile into the same batch.
func TestLingerGathers(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Embedded(t)
	topic := newTopic(t, brokers, 1)
	c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.Linger = 2 * time.Second })
	pollEmpty(t, c)
	produce(t, brokers, topic, 0, 0, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-time.After(200 * time.Millisecond)
		produce(t, brokers, topic, 0, 1, 1)
	}()
	b := poll(t, c)
	<-done
	want(t, b, "0[0,2)x2")
}
