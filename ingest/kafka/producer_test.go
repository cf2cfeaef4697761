package kafka_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// What is produced to several topics and partitions at once, in many requests, arrives whole and
// in order, with every compression.
func TestProducedRecordsArriveInOrder(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		one, two := newTopic(t, brokers, 3), newTopic(t, brokers, 1)
		var sent []kafka.Record
		for _, codec := range []string{"none", "snappy", "lz4", "zstd", "gzip"} {
			p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{Compression: codec, BatchBytes: 4_000})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			from := len(sent)
			for n := range 300 {
				r := kafka.Record{Topic: one, Partition: int32(n % 3), Key: fmt.Append(nil, codec, n), Value: bytes.Repeat([]byte{byte(n)}, n)}
				switch n % 5 {
				case 1:
					r.Key = nil
				case 2:
					r.Value = nil
				case 3:
					r.Headers = []kafka.Header{{Key: "a", Value: []byte("b")}, {Key: "", Value: []byte{}}}
				case 4:
					r.Topic, r.Partition = two, 0
				}
				sent = append(sent, r)
			}
			if err := p.Produce(t.Context(), sent[from:]); err != nil {
				t.Fatal(err)
			}
		}
		for _, topic := range []string{one, two} {
			got := map[int32][]kafka.Record{}
			if err := kafka.Scan(t.Context(), kafka.Config{Brokers: brokers}, topic, func(r kafka.Record) error {
				got[r.Partition] = append(got[r.Partition], r)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for _, want := range sent {
				if want.Topic != topic {
					continue
				}
				if len(got[want.Partition]) == 0 {
					t.Fatalf("a record of %d bytes is missing", len(want.Value))
				}
				r := got[want.Partition][0]
				got[want.Partition] = got[want.Partition][1:]
				if !bytes.Equal(r.Key, want.Key) || (r.Key == nil) != (want.Key == nil) || !bytes.Equal(r.Value, want.Value) ||
					(r.Value == nil) != (want.Value == nil) || fmt.Sprint(r.Headers) != fmt.Sprint(want.Headers) {
					t.Fatalf("got %q=%q %v, want %q=%q %v", r.Key, r.Value, r.Headers, want.Key, want.Value, want.Headers)
				}
			}
			for part, rs := range got {
				if len(rs) > 0 {
					t.Errorf("%d records too many in partition %d", len(rs), part)
				}
			}
		}
	})
}

// Others read what we write.
func TestKafkaGoReadsWhatIsProduced(t *testing.T) {
	brokers := kafkatest.Real(t)
	for _, codec := range []string{"snappy", "lz4", "none"} {
		topic := newTopic(t, brokers, 1)
		p, err := kafka.NewProducer(kafka.Config{Brokers: brokers}, kafka.ProducerOptions{Compression: codec})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Produce(t.Context(), []kafka.Record{{Topic: topic, Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 5000), Headers: []kafka.Header{{Key: "h", Value: []byte("x")}}}}); err != nil {
			t.Fatal(err)
		}
		r := kgo.NewReader(kgo.ReaderConfig{Brokers: brokers, Topic: topic, MaxWait: 100 * time.Millisecond})
		defer r.Close()
		m, err := r.ReadMessage(t.Context())
		if err != nil || string(m.Key) != "k" || len(m.Value) != 5000 || len(m.Headers) != 1 || m.Headers[0].Key != "h" {
			t.Errorf("%s: %q of %d bytes, %v, %v", codec, m.Key, len(m.Value), m.Headers, err)
		}
	}
}

// One request carries all partitions; where the broker refuses one for a while, only that is sent again.
func TestOnlyWhatWasRefusedIsSentAgain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var mu sync.Mutex
	var asked [][]int32 // guarded by mu
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		r := req.(*kmsg.ProduceRequest)
		var parts []int32
		for _, p := range r.Topics[0].Partitions {
			parts = append(parts, p.Partition)
		}
		asked = append(asked, parts)
		if len(asked) > 1 {
			return nil, nil, false
		}
		res := r.ResponseKind().(*kmsg.ProduceResponse)
		t := kmsg.ProduceResponseTopic{Topic: "events"}
		for _, p := range parts {
			x := kmsg.NewProduceResponseTopicPartition()
			if x.Partition = p; p == 2 {
				x.ErrorCode = kerr.NotLeaderForPartition.Code
			}
			t.Partitions = append(t.Partitions, x)
		}
		res.Topics = append(res.Topics, t)
		return res, nil, true
	})
	p, err := kafka.NewProducer(kafka.Config{Brokers: cluster.ListenAddrs()}, kafka.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var rs []kafka.Record
	for n := range int32(8) {
		rs = append(rs, kafka.Record{Topic: "events", Partition: n % 4, Value: []byte{byte(n)}})
	}
	if err := p.Produce(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(asked); got != "[[0 1 2 3] [2]]" {
		t.Errorf("asked for %s, want all partitions and then the refused one", got)
	}
}
