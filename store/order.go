package store

import (
	"cmp"
	"slices"
)

// ordering is what sort needs; its memory is used again.
type ordering struct {
	groups map[groupKey]uint32
	keys   []groupKey
	of     []uint32 // by row
	starts []uint32 // by group, where its next row goes
	ranks  []uint32 // of the groups, in order
	order  []uint32
}

// groupKey is the table's key but for the place in Kafka, by which the rows of a block lie in
// order already: numbers of dictionaries, and five minutes.
type groupKey struct {
	tenant, server, typ uint32
	bucket              int64
}

// sort has the rows sent in the order of the table. The server, which looks first, then leaves
// them where they are: it would sort and copy all columns, which are written one row after the
// other here anyway. Were its order another, it would sort them itself.
func (r *eventRows) sort() {
	r.order = nil
	for _, c := range []column{r.tenant, r.time, r.server, r.typ} {
		c.pad(r.n)
	}
	o := &r.ordering
	clear(o.groups)
	o.keys, o.of, o.starts = o.keys[:0], slices.Grow(o.of[:0], r.n), o.starts[:0]
	sorted := true
	last := groupKey{bucket: -1}
	n := uint32(0)
	for i := range r.n {
		k := groupKey{tenant: r.tenant.keys[i], server: r.server.keys[i], typ: r.typ.keys[i], bucket: fiveMinutes(int64(r.time.at(i)))}
		if k != last || i == 0 {
			var ok bool
			if n, ok = o.groups[k]; !ok {
				n = uint32(len(o.keys))
				o.groups[k] = n
				o.keys, o.starts = append(o.keys, k), append(o.starts, 0)
			}
			last = k
		}
		o.of = append(o.of, n)
		o.starts[n]++
		sorted = sorted && (i == 0 || r.offset.at(i-1) < r.offset.at(i))
	}
	if !sorted || len(o.keys) < 2 {
		return
	}
	o.ranks = o.ranks[:0]
	for i := range o.keys {
		o.ranks = append(o.ranks, uint32(i))
	}
	slices.SortFunc(o.ranks, func(x, y uint32) int {
		a, b := o.keys[x], o.keys[y]
		return cmp.Or(cmp.Compare(r.tenant.dict[a.tenant], r.tenant.dict[b.tenant]), cmp.Compare(a.bucket, b.bucket),
			cmp.Compare(r.server.dict[a.server], r.server.dict[b.server]), cmp.Compare(r.typ.dict[a.typ], r.typ.dict[b.typ]))
	})
	at := uint32(0)
	for _, g := range o.ranks {
		o.starts[g], at = at, at+o.starts[g]
	}
	o.order = slices.Grow(o.order[:0], r.n)[:r.n]
	for i, g := range o.of {
		o.order[o.starts[g]] = uint32(i)
		o.starts[g]++
	}
	r.order = o.order
}

// fiveMinutes is the bucket of a time of DateTime64.
func fiveMinutes(millis int64) int64 { return int64(seconds(millis)) / 300 }
