package detect

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Pack is a record of picket.signals: some signals of one batch, all for one partition.
type Pack struct {
	Partition int32
	Urgent    bool // it holds a critical event that fires by itself, and is to be written first
	Record    []byte
}

// PartitionOf deals groups to so many partitions of picket.signals. Their number is fixed when
// the topic is made, so a group stays where it is.
func PartitionOf(group [16]byte, partitions int32) int32 {
	return int32(binary.BigEndian.Uint64(group[:8]) % uint64(partitions))
}

// dealt is what writing a batch needs, to be used again.
type dealt struct {
	packWriter
	measure
	points []Point // by pair
	order  []int32 // signals by where they go
	starts []int32 // in the order, by where they go
	pieces []piece // of the pack in hand
	used   []uint64
	place  []uint32  // of events in the pack in hand
	rules  []textUse // their place in the pack in hand
	pairs  []int32   // of the signal that is measured, as far as they are in the pack in hand
	given  [][]byte  // records that somebody may be writing
	free   [][]byte  // and their memory after that
}

// piece is what a pack has of a signal: some of its rules, mostly all.
type piece struct{ signal, first, pairs int32 }

// Packs returns the signals of the batch [begin, end) of a source partition, dealt to so many
// partitions, and starts the next batch. The urgent ones come first. They hold until Written.
func (c *Collector) Packs(source int32, begin, end int64, partitions int32) (out []Pack) {
	d := &c.dealt
	d.texts = &c.texts
	c.dealPoints()
	c.order(partitions)
	c.measureEvents()
	for class, from := range d.starts[:len(d.starts)-1] {
		finish := func() {
			c.write(d.pieces)
			out = append(out, Pack{
				Partition: int32(class) % partitions, Urgent: int32(class) < partitions,
				Record: d.record(d.memoryFor(d.packWriter.size()), source, begin, end),
			})
			d.give(out[len(out)-1].Record)
			d.pieces = d.pieces[:0]
			d.measure.start()
		}
		for _, i := range d.order[from:d.starts[class+1]] {
			c.fill(i, finish)
		}
		if len(d.pieces) > 0 {
			finish()
		}
	}
	c.gathered.restart()
	c.texts.passing.forget()
	c.shedder.start()
	return out
}

// Written says that nobody reads any pack so far any more: their memory is used again.
func (c *Collector) Written() {
	d := &c.dealt
	d.free = append(d.free, d.given...)
	d.free = d.free[max(0, len(d.free)-maxGiven):]
	clear(d.given)
	d.given = d.given[:0]
}

// maxGiven is how many records a Collector keeps the memory of.
const maxGiven = 32

func (d *dealt) memoryFor(size int) []byte {
	for i := len(d.free) - 1; i >= 0; i-- {
		if b := d.free[i]; cap(b) >= size {
			d.free = slices.Delete(d.free, i, i+1)
			return b[:0]
		}
	}
	if n := len(d.free); n > 0 { // too small for what comes now
		d.free = d.free[:n-1]
	}
	return make([]byte, 0, size+size/8)
}

func (d *dealt) give(record []byte) {
	if len(d.given) < maxGiven && cap(record) <= 2*maxPack {
		d.given = append(d.given, record)
	}
}

// fill adds a signal to the pack in hand, or to one of its own where that has no room. Rules that
// a pack of its own has no room for go on in the next one: a rule is never cut.
func (c *Collector) fill(signal int32, finish func()) {
	d, s := &c.dealt, &c.signals[signal]
	p := piece{signal: signal}
	for at := s.first; at > 0; {
		if p.pairs == 0 {
			p.first, d.pairs = at, d.pairs[:0]
			c.measureGroup(s)
		}
		c.measurePair(&c.pairs[at-1])
		switch {
		case len(d.pieces) > 0 && d.over(maxPack):
			finish()
			at, p.pairs = s.first, 0
		case p.pairs > 0 && d.over(maxGroupPack):
			d.pieces = append(d.pieces, p)
			finish()
			p.pairs = 0
		default:
			d.pairs = append(d.pairs, at-1)
			at = c.pairs[at-1].next
			p.pairs++
		}
	}
	d.pieces = append(d.pieces, p)
}

// dealPoints puts the points of each pair together.
func (c *Collector) dealPoints() {
	d := &c.dealt
	n := int32(0)
	for i := range c.pairs {
		if p := &c.pairs[i]; !p.gone {
			p.from, p.points, n = n, 0, n+p.points
		}
	}
	d.points = slices.Grow(kept(d.points), int(n))[:n]
	for i := range c.points {
		if p := &c.pairs[c.points[i].pair]; !p.gone {
			d.points[p.from+p.points] = c.points[i].Point
			p.points++
		}
	}
}

// order sorts the signals by where they go, urgent ones first. They keep their order there.
func (c *Collector) order(partitions int32) {
	d := &c.dealt
	class := func(s *gatheredSignal) int32 {
		n := PartitionOf(s.hash, partitions)
		if !s.urgent {
			n += partitions
		}
		return n
	}
	d.starts = slices.Grow(d.starts[:0], int(2*partitions)+1)[:2*partitions+1]
	clear(d.starts)
	n := int32(0)
	for i := range c.signals {
		if s := &c.signals[i]; s.pairs > 0 {
			d.starts[class(s)]++
			n++
		}
	}
	for i, at := 0, int32(0); i < len(d.starts); i++ {
		d.starts[i], at = at, at+d.starts[i]
	}
	d.order = slices.Grow(kept(d.order), int(n))[:n]
	for i := range c.signals {
		if s := &c.signals[i]; s.pairs > 0 {
			at := &d.starts[class(s)]
			d.order[*at] = int32(i)
			*at++
		}
	}
	copy(d.starts[1:], d.starts) // each has moved to where the next one begins
	d.starts[0] = 0
}

// write makes a pack of some signals.
func (c *Collector) write(pieces []piece) {
	d := &c.dealt
	d.packWriter.start()
	c.writeEvents(pieces)
	for _, x := range pieces {
		s := &c.signals[x.signal]
		d.group(s.hash, s.name.tenant, c.naming[s.name.values.from:s.name.values.until], int(x.pairs))
		at := x.first
		for range x.pairs {
			p := &c.pairs[at-1]
			use := &d.rules[p.rule]
			if use.pack != d.pack {
				*use = textUse{d.pack, d.rule(c.rs.Rules()[p.rule].Hash)}
			}
			d.packWriter.points(use.place, c.pointsOf(p), d.place, int(p.alike), p.first > 0)
			if p.first > 0 {
				c.writeShown(p)
			}
			at = p.next
		}
	}
}

func (c *Collector) pointsOf(p *pair) []Point { return c.dealt.points[p.from : p.from+p.points] }

// writeEvents adds the events of some signals to the pack, in the order of the log.
func (c *Collector) writeEvents(pieces []piece) {
	d := &c.dealt
	words := (len(c.events) + 63) / 64
	d.used = slices.Grow(d.used[:0], words)[:words]
	clear(d.used)
	d.place = slices.Grow(d.place[:0], len(c.events))[:len(c.events)]
	for _, x := range pieces {
		at := x.first
		for range x.pairs {
			p := &c.pairs[at-1]
			if p.alike == 0 {
				for _, point := range c.pointsOf(p) {
					d.used[point.Event/64] |= 1 << (point.Event % 64)
				}
			}
			at = p.next
		}
	}
	n := uint32(0)
	for i, word := range d.used {
		for ; word != 0; word &= word - 1 {
			e := 64*i + bits.TrailingZeros64(word)
			d.event(&c.events[e].SignalEvent)
			d.place[e] = n
			n++
		}
	}
}

func (c *Collector) writeShown(p *pair) {
	d := &c.dealt
	n := 0
	for at := p.first; at > 0; at = c.shown[at-1].next {
		n++
	}
	d.shown(n)
	for at := p.first; at > 0; at = c.shown[at-1].next {
		x := &c.shown[at-1]
		f := &c.facts[x.facts]
		if f.use.pack != d.pack {
			facts := f.wireFacts
			facts.event = d.place[facts.event]
			f.use = textUse{d.pack, d.facts(&facts, c.ids[f.id.from:f.id.until], c.context[f.context.from:f.context.until])}
		}
		d.show(f.use.place, c.choices[x.choices.from:x.choices.until])
	}
}
