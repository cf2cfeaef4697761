package detect

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// shown is evidence as a group keeps it: most of it is never shown.
type shown struct {
	at     int64
	packed string
}

// maxGroupEvidence is how much a group may keep, of all its buckets.
const maxGroupEvidence = 20 * maxEvidence

// id is the event's: what is packed begins with it.
func (e *shown) id() string {
	n, size := uint64(0), 0
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		n |= uint64(e.packed[i]&0x7f) << shift
		if e.packed[i] < 0x80 {
			size = i + 1
			break
		}
	}
	return e.packed[size : size+int(n)]
}

func compareShown(a shown, at int64, id string) int {
	if c := cmp.Compare(a.at, at); c != 0 {
		return c
	}
	return cmp.Compare(a.id(), id)
}

func (w *Windows) packEvidence(e *Evidence) string {
	b := appendString(w.scratch[:0], e.EventID)
	b = binary.AppendVarint(binary.AppendVarint(b, int64(e.Partition)), e.Offset)
	for _, s := range [...]string{e.Server, e.Type, e.Outcome, e.Tool, e.Finding} {
		b = w.names.append(b, s)
	}
	for _, v := range e.Context {
		b = w.names.append(appendString(w.names.append(b, v.Field), v.Value), v.Key)
	}
	w.scratch = b
	return string(b)
}

func (w *Windows) unpackEvidence(x *shown) Evidence {
	r := wireReader{b: []byte(x.packed)}
	e := Evidence{Time: time.UnixMilli(x.at).UTC(), EventID: r.string(), Partition: int32(r.varint()), Offset: r.varint()}
	for _, s := range [...]*string{&e.Server, &e.Type, &e.Outcome, &e.Tool, &e.Finding} {
		*s = w.names.read(&r)
	}
	for len(r.b) > 0 {
		e.Context = append(e.Context, GroupValue{Field: w.names.read(&r), Value: r.string(), Key: w.names.read(&r)})
	}
	return e
}

// takesEvidence reports whether a group may get more, and counts what it may not. Where all groups
// together have too much, only groups that fired do.
func (w *Windows) takesEvidence(g *window) bool {
	if w.evidence >= w.opts.MaxEvidence && (!g.fired() || len(g.more.evidence) >= 2*maxEvidence) {
		w.stats.NoEvidence++
		return false
	}
	return true
}

func (w *Windows) addEvidence(g *window, e *Evidence) {
	w.addShown(g, e.Time.UnixMilli(), e.EventID, func() string { return w.packEvidence(e) })
}

// addShown keeps the oldest of each bucket's span, so that a bucket which is judged long after its
// events still has some to show.
func (w *Windows) addShown(g *window, at int64, id string, packed func() string) {
	m := g.extra()
	start := at - mod(at, g.rule.bucket)
	last := firstShown(m.evidence, start+g.rule.bucket) - 1
	full := last+1 >= maxEvidence && m.evidence[last+1-maxEvidence].at >= start
	if full && compareShown(m.evidence[last], at, id) <= 0 {
		return
	}
	i, dup := slices.BinarySearchFunc(m.evidence, at, func(e shown, at int64) int { return compareShown(e, at, id) })
	if dup {
		return
	}
	m.evidence = slices.Insert(m.evidence, i, shown{at, packed()})
	w.evidence++
	switch {
	case full:
		m.evidence = slices.Delete(m.evidence, last+1, last+2)
		w.evidence--
	case len(m.evidence) > maxGroupEvidence:
		i := g.spare()
		m.evidence = slices.Delete(m.evidence, i, i+1)
		w.evidence--
		w.stats.NoEvidence++
	}
}

// spare is the newest piece of the bucket that has most: where a group has many buckets that are not
// judged yet, each keeps something to show.
func (g *window) spare() (i int) {
	most, n, start := 0, 0, int64(unknownTime)
	for j := range g.more.evidence {
		if at := g.more.evidence[j].at; at >= start+g.rule.bucket {
			n, start = 0, at-mod(at, g.rule.bucket)
		}
		if n++; n > most {
			i, most = j, n
		}
	}
	return i
}

// dropEvidence drops what no bucket will show that ends behind mark.
func (w *Windows) dropEvidence(g *window, mark int64) {
	if g.more == nil {
		return
	}
	n := firstShown(g.more.evidence, mark-g.rule.bucket-g.rule.window+1)
	g.more.evidence = slices.Delete(g.more.evidence, 0, n)
	w.evidence -= n
}

// shownUntil is the watermark up to which an alert may come that shows what the group keeps.
func (g *window) shownUntil() int64 {
	if g.more == nil || len(g.more.evidence) == 0 {
		return unknownTime
	}
	at := g.more.evidence[len(g.more.evidence)-1].at
	return at - mod(at, g.rule.bucket) + g.rule.bucket + g.rule.plan.lag
}

// firstShown is the index of the first at or after a time.
func firstShown(in []shown, at int64) int {
	if n := len(in); n == 0 || in[n-1].at < at {
		return n
	}
	i, _ := slices.BinarySearchFunc(in, at, func(e shown, t int64) int { return cmp.Compare(e.at, t) })
	return i
}

// shown is what the group keeps from a time until before another.
func (g *window) shown(from, until int64) []shown {
	if g.more == nil {
		return nil
	}
	in := g.more.evidence
	return in[firstShown(in, from):firstShown(in, until)]
}

// show is the oldest of what is known of a bucket and its windows, and of what was shown before.
func (w *Windows) show(g *window, b *bucket) []Evidence {
	all := slices.Clone(b.shown)
	in := g.shown(b.start-max(g.rule.window, 1)+1, b.last+g.rule.pane)
	for i := range in[:min(len(in), maxEvidence)] {
		x := &in[i]
		j, dup := slices.BinarySearchFunc(all, x.at, func(e shown, at int64) int { return compareShown(e, at, x.id()) })
		if !dup {
			all = slices.Insert(all, j, *x)
		}
	}
	b.shown = all[:min(len(all), maxEvidence)]
	var out []Evidence
	for i := range b.shown {
		out = append(out, w.unpackEvidence(&b.shown[i]))
	}
	return out
}
