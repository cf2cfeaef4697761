package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"
	kgo "github.com/segmentio/kafka-go"
)

// encoder makes record batches in memory that is used again. kafka-go's own goes through a
// reader for each key and value.
type encoder struct {
	plain  []byte // records of one batch
	packed []byte // batches of one request
	out    []byte // the request
}

// batch appends a record batch to packed, and returns where it ends there.
func (e *encoder) batch(codec kgo.Compression, records []*Record, now time.Time) (end int, err error) {
	e.plain = e.plain[:0]
	for i, r := range records {
		e.plain = appendRecord(e.plain, i, r)
	}
	from := len(e.packed)
	b := slices.Grow(e.packed, batchHeader)[:from+batchHeader]
	if b, err = pack(b, codec, e.plain); err != nil {
		return 0, fmt.Errorf("compress %d records with %s: %w", len(records), codec, err)
	}
	h := b[from:]
	clear(h[:batchHeader])
	binary.BigEndian.PutUint32(h[8:], uint32(len(h)-batchLengthStart))
	binary.BigEndian.PutUint32(h[12:], 1<<32-1) // no leader epoch
	h[16] = 2                                   // magic
	binary.BigEndian.PutUint16(h[21:], uint16(codec)&attrCodec)
	binary.BigEndian.PutUint32(h[23:], uint32(len(records)-1))
	binary.BigEndian.PutUint64(h[27:], uint64(now.UnixMilli()))
	binary.BigEndian.PutUint64(h[35:], uint64(now.UnixMilli()))
	for i := 43; i < 57; i++ {
		h[i] = 0xFF // no producer id, epoch and sequence
	}
	binary.BigEndian.PutUint32(h[57:], uint32(len(records)))
	binary.BigEndian.PutUint32(h[17:], crc32.Checksum(h[batchCRCStart:], castagnoli))
	e.packed = b
	return len(b), nil
}

func pack(dst []byte, codec kgo.Compression, plain []byte) ([]byte, error) {
	switch codec {
	case 0:
		return append(dst, plain...), nil
	case kgo.Snappy:
		most := s2.MaxEncodedLen(len(plain))
		if most < 0 {
			return nil, fmt.Errorf("%d bytes are too many", len(plain))
		}
		from := len(dst)
		dst = slices.Grow(dst, most)[:from+most]
		return dst[:from+len(s2.EncodeSnappy(dst[from:], plain))], nil
	}
	w := bytes.NewBuffer(dst)
	c := codec.Codec().NewWriter(w)
	if _, err := c.Write(plain); err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// appendRecord writes record i of a batch, which is of the batch's time.
func appendRecord(dst []byte, i int, r *Record) []byte {
	n := 2 + varintSize(i) + bytesSize(r.Key) + bytesSize(r.Value) + varintSize(len(r.Headers))
	for j := range r.Headers {
		h := &r.Headers[j]
		n += varintSize(len(h.Key)) + len(h.Key) + bytesSize(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, 0, 0) // attributes, time
	dst = binary.AppendVarint(dst, int64(i))
	dst = appendBytes(appendBytes(dst, r.Key), r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for j := range r.Headers {
		h := &r.Headers[j]
		dst = append(binary.AppendVarint(dst, int64(len(h.Key))), h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

// appendBytes writes nil as Kafka's null.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func bytesSize(b []byte) int { return varintSize(len(b)) + len(b) }

// varintSize is how long a number that is not negative gets, or -1.
func varintSize(n int) int { return (bits.Len64(uint64(n)<<1|1) + 6) / 7 }
