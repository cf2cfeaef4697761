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
type column interface {
	typ() string
	rows() int
	pad(rows int)
	reset()
	encodeState(b *proto.Buffer) // what comes once before the data
	encode(b *proto.Buffer)
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
func (c *fixed) encode(b *proto.Buffer)    { b.PutRaw(c.data) }

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
	n    int
}

func (c *text) typ() string               { return "String" }
func (c *text) rows() int                 { return c.n }
func (c *text) reset()                    { c.data, c.n = c.data[:0], 0 }
func (c *text) encodeState(*proto.Buffer) {}
func (c *text) encode(b *proto.Buffer)    { b.PutRaw(c.data) }

func (c *text) put(v string) {
	c.data = append(binary.AppendUvarint(c.data, uint64(len(v))), v...)
	c.n++
}

func (c *text) pad(rows int) {
	if n := rows - c.n; n > 0 {
		c.data, c.n = append(c.data, make([]byte, n)...), rows
	}
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

func (c *low) encode(b *proto.Buffer) {
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
	at := len(b.Buf)
	b.Buf = slices.Grow(b.Buf, len(c.keys)<<width)[:at+len(c.keys)<<width]
	for i, dst := 0, b.Buf[at:]; i < len(c.keys); i++ {
		switch width {
		case 0:
			dst[i] = uint8(c.keys[i])
		case 1:
			binary.LittleEndian.PutUint16(dst[2*i:], uint16(c.keys[i]))
		default:
			binary.LittleEndian.PutUint32(dst[4*i:], c.keys[i])
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

func (c *nullable) encode(b *proto.Buffer) {
	b.PutRaw(c.nulls)
	c.of.encode(b)
}

// array holds any number of values a row: put them to of, then end the row.
type array[C column] struct {
	offsets []byte
	of      C
	name    string // of the type, where it is not just Array
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
	n := binary.LittleEndian.Uint64(c.offsets[8*row:])
	if row > 0 {
		n -= binary.LittleEndian.Uint64(c.offsets[8*row-8:])
	}
	return n
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

func (c *array[C]) encode(b *proto.Buffer) {
	b.PutRaw(c.offsets)
	if c.of.rows() > 0 {
		c.of.encode(b)
	}
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

func (c *pairs[V]) encode(b *proto.Buffer) {
	c.keys.encode(b)
	if c.vals.rows() > 0 {
		c.vals.encode(b)
	}
}
