package store

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// column is one column of a block in ClickHouse's Native form. Rows that put nothing
// hold the default of the type; pad writes them just before they matter, many at once.
// One goroutine owns a column.
//
// encode writes the rows in an order, of which nil is the one they were put in.
type column interface {
	typ() string
	rows() int
	pad(rows int)
	reset()
	encodeState(b *proto.Buffer) // what comes once before the data
	encode(b *proto.Buffer, order []uint32)
}

// fixed holds values of one fixed size: integers, floats, enums, booleans, times.
type fixed struct {
	name string
	size int
	data []byte
}

func newFixed(name string, size int) *fixed { return &fixed{name: name, size: size} }

func newTime() *fixed { return newFixed("DateTime64(3, 'UTC')", 8) }

func (c *fixed) typ() string               { return c.name }
func (c *fixed) rows() int                 { return len(c.data) / c.size }
func (c *fixed) reset()                    { c.data = c.data[:0] }
func (c *fixed) encodeState(*proto.Buffer) {}

func (c *fixed) pad(rows int) {
	if n := rows*c.size - len(c.data); n > 0 {
		c.data = append(c.data, make([]byte, n)...)
	}
}

// put appends the low bytes of bits.
func (c *fixed) put(bits uint64) {
	switch c.size {
	case 1:
		c.data = append(c.data, byte(bits))
	case 2:
		c.data = binary.LittleEndian.AppendUint16(c.data, uint16(bits))
	case 4:
		c.data = binary.LittleEndian.AppendUint32(c.data, uint32(bits))
	default:
		c.data = binary.LittleEndian.AppendUint64(c.data, bits)
	}
}

// at is the bits of a row.
func (c *fixed) at(row int) uint64 {
	switch c.size {
	case 1:
		return uint64(c.data[row])
	case 2:
		return uint64(binary.LittleEndian.Uint16(c.data[2*row:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(c.data[4*row:]))
	}
	return binary.LittleEndian.Uint64(c.data[8*row:])
}

func (c *fixed) encode(b *proto.Buffer, order []uint32) {
	if order == nil {
		b.PutRaw(c.data)
		return
	}
	dst := room(b, len(order)*c.size)
	switch c.size {
	case 1:
		for i, row := range order {
			dst[i] = c.data[row]
		}
	case 2:
		for i, row := range order {
			binary.LittleEndian.PutUint16(dst[2*i:], binary.LittleEndian.Uint16(c.data[2*row:]))
		}
	case 4:
		for i, row := range order {
			binary.LittleEndian.PutUint32(dst[4*i:], binary.LittleEndian.Uint32(c.data[4*row:]))
		}
	default:
		for i, row := range order {
			binary.LittleEndian.PutUint64(dst[8*i:], binary.LittleEndian.Uint64(c.data[8*row:]))
		}
	}
}

// room appends n bytes to a buffer, which are for the caller to write.
func room(b *proto.Buffer, n int) []byte {
	at := len(b.Buf)
	b.Buf = slices.Grow(b.Buf, n)[:at+n]
	return b.Buf[at:]
}

// span is the least and the greatest of signed values of eight bytes, such as times.
func (c *fixed) span() (least, most int64) {
	least, most = int64(c.at(0)), int64(c.at(0))
	for row := range c.rows() {
		v := int64(c.at(row))
		least, most = min(least, v), max(most, v)
	}
	return least, most
}

func (c *fixed) putBool(on bool) {
	if on {
		c.put(1)
		return
	}
	c.put(0)
}

// DateTime64 ends here; beyond, ClickHouse shows nonsense instead of refusing.
var minTime, maxTime = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2299, 12, 31, 23, 59, 59, 0, time.UTC)

func (c *fixed) putTime(t time.Time) { c.put(uint64(millis(t))) }

// millis is a time as DateTime64 keeps it, the nearest one within its bounds.
func millis(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(minTime):
		t = minTime
	case t.After(maxTime):
		t = maxTime
	}
	return t.UnixMilli()
}

// text is a String column, kept as it is sent: each value after its length.
type text struct {
	data []byte
	ends []uint32 // of each row, in data
}

func (c *text) typ() string               { return "String" }
func (c *text) rows() int                 { return len(c.ends) }
func (c *text) reset()                    { c.data, c.ends = c.data[:0], c.ends[:0] }
func (c *text) encodeState(*proto.Buffer) {}

func (c *text) put(v string) {
	c.data = append(binary.AppendUvarint(c.data, uint64(len(v))), v...)
	c.ends = append(c.ends, uint32(len(c.data)))
}

func (c *text) pad(rows int) {
	for n := rows - len(c.ends); n > 0; n-- {
		c.data = append(c.data, 0)
		c.ends = append(c.ends, uint32(len(c.data)))
	}
}

func (c *text) encode(b *proto.Buffer, order []uint32) {
	if order == nil {
		b.PutRaw(c.data)
		return
	}
	dst := slices.Grow(b.Buf, len(c.data))
	for _, row := range order {
		begin := uint32(0)
		if row > 0 {
			begin = c.ends[row-1]
		}
		dst = append(dst, c.data[begin:c.ends[row]]...)
	}
	b.Buf = dst
}

// low is a LowCardinality(String) column: one copy of each distinct value and an
// index per row. The empty string is entry 0.
type low struct {
	dict  []string
	index map[string]uint32
	keys  []uint32
	last  uint32 // values come in runs
}

func newLow() *low {
	c := &low{index: map[string]uint32{}}
	c.reset()
	return c
}

func (c *low) typ() string                 { return "LowCardinality(String)" }
func (c *low) rows() int                   { return len(c.keys) }
func (c *low) encodeState(b *proto.Buffer) { b.PutInt64(1) } // dictionaries come with the data

func (c *low) reset() {
	clear(c.index)
	clear(c.dict)
	c.dict, c.keys, c.last = append(c.dict[:0], ""), c.keys[:0], 0
	c.index[""] = 0
}

func (c *low) pad(rows int) {
	if n := rows - len(c.keys); n > 0 {
		c.keys = append(c.keys, make([]uint32, n)...)
	}
}

func (c *low) put(v string) {
	if v != c.dict[c.last] {
		k, ok := c.index[v]
		if !ok {
			k, v = uint32(len(c.dict)), strings.Clone(v)
			c.dict = append(c.dict, v)
			c.index[v] = k
		}
		c.last = k
	}
	c.keys = append(c.keys, c.last)
}

func (c *low) encode(b *proto.Buffer, order []uint32) {
	const hasKeys, updateDictionary = 1 << 9, 1 << 10
	width := int64(0)
	switch n := len(c.dict); {
	case n > math.MaxUint16+1:
		width = 2
	case n > math.MaxUint8+1:
		width = 1
	}
	b.PutInt64(width | hasKeys | updateDictionary)
	b.PutInt64(int64(len(c.dict)))
	for _, v := range c.dict {
		b.PutString(v)
	}
	b.PutInt64(int64(len(c.keys)))
	dst := room(b, len(c.keys)<<width)
	for i := range c.keys {
		k := c.keys[i]
		if order != nil {
			k = c.keys[order[i]]
		}
		switch width {
		case 0:
			dst[i] = uint8(k)
		case 1:
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(k))
		default:
			binary.LittleEndian.PutUint32(dst[4*i:], k)
		}
	}
}

// nullable marks rows that have no value.
type nullable struct {
	nulls []byte
	of    *fixed
}

func newNullable(of *fixed) *nullable { return &nullable{of: of} }

func (c *nullable) typ() string               { return "Nullable(" + c.of.typ() + ")" }
func (c *nullable) rows() int                 { return len(c.nulls) }
func (c *nullable) encodeState(*proto.Buffer) {}

func (c *nullable) reset() {
	c.nulls = c.nulls[:0]
	c.of.reset()
}

func (c *nullable) pad(rows int) {
	if n := rows - len(c.nulls); n > 0 {
		c.nulls = append(c.nulls, make([]byte, n)...)
		for i := rows - n; i < rows; i++ {
			c.nulls[i] = 1
		}
	}
	c.of.pad(rows)
}

// set says that the row just put to c.of has a value.
func (c *nullable) set() { c.nulls = append(c.nulls, 0) }

func (c *nullable) encode(b *proto.Buffer, order []uint32) {
	nulls := fixed{size: 1, data: c.nulls}
	nulls.encode(b, order)
	c.of.encode(b, order)
}

// array holds any number of values a row: put them to of, then end the row.
type array[C column] struct {
	offsets []byte
	of      C
	inner   []uint32 // the order of the values, while it is encoded
	name    string   // of the type, where it is not just Array
}

func newArray[C column](of C) *array[C] { return &array[C]{of: of} }

func (c *array[C]) typ() string                 { return cmp.Or(c.name, "Array("+c.of.typ()+")") }
func (c *array[C]) rows() int                   { return len(c.offsets) / 8 }
func (c *array[C]) encodeState(b *proto.Buffer) { c.of.encodeState(b) }

func (c *array[C]) reset() {
	c.offsets = c.offsets[:0]
	c.of.reset()
}

// as gives the type another name, like that of an aggregate function that is kept as an array.
func (c *array[C]) as(name string) *array[C] {
	c.name = name
	return c
}

// count is how many values a row has.
func (c *array[C]) count(row int) uint64 {
	begin, end := c.bounds(row)
	return end - begin
}

// bounds are where a row's values are in of.
func (c *array[C]) bounds(row int) (begin, end uint64) {
	if row > 0 {
		begin = binary.LittleEndian.Uint64(c.offsets[8*row-8:])
	}
	return begin, binary.LittleEndian.Uint64(c.offsets[8*row:])
}

func (c *array[C]) end() {
	c.offsets = binary.LittleEndian.AppendUint64(c.offsets, uint64(c.of.rows()))
}

func (c *array[C]) pad(rows int) {
	if n := rows - c.rows(); n > 0 {
		c.offsets = slices.Grow(c.offsets, 8*n)
		for end := uint64(c.of.rows()); n > 0; n-- {
			c.offsets = binary.LittleEndian.AppendUint64(c.offsets, end)
		}
	}
}

func (c *array[C]) encode(b *proto.Buffer, order []uint32) {
	if order = c.encodeOffsets(b, order); c.of.rows() > 0 {
		c.of.encode(b, order)
	}
}

// encodeOffsets writes how many values the rows have, and returns the order of the values.
func (c *array[C]) encodeOffsets(b *proto.Buffer, order []uint32) []uint32 {
	if order == nil || c.of.rows() == 0 {
		b.PutRaw(c.offsets)
		return nil
	}
	c.inner = slices.Grow(c.inner[:0], c.of.rows())
	dst := room(b, len(c.offsets))
	for i, row := range order {
		begin, end := c.bounds(int(row))
		for v := begin; v < end; v++ {
			c.inner = append(c.inner, uint32(v))
		}
		binary.LittleEndian.PutUint64(dst[8*i:], uint64(len(c.inner)))
	}
	return c.inner
}

// pairs is a Map with LowCardinality keys.
type pairs[V column] struct {
	keys *array[*low]
	vals V
}

func newPairs[V column](vals V) *pairs[V] { return &pairs[V]{keys: newArray(newLow()), vals: vals} }

func (c *pairs[V]) typ() string  { return "Map(LowCardinality(String), " + c.vals.typ() + ")" }
func (c *pairs[V]) rows() int    { return c.keys.rows() }
func (c *pairs[V]) pad(rows int) { c.keys.pad(rows) }
func (c *pairs[V]) end()         { c.keys.end() }

func (c *pairs[V]) reset() {
	c.keys.reset()
	c.vals.reset()
}

func (c *pairs[V]) encodeState(b *proto.Buffer) {
	c.keys.encodeState(b)
	c.vals.encodeState(b)
}

func (c *pairs[V]) encode(b *proto.Buffer, order []uint32) {
	if order = c.keys.encodeOffsets(b, order); c.vals.rows() > 0 {
		c.keys.of.encode(b, order)
		c.vals.encode(b, order)
	}
}
