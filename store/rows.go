package store

import (
	"iter"
	"slices"
	"strings"
)

// rows is a block of rows for one table, column by column. Memory is kept over resets.
type rows struct {
	table string
	n     int
	cols  []named
	some  []named  // of cols
	order []uint32 // in which they are sent; nil is as they were put
}

type named struct {
	name string
	data column
}

// add gives the table a column and returns it.
func add[C column](r *rows, name string, c C) C {
	r.cols = append(r.cols, named{name, c})
	return c
}

// put returns the columns that something was put to, each filled up to the number of rows.
func (r *rows) put() []named {
	r.some = r.some[:0]
	for _, c := range r.cols {
		if c.data.rows() > 0 {
			c.data.pad(r.n)
			r.some = append(r.some, c)
		}
	}
	return r.some
}

// filled returns all columns, each filled up to the number of rows.
func (r *rows) filled() []named {
	for _, c := range r.cols {
		c.data.pad(r.n)
	}
	return r.cols
}

func (r *rows) reset() {
	for _, c := range r.cols {
		c.data.reset()
	}
	r.n, r.order = 0, nil
}

// insertSQL names every column: a column added later by a newer version stays at its default.
func insertSQL(database, table string, cols []named) string {
	var s strings.Builder
	s.WriteString("INSERT INTO " + quoteName(database) + "." + quoteName(table) + " (")
	for i, c := range cols {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString(quoteName(c.name))
	}
	s.WriteString(")")
	return s.String()
}

// quoteName quotes an identifier. Names come from this package or passed validName.
func quoteName(name string) string { return "`" + name + "`" }

// putLow appends v unless it is the default, which pad writes for nothing.
func (r *rows) putLow(c *low, v string) {
	if v != "" {
		c.pad(r.n)
		c.put(v)
	}
}

func (r *rows) putFixed(c *fixed, bits uint64) {
	if bits != 0 {
		c.pad(r.n)
		c.put(bits)
	}
}

func (r *rows) putList(c *array[*low], vs []string) {
	if len(vs) > 0 {
		c.pad(r.n)
		for _, v := range vs {
			c.of.put(v)
		}
		c.end()
	}
}

// pieces are the rows of one table, apart by the table's partition: the server stores what an
// insert brings for one partition whole or not at all, but not so for several.
type pieces[R interface{ reset() }] struct {
	make  func() R
	parts []int64 // which partition; what made has more is empty, and kept for its memory
	made  []R
}

// at returns the rows of a partition.
func (p *pieces[R]) at(part int64) R {
	if i := slices.Index(p.parts, part); i >= 0 {
		return p.made[i]
	}
	if len(p.parts) == len(p.made) {
		p.made = append(p.made, p.make())
	}
	p.parts = append(p.parts, part)
	return p.made[len(p.parts)-1]
}

// each is in the order in which the partitions were first seen.
func (p *pieces[R]) each() iter.Seq2[int64, R] {
	return func(yield func(int64, R) bool) {
		for i, part := range p.parts {
			if !yield(part, p.made[i]) {
				return
			}
		}
	}
}

func (p *pieces[R]) reset() {
	for i := range p.parts {
		p.made[i].reset()
	}
	p.parts = p.parts[:0]
}
