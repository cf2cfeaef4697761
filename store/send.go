package store

import (
	"errors"
	"io"
	"sync"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

var methods = map[Compression]compress.Method{LZ4: compress.LZ4, ZSTD: compress.ZSTD}

// frameBytes is how much is encoded ahead, and the most that a compressed frame holds, as
// ClickHouse's own clients have it.
const frameBytes = 1 << 20

// bodies are kept over inserts: each holds about as much memory as the largest column.
type bodies struct {
	method Compression
	idle   chan *body
}

func newBodies(n int, method Compression) *bodies { return &bodies{method, make(chan *body, n)} }

// of is the block as the body of an insert, to be stopped when the insert has ended.
func (s *bodies) of(cols []named, n int, order []uint32) *body {
	var b *body
	select {
	case b = <-s.idle:
	default:
		b = &body{home: s}
		if m, ok := methods[s.method]; ok {
			b.packer = compress.NewWriter(compress.LevelZero, m)
		}
	}
	b.cols, b.order, b.rest = cols, order, nil
	b.raw.Reset()
	b.raw.PutInt(len(cols))
	b.raw.PutInt(n)
	b.raw.Buf, b.rest = b.raw.Buf[:0], b.raw.Buf
	return b
}

// body encodes a block while it is read, column by column, so that never all of it is in
// memory twice: as Native over HTTP has it (revision 0), in frames if it is compressed.
type body struct {
	home   *bodies
	packer *compress.Writer // or nil

	mu    sync.Mutex // the transport may still read when the insert has ended with an error
	cols  []named    // still to be encoded
	order []uint32
	raw   proto.Buffer
	rest  []byte // of raw, not packed
	out   []byte // ready to be read
	done  bool
}

var errInsertEnded = errors.New("the insert has ended")

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return 0, errInsertEnded
	}
	for len(b.out) == 0 {
		if len(b.rest) == 0 && len(b.cols) == 0 {
			return 0, io.EOF
		}
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// next makes the next frame.
func (b *body) next() error {
	if len(b.rest) < frameBytes && len(b.cols) > 0 {
		b.raw.Buf = append(b.raw.Buf[:0], b.rest...) // at most a frame, moved to the front
		for len(b.cols) > 0 && len(b.raw.Buf) < frameBytes {
			encodeColumn(&b.raw, b.cols[0], b.order)
			b.cols = b.cols[1:]
		}
		b.rest = b.raw.Buf
	}
	if b.packer == nil {
		b.out, b.rest = b.rest, nil
		return nil
	}
	n := min(len(b.rest), frameBytes)
	if err := b.packer.Compress(b.rest[:n]); err != nil {
		return err
	}
	b.out, b.rest = b.packer.Data, b.rest[n:]
	return nil
}

// stop ends all reading of the block's columns and keeps the memory. Whoever still holds the
// body, such as a transport that was answered before it had sent everything, gets an error.
func (b *body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	fresh := &body{home: b.home, packer: b.packer}
	fresh.raw.Buf = b.raw.Buf[:0]
	b.cols, b.order, b.rest, b.out, b.packer, b.raw.Buf = nil, nil, nil, nil, nil, nil
	select {
	case b.home.idle <- fresh:
	default:
	}
}

func encodeColumn(b *proto.Buffer, c named, order []uint32) {
	b.PutString(c.name)
	b.PutString(c.data.typ())
	c.data.encodeState(b)
	c.data.encode(b, order)
}
