package store

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	"picket/detect"
)

func plausibleBlock(n int64) *Block {
	b := NewWriter(&DB{}, WriterOptions{}).NewBlock()
	g := newPlausible(1, day, 10_000)
	var ev detect.Event
	for i := range n {
		ev.Reset()
		g.fill(&ev, i, 0)
		b.Append(&ev)
	}
	return b
}

// However it is read and packed, what arrives is the block, also when the memory is used again.
func TestBodyIsTheBlock(t *testing.T) {
	for method, unpack := range map[Compression]func(io.Reader) io.Reader{
		NoCompression: func(r io.Reader) io.Reader { return r },
		LZ4:           func(r io.Reader) io.Reader { return compress.NewReader(r) },
		ZSTD:          func(r io.Reader) io.Reader { return compress.NewReader(r) },
	} {
		t.Run(string(method), func(t *testing.T) {
			home := newBodies(1, method)
			for _, n := range []int64{1, 9000, 300} { // the second is of several frames
				r := plausibleBlock(n).events.made[0]
				var want proto.Buffer
				encodeBlock(&want, r.put(), r.n, r.order)
				for _, read := range []func(io.Reader) io.Reader{iotest.HalfReader, func(r io.Reader) io.Reader { return r }} {
					b := home.of(r.put(), r.n, r.order)
					got := make([]byte, len(want.Buf))
					if _, err := io.ReadFull(unpack(read(b)), got); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, want.Buf) {
						t.Errorf("%d rows: other bytes", n)
					}
					if rest, err := io.ReadAll(b); err != nil || len(rest) > 0 {
						t.Errorf("%d rows: %d bytes more, %v", n, len(rest), err)
					}
					b.stop()
				}
			}
		})
	}
}

// A transport that was answered early may still read: it must get nothing of the next block.
func TestBodyEndsWithTheInsert(t *testing.T) {
	home := newBodies(1, NoCompression)
	r := plausibleBlock(9000).events.made[0]
	old := home.of(r.put(), r.n, r.order)
	if _, err := io.ReadFull(old, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	old.stop()
	next := home.of(r.put(), r.n, r.order)
	if n, err := old.Read(make([]byte, 1000)); n > 0 || !errors.Is(err, errInsertEnded) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	var want proto.Buffer
	encodeBlock(&want, r.put(), r.n, r.order)
	if got, err := io.ReadAll(next); err != nil || !bytes.Equal(got, want.Buf) {
		t.Errorf("the next body: %d bytes of %d, %v", len(got), len(want.Buf), err)
	}
	next.stop()
}

// encodeBlock appends all of a block at once, as a body sends it in pieces.
func encodeBlock(b *proto.Buffer, cols []named, n int, order []uint32) {
	b.PutInt(len(cols))
	b.PutInt(n)
	for _, c := range cols {
		encodeColumn(b, c, order)
	}
}
