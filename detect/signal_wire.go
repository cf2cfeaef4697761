package detect

import (
	"encoding/binary"
	"fmt"
	"math"
)

// wireReader reads varints and strings; after the first error it returns zeros.
type wireReader struct {
	b   []byte
	err error
}

// count reads a number of items of at least size bytes each, so that a hostile
// count cannot ask for more memory than the record could fill.
func (r *wireReader) count(size int) int {
	n := r.uvarint()
	if n > maxSignalItems || n*uint64(size) > uint64(len(r.b)) {
		r.fail("count")
		return 0
	}
	return int(n)
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("length")
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *wireReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *wireReader) string() string { return string(r.bytes()) }

// hash reads sixteen bytes.
func (r *wireReader) hash() []byte {
	if b := r.take(16); b != nil {
		return b
	}
	return make([]byte, 16)
}

// value reads what appendValue wrote.
func (r *wireReader) value() uint64 {
	x := r.uvarint()
	switch {
	case x&3 == valueWhole:
		return math.Float64bits(float64(x >> 2))
	case x&3 == valueSmall:
		return x >> 2
	case x != valueBits:
		r.fail("value")
	}
	return r.fixed()
}

// fixed reads eight bytes.
func (r *wireReader) fixed() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// place reads a place among n items.
func (r *wireReader) place(n int) uint32 { return r.placeOf(r.uvarint(), n) }

func (r *wireReader) placeOf(i uint64, n int) uint32 {
	if i >= uint64(n) {
		r.fail("place")
		return 0
	}
	return uint32(i)
}

func (r *wireReader) bytes() []byte { return r.bytesOf(r.uvarint()) }

func (r *wireReader) bytesOf(n uint64) []byte {
	if n > math.MaxInt32 {
		r.fail("string")
		return nil
	}
	return r.take(int(n))
}

func (r *wireReader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		x := r.b[0]
		r.b = r.b[1:]
		return uint64(x)
	}
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("varint")
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *wireReader) varint() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("varint")
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *wireReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: bad %s", ErrSignal, what)
	}
	r.b = nil
}

func (r *wireReader) done() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("trailing bytes")
	}
	return r.err
}
