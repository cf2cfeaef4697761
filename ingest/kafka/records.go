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
	attributes int16
	firstTime  int64
	maxTime    int64
	count      int32
	records    []byte // compressed as attributes say
	size       int
	err        error // why it cannot be decoded, if known already
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
	if want := binary.BigEndian.Uint32(b[17:]); crc32.Checksum(b[batchCRCStart:size], castagnoli) != want {
		s.err = errors.New("checksum mismatch: the batch is damaged on the broker's disk or on the way")
	}
	return s, b[size:], true
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
	if s.err != nil {
		return nil, s.err
	}
	raw, err := u.unpack(nil, s.codec(), s.records)
	if err != nil {
		return nil, err
	}
	return s.cut(nil, raw, topic, partition, from)
}

// cut appends the records at or after from to dst. They share the memory of raw, the batch
// unpacked. On an error dst is returned as it came.
func (s *storedBatch) cut(dst []Record, raw []byte, topic string, partition int32, from int64) ([]Record, error) {
	// A record takes at least 7 bytes, so a forged count cannot make us allocate much.
	if s.count < 0 || int64(s.count) > int64(len(raw)/7)+1 {
		return dst, fmt.Errorf("claims %d records in %d bytes", s.count, len(raw))
	}
	out, rest := dst, raw
	unused := 0 // of raw, by any record
	for i := range s.count {
		length, n := binary.Varint(rest)
		if n <= 0 || length < 0 || length > int64(len(rest)-n) {
			clear(out[len(dst):])
			return dst, fmt.Errorf("record %d of %d: its length is not possible", i+1, s.count)
		}
		end := n + int(length)
		var k kmsg.Record
		if err := k.UnsafeReadFrom(rest[:end]); err != nil {
			clear(out[len(dst):])
			return dst, fmt.Errorf("record %d of %d: %w", i+1, s.count, err)
		}
		rest = rest[end:]
		offset := s.first + int64(k.OffsetDelta)
		if offset < from || offset >= s.end {
			unused += end
			continue // a batch is sent whole, even if asked for from its middle
		}
		r := Record{
			Topic: topic, Partition: partition, size: int32(end), Offset: offset,
			Key: k.Key, Value: k.Value, Append: s.time(k.TimestampDelta64),
		}
		if h := k.Headers; len(h) > 0 {
			h = h[:min(len(h), maxRecordMeta)]
			r.Headers = make([]Header, len(h))
			for j := range h {
				r.Headers[j] = Header{Key: h[j].Key, Value: h[j].Value}
			}
		}
		out = append(out, r)
	}
	if len(out) > len(dst) { // whoever has the first one holds the rest, too
		out[len(dst)].size += int32(unused + len(rest))
	}
	return out, nil
}
