package kafka_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// hostileBatch claims to be from 2099 and is compressed as the sender likes.
func hostileBatch(t *testing.T, unpacked []byte, n int32) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	claim := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	b := kmsg.RecordBatch{
		Magic: 2, Attributes: 4, LastOffsetDelta: n - 1, FirstTimestamp: claim, MaxTimestamp: claim,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: n, Records: enc.EncodeAll(unpacked, nil),
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

func oneRecord(value []byte) []byte {
	r := kmsg.Record{Value: value}
	body := r.AppendTo(nil)[1:] // without the length 0
	return append(binary.AppendVarint(nil, int64(len(body))), body...)
}

// kafka-go reports the producer's claim here; the broker's clock is what counts.
func TestProducerCannotSetTheClock(t *testing.T) {
	brokers := kafkatest.Real(t)
	topic := newTopic(t, brokers, 1)
	produceRaw(t, brokers[0], topic, hostileBatch(t, oneRecord([]byte("from the future")), 1))
	b := poll(t, consumer(t, brokers, topic))
	want(t, b, "0[0,1)x1")
	for r := range b.Ranges[0].All() {
		if age := time.Since(r.Append); string(r.Value) != "from the future" || age < -time.Minute || age > time.Minute {
			t.Errorf("%q was appended at %s, want now", r.Value, r.Append)
		}
	}
}

// A small batch that unpacks to a lot is skipped, told, and does not stop the partition.
func TestBombIsSkippedAndTold(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 2)
		produceRaw(t, brokers[0], topic, hostileBatch(t, oneRecord(make([]byte, 40<<20)), 1))
		produce(t, brokers, topic, 0, 3, 2)
		c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.Linger = 300 * time.Millisecond })
		b := poll(t, c)
		want(t, b, "0[0,5)x4")
		bad := b.Ranges[0].Unreadable
		if len(bad) != 1 || bad[0].Begin != 2 || bad[0].End != 3 || !strings.Contains(bad[0].Reason, "unpacks to more than the limit") || c.Stats().Unreadable.Load() != 1 {
			t.Errorf("unreadable %+v, counted %d; want offset 2 once", bad, c.Stats().Unreadable.Load())
		}
		commit(t, c, b)
		pollEmpty(t, c)
	})
}

func TestScanPastABomb(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 1)
		produce(t, brokers, topic, 0, 0, 2)
		produceRaw(t, brokers[0], topic, hostileBatch(t, oneRecord(make([]byte, 70<<20)), 1))
		produce(t, brokers, topic, 0, 3, 2)
		cfg, seen := kafka.Config{Brokers: brokers}, ""
		fn := func(r kafka.Record) error { seen += fmt.Sprint(r.Offset); return nil }
		if err := kafka.Scan(t.Context(), cfg, topic, fn); err == nil || seen != "01" {
			t.Errorf("scan: %v after %s", err, seen)
		}
		seen = ""
		if err := kafka.ScanPast(t.Context(), cfg, topic, fn, func(_ int32, u kafka.Unreadable) error {
			seen += fmt.Sprintf("[%d,%d)", u.Begin, u.End)
			return nil
		}); err != nil || seen != "01[2,3)34" {
			t.Errorf("scan past: %v after %s", err, seen)
		}
	})
}
