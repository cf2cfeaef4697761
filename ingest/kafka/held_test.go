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
func holder(t *testing.T, limit int, batches [][]byte) (*Consumer, *part) {
	t.Helper()
	c := &Consumer{opts: ConsumerOptions{Topic: "t", MaxRows: 1000, MaxBytes: heldBytes}, log: slog.New(slog.DiscardHandler)}
	c.readers.limit, c.readers.stats, c.readers.log = limit, &c.stats, c.log
	t.Cleanup(c.readers.close)
	p := &part{redoTo: -1, have: true, fetcher: &fetcher{out: make(chan chunk)}}
	c.parts.Store(&[]*part{p})
	for i, b := range batches {
		binary.BigEndian.PutUint64(b, uint64(i)) // which the checksum leaves out
		s, _, ok := cutBatch(b)
		if !ok || s.err != nil || s.first != int64(i) || s.end != int64(i)+1 {
			t.Fatalf("batch %d: %+v, %t", i, s, ok)
		}
		c.readers.weigh(&s)
		p.cur.batches, p.cur.next = append(p.cur.batches, s), s.end
	}
	return c, p
}

// gatherHeld fills one batch, and says how much that is unpacked.
func gatherHeld(t *testing.T, c *Consumer) (b builder, unpacked int) {
	t.Helper()
	b = builder{maxRows: c.opts.MaxRows, maxBytes: c.opts.MaxBytes}
	if err := c.fill(&b); err != nil {
		t.Fatal(err)
	}
	u := unpacker{limit: c.readers.limit}
	defer u.close()
	for _, r := range b.ranges {
		for _, s := range r.stored {
			raw, _ := u.open(nil, &s)
			unpacked += len(raw)
		}
	}
	return b, unpacked
}

// read reads a range, and finds that one stored batch of it is in memory at most.
func read(t *testing.T, c *Consumer, r *Range) (records []Record) {
	t.Helper()
	for rec := range r.All() {
		records = append(records, Record{Offset: rec.Offset, Value: bytes.Clone(rec.Value)})
	}
	if n := len(c.readers.free); n != 1 || cap(c.readers.free[0].plain) > 2*c.readers.limit {
		t.Fatalf("%d readers, the first with %d KiB", n, cap(c.readers.free[0].plain)>>10)
	}
	return records
}

func storedAs(t *testing.T, codec kgo.Compression, raw []byte, count int32) []byte {
	t.Helper()
	return storedPacked(codec, mustPack(t, codec, raw), count)
}

func mustPack(t *testing.T, codec kgo.Compression, raw []byte) []byte {
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
	return packed
}

func storedPacked(codec kgo.Compression, packed []byte, count int32) []byte {
	b := makeBatch(0, int16(codec), time.UnixMilli(0), time.UnixMilli(0), packed, 1)
	binary.BigEndian.PutUint32(b[57:], uint32(count))
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[batchCRCStart:], castagnoli))
	return b
}

// What yields no record costs what is beside it nothing, whatever it unpacks to or claims to.
func TestWhatYieldsNoRecordsIsPassed(t *testing.T) {
	noise := make([]byte, heldLimit)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	for name, bad := range map[string]struct {
		batch               []byte
		records, unreadable int // of twelve
	}{
		"no records in it":        {storedAs(t, kgo.Zstd, bytes.Repeat([]byte{0xFF}, heldLimit), 1), 0, 12},
		"a good record, then bad": {storedAs(t, kgo.Lz4, append(makeRecords("good"), bytes.Repeat([]byte{0xFF}, heldLimit/2)...), 2), 12, 0},
		"none claimed":            {storedAs(t, kgo.Gzip, make([]byte, heldLimit), 0), 0, 0},
		"of another offset":       {storedAs(t, kgo.Lz4, appendRecord(nil, 5, &Record{Value: make([]byte, heldLimit/2)}), 1), 0, 0},
		"not packed":              {storedAs(t, kgo.Compression(0), noise, 1), 0, 12},
		"snappy that lies":        {storedPacked(kgo.Snappy, append(binary.AppendUvarint(nil, heldLimit), 1, 2, 3), 1), 0, 12},
		"zstd that lies":          {storedPacked(kgo.Zstd, lyingZstd(), 1), 0, 12},
	} {
		var batches [][]byte
		for range 12 {
			batches = append(batches, storedAs(t, kgo.Lz4, makeRecords("good"), 1), bytes.Clone(bad.batch))
		}
		c, p := holder(t, heldLimit, batches)
		c.pool.poison, c.readers.poison = true, true
		good, unreadable, next := 0, 0, int64(0)
		for p.have {
			b, _ := gatherHeld(t, c)
			r := &b.ranges[0]
			for again := range 2 {
				for _, rec := range read(t, c, r) {
					if string(rec.Value) != "good" {
						t.Fatalf("%s: record %d is %q", name, rec.Offset, rec.Value)
					}
					good += again
				}
			}
			unreadable += len(r.Unreadable)
			if r.Begin != next || r.End <= next {
				t.Fatalf("%s: [%d,%d) after %d", name, r.Begin, r.End, next)
			}
			next = r.End
		}
		if good != 12+bad.records || unreadable != bad.unreadable || next != 24 {
			t.Errorf("%s: %d records, %d unreadable, end %d; want %d, %d, 24", name, good, unreadable, next, 12+bad.records, bad.unreadable)
		}
	}
}

// A stored batch that breaks off has the records before that, and what is left is told once in
// each range that has a part of it.
func TestWhatIsBeforeTheDamageIsRead(t *testing.T) {
	raw := append(makeRecords("0", "1", "2", "3", "4"), 0xFF)
	now := time.UnixMilli(0)
	s, _, ok := cutBatch(makeBatch(10, int16(kgo.Lz4), now, now, mustPack(t, kgo.Lz4, raw), 9))
	if !ok {
		t.Fatal("not whole")
	}
	c, _ := holder(t, heldLimit, nil)
	for _, x := range []struct {
		begin, end int64
		first      string
		n          int
		from, to   int64
	}{{10, 19, "0", 5, 15, 19}, {12, 19, "2", 3, 15, 19}, {10, 14, "0", 4, 0, 0}, {14, 17, "4", 1, 15, 17}, {16, 18, "", 0, 16, 18}} {
		r := Range{Begin: x.begin, End: x.end, stored: []storedBatch{s}, from: &c.readers}
		got := read(t, c, &r)
		if len(got) != x.n || x.n > 0 && string(got[0].Value) != x.first {
			t.Errorf("[%d,%d): %v, want %d from %s on", x.begin, x.end, got, x.n, x.first)
		}
		if u := r.Unreadable; len(u) > 1 || (len(u) == 0) != (x.to == 0) || len(u) == 1 && (u[0].Begin != x.from || u[0].End != x.to) {
			t.Errorf("[%d,%d): unreadable %+v, want [%d,%d)", x.begin, x.end, u, x.from, x.to)
		}
	}
}

// lyingZstd is a frame that says it has the limit's size, and ends.
func lyingZstd() []byte {
	b := []byte{0x28, 0xB5, 0x2F, 0xFD, 0xA0} // one segment, its size in four bytes
	b = binary.LittleEndian.AppendUint32(b, heldLimit)
	return append(b, 1, 0, 0) // the last block, of nothing
}

// A batch is as large as what it unpacks to: headers, those that are dropped, and what no record is of.
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
	c, p := holder(t, limit, batches)
	next := int64(0)
	for p.have {
		b, unpacked := gatherHeld(t, c)
		r := &b.ranges[0]
		got := len(read(t, c, r))
		if most := heldBytes + limit; unpacked > most || r.Begin != next || got != int(r.End-r.Begin) || got == 0 {
			t.Fatalf("%s: [%d,%d) has %d records (%v) and unpacks to %d KiB, want from %d on and at most %d KiB", name, r.Begin, r.End, got, r.Unreadable[:min(1, len(r.Unreadable))], unpacked>>10, next, most>>10)
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
	c, p := holder(t, heldLimit, batches)
	p.redoTo = 30
	b, _ := gatherHeld(t, c)
	if r := b.ranges[0]; len(b.ranges) != 1 || !r.Redo || r.Begin != 0 || r.End != 30 || len(read(t, c, &r)) != 30 || !b.full() {
		t.Errorf("[%d,%d) with %d records, redo %t, full %t; want all of [0,30)", r.Begin, r.End, r.Len(), r.Redo, b.full())
	}
}
