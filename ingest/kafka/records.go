package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The fixed part of a record batch, magic 2 (KIP-98).
const (
	batchHeader      = 61
	batchLengthStart = 12 // what the length field counts from
	batchCRCStart    = 21

	attrCodec     = 0x07
	attrAppend    = 1 << 3
	attrControl   = 1 << 5
	maxRecordMeta = 128 // headers of one record
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// storedBatch is one record batch as the broker stores it.
type storedBatch struct {
	first, end int64 // [first, end) in offsets, even where records are missing
	from       int64 // before it, a range has none of them
	attributes int16
	firstTime  int64
	maxTime    int64
	count      int32
	records    []byte // compressed as attributes say
	size       int
	weight     int   // what it unpacks to
	err        error // why it cannot be decoded, if known already
	told       bool  // that it cannot
}

// cutBatch takes the first batch off b. ok is false when none is there whole: a broker cuts
// the last one off where the response ends.
func cutBatch(b []byte) (s storedBatch, rest []byte, ok bool) {
	if len(b) < batchHeader {
		return s, nil, false
	}
	size := batchLengthStart + int64(int32(binary.BigEndian.Uint32(b[8:])))
	if size > int64(len(b)) {
		return s, nil, false
	}
	s.first = int64(binary.BigEndian.Uint64(b))
	if magic := b[16]; magic != 2 || size < batchHeader {
		// Magic 0 and 1 went with Kafka 0.11; brokers since 4.0 do not store them.
		s.size, s.end = int(max(size, 0)), s.first+1
		s.err = fmt.Errorf("message format %d is older than Kafka 0.11, or damaged", magic)
		return s, nil, true
	}
	s.size = int(size)
	s.attributes = int16(binary.BigEndian.Uint16(b[21:]))
	s.end = s.first + int64(int32(binary.BigEndian.Uint32(b[23:]))) + 1
	s.firstTime = int64(binary.BigEndian.Uint64(b[27:]))
	s.maxTime = int64(binary.BigEndian.Uint64(b[35:]))
	s.count = int32(binary.BigEndian.Uint32(b[57:]))
	s.records = b[batchHeader:size]
	if !sound(b[:size]) {
		s.err = errors.New("checksum mismatch: the batch is damaged on the broker's disk or on the way")
		s.end = s.likelyEnd(b[size:])
	}
	return s, b[size:], true
}

// sound reports whether a whole batch has its checksum.
func sound(b []byte) bool {
	return crc32.Checksum(b[batchCRCStart:], castagnoli) == binary.BigEndian.Uint32(b[17:])
}

// likelyEnd is where a damaged batch ends: its header may be what is damaged, and say that millions of
// offsets are its own. A sound batch after it knows better; else the least counts that it may have.
func (s *storedBatch) likelyEnd(rest []byte) int64 {
	if len(rest) >= batchHeader && rest[16] == 2 {
		size := batchLengthStart + int64(int32(binary.BigEndian.Uint32(rest[8:])))
		next := int64(binary.BigEndian.Uint64(rest))
		if size >= batchHeader && size <= int64(len(rest)) && sound(rest[:size]) && next > s.first {
			return next
		}
	}
	return max(s.first+1, min(s.end, s.first+int64(s.count)))
}

// control reports a transaction marker: not data.
func (s *storedBatch) control() bool { return s.attributes&attrControl != 0 }

// time of a record. With LogAppendTime the broker stamps only the batch (maxTime) and leaves
// the producer's claims in the records, so those must not be used.
func (s *storedBatch) time(delta int64) time.Time {
	if s.attributes&attrAppend != 0 {
		return time.UnixMilli(s.maxTime).UTC()
	}
	return time.UnixMilli(s.firstTime + delta).UTC()
}

func (s *storedBatch) codec() int8 { return int8(s.attributes & attrCodec) }

// decode is for those who keep the records: they lie in memory of their own.
func (s *storedBatch) decode(topic string, partition int32, from int64, u *unpacker) ([]Record, error) {
	raw, err := u.open(nil, s)
	if err != nil {
		return nil, err
	}
	var out []Record
	for i := range s.count {
		r := Record{Topic: topic, Partition: partition}
		if raw, err = s.record(&r, i, raw); err != nil {
			return nil, err
		}
		if r.Offset >= from && r.Offset < s.end { // a batch is sent whole, even if asked for from its middle
			out = append(out, r)
		}
	}
	return out, nil
}

// record reads record i off raw, and returns the rest. What it reads is a part of raw.
func (s *storedBatch) record(r *Record, i int32, raw []byte) (rest []byte, err error) {
	length, n := binary.Varint(raw)
	if n <= 0 || length < 0 || length > int64(len(raw)-n) {
		return nil, fmt.Errorf("record %d of %d: its length is not possible", i+1, s.count)
	}
	end := n + int(length)
	var k kmsg.Record
	if err := k.UnsafeReadFrom(raw[:end]); err != nil {
		return nil, fmt.Errorf("record %d of %d: %w", i+1, s.count, err)
	}
	r.Offset, r.Key, r.Value, r.Append = s.first+int64(k.OffsetDelta), k.Key, k.Value, s.time(k.TimestampDelta64)
	r.Headers = r.Headers[:0]
	for _, h := range k.Headers[:min(len(k.Headers), maxRecordMeta)] {
		r.Headers = append(r.Headers, Header{Key: h.Key, Value: h.Value})
	}
	return raw[end:], nil
}
