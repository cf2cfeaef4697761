package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	kgo "github.com/segmentio/kafka-go"
)

const (
	heldLimit = 1 << 20 // of one stored batch
	heldBytes = 8 << 20 // MaxBytes
)

// holder is a consumer of one partition whose fetcher has sent the stored batches, each of one offset.
func holder(t *testing.T, batches [][]byte) (*Consumer, *part) {
	t.Helper()
	c := &Consumer{opts: ConsumerOptions{Topic: "t", MaxRows: 1000, MaxBytes: heldBytes}, log: slog.New(slog.DiscardHandler)}
	c.unpacker.limit, c.pool.most = heldLimit, heldBytes
	t.Cleanup(c.unpacker.close)
	p := &part{redoTo: -1, ratio: 4, have: true, fetcher: &fetcher{out: make(chan chunk)}}
	c.parts.Store(&[]*part{p})
	for i, b := range batches {
		binary.BigEndian.PutUint64(b, uint64(i)) // which the checksum leaves out
		s, _, ok := cutBatch(b)
		if !ok || s.err != nil || s.first != int64(i) || s.end != int64(i)+1 {
			t.Fatalf("batch %d: %+v, %t", i, s, ok)
		}
		p.cur.batches, p.cur.next = append(p.cur.batches, s), s.end
	}
	return c, p
}

// gatherHeld fills one batch, and says how much memory it holds.
func gatherHeld(t *testing.T, c *Consumer) (b builder, held int) {
	t.Helper()
	b = builder{maxRows: c.opts.MaxRows, maxBytes: c.opts.MaxBytes}
	if err := c.fill(&b); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.ranges {
		for _, block := range r.memory.blocks {
			held += cap(block)
		}
	}
	return b, held + cap((*c.parts.Load())[0].block)
}

func storedAs(t *testing.T, codec kgo.Compression, raw []byte, count int32) []byte {
	t.Helper()
	packed, err := pack(nil, codec, raw)
	if codec == kgo.Zstd { // as a stream its window alone is more than the limit
		var enc *zstd.Encoder
		if enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)); err == nil {
			packed = enc.EncodeAll(raw, nil)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return storedPacked(codec, packed, count)
}

func storedPacked(codec kgo.Compression, packed []byte, count int32) []byte {
	b := makeBatch(0, int16(codec), time.UnixMilli(0), time.UnixMilli(0), packed, 1)
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[batchCRCStart:], castagnoli))
	return b
}

// What yields no record takes no memory, whatever it unpacks to or claims to, and whatever is beside it.
func TestWhatYieldsNoRecordsHoldsNoMemory(t *testing.T) {
	noise := make([]byte, heldLimit)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for name, bad := range map[string]struct {
		batch      []byte
		unreadable int
	}{
		"no records in it":        {storedAs(t, kgo.Zstd, bytes.Repeat([]byte{0xFF}, heldLimit), 1), 12},
		"a good record, then bad": {storedAs(t, kgo.Lz4, append(makeRecords("x"), bytes.Repeat([]byte{0xFF}, heldLimit/2)...), 2), 12},
		"none claimed":            {storedAs(t, kgo.Gzip, make([]byte, heldLimit), 0), 0},
		"of another offset":       {storedAs(t, kgo.Lz4, appendRecord(nil, 5, &Record{Value: make([]byte, heldLimit/2)}), 1), 0},
		"not packed":              {storedAs(t, kgo.Compression(0), noise, 1), 12},
		"snappy that lies":        {storedPacked(kgo.Snappy, append(binary.AppendUvarint(nil, heldLimit), 1, 2, 3), 1), 12},
		"zstd that lies":          {storedPacked(kgo.Zstd, lyingZstd(), 1), 12},
	} {
		var batches [][]byte
		for range 12 {
			batches = append(batches, storedAs(t, kgo.Lz4, makeRecords("good"), 1), bytes.Clone(bad.batch))
		}
		c, p := holder(t, batches)
		c.pool.poison = true
		b, held := gatherHeld(t, c)
		r := b.ranges[0]
		if len(r.Records) != 12 || len(r.Unreadable) != bad.unreadable || r.End != 24 || p.next != 24 {
			t.Errorf("%s: %d records, %d unreadable, end %d; want 12, %d, 24", name, len(r.Records), len(r.Unreadable), r.End, bad.unreadable)
		}
		for i, rec := range r.Records {
			if rec.Offset != int64(2*i) || string(rec.Value) != "good" {
				t.Fatalf("%s: record %d is %d, %q", name, i, rec.Offset, rec.Value)
			}
		}
		if held > 3*heldLimit {
			t.Errorf("%s: %d KiB are held for %d bytes of records", name, held>>10, b.bytes)
		}
	}
}

// lyingZstd is a frame that says it has the limit's size, and ends.
func lyingZstd() []byte {
	b := []byte{0x28, 0xB5, 0x2F, 0xFD, 0xA0} // one segment, its size in four bytes
	b = binary.LittleEndian.AppendUint32(b, heldLimit)
	return append(b, 1, 0, 0) // the last block, of nothing
}

// A batch is as large as what it holds: headers, those that are dropped, and what no record is of.
func TestABatchHoldsWhatItMay(t *testing.T) {
	big := make([]byte, heldLimit*3/4)
	many := make([]Header, 300)
	for i := range many {
		many[i] = Header{Key: "h", Value: big[:len(big)/300]}
	}
	few := make([]Header, maxRecordMeta)
	noise := make([]byte, 200<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for name, raw := range map[string][]byte{
		"values":          appendRecord(nil, 0, &Record{Value: big}),
		"headers":         appendRecord(nil, 0, &Record{Value: []byte("x"), Headers: []Header{{Key: "h", Value: big}}}),
		"header keys":     appendRecord(nil, 0, &Record{Headers: []Header{{Key: strings.Repeat("k", len(big))}}}),
		"dropped headers": appendRecord(nil, 0, &Record{Headers: many}),
		"empty headers":   appendRecord(nil, 0, &Record{Headers: few}),
		"a rest":          append(makeRecords("x"), big...),
	} {
		for _, codec := range []kgo.Compression{kgo.Zstd, kgo.Lz4, kgo.Gzip} {
			var batches [][]byte
			one := storedAs(t, codec, raw, 1)
			for range 40 {
				batches = append(batches, bytes.Clone(one))
			}
			wantHeld(t, fmt.Sprint(name, " as ", codec), heldLimit, batches)
		}
	}
	// What the last one unpacked to says nothing of the next.
	var batches [][]byte
	for range 30 {
		batches = append(batches, storedAs(t, kgo.Lz4, appendRecord(nil, 0, &Record{Value: big[:100<<10]}), 1),
			storedAs(t, kgo.Lz4, appendRecord(nil, 0, &Record{Value: noise}), 1))
	}
	wantHeld(t, "by turns", 4*heldLimit, batches)
}

// wantHeld takes the batches as many times as it needs, which finds each record once and in order.
func wantHeld(t *testing.T, name string, limit int, batches [][]byte) {
	t.Helper()
	c, p := holder(t, batches)
	c.unpacker.limit = limit
	next := int64(0)
	for p.have {
		b, held := gatherHeld(t, c)
		r := b.ranges[0]
		for i := range r.Records {
			held += 40 * cap(r.Records[i].Headers)
		}
		if most := 2*heldBytes + 2<<20; held > most || r.Begin != next || len(r.Records) != int(r.End-r.Begin) || r.End == r.Begin {
			t.Fatalf("%s: [%d,%d) has %d records (%v) and holds %d KiB, want from %d on and at most %d KiB", name, r.Begin, r.End, len(r.Records), r.Unreadable[:min(1, len(r.Unreadable))], held>>10, next, most>>10)
		}
		next = r.End
		c.release(b.ranges)
	}
	if next != int64(len(batches)) {
		t.Errorf("%s: ended at %d of %d", name, next, len(batches))
	}
}

// A declared batch is done again with its borders, whatever it holds, and alone then.
func TestARedoIsWholeWhateverItHolds(t *testing.T) {
	var batches [][]byte
	one := storedAs(t, kgo.Zstd, appendRecord(nil, 0, &Record{Headers: []Header{{Key: "h", Value: make([]byte, heldLimit/2)}}}), 1)
	for range 40 {
		batches = append(batches, bytes.Clone(one))
	}
	c, p := holder(t, batches)
	p.redoTo = 30
	b, _ := gatherHeld(t, c)
	if r := b.ranges[0]; len(b.ranges) != 1 || !r.Redo || r.Begin != 0 || r.End != 30 || len(r.Records) != 30 || !b.full() {
		t.Errorf("[%d,%d) with %d records, redo %t, full %t; want all of [0,30)", r.Begin, r.End, len(r.Records), r.Redo, b.full())
	}
}

// Records that were handed out, or not at all, do not stay reachable.
func TestCutRecordsAreForgotten(t *testing.T) {
	c, p := holder(t, [][]byte{
		storedAs(t, kgo.Zstd, bytes.Repeat(makeRecords("x"), 50), 50),
		storedAs(t, kgo.Zstd, append(bytes.Repeat(makeRecords("x"), 40), 0xFF), 41),
		storedAs(t, kgo.Zstd, makeRecords("y"), 1),
	})
	gatherHeld(t, c)
	for i, r := range p.cutInto[len(p.cutInto):cap(p.cutInto)] {
		if r.Value != nil {
			t.Fatalf("record %d beyond the last batch is still there", i)
		}
	}
}
