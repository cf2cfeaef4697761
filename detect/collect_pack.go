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

// maxPack is from where on a pack is closed, in bytes that its signals take at most. One group
// stays in one pack, however large.
const maxPack = 256 << 10

// dealt is what writing a batch needs, to be used again.
type dealt struct {
	packWriter
	points []Point // by pair
	order  []int32 // signals by where they go
	starts []int32 // in the order, by where they go
	used   []uint64
	place  []uint32  // of events in the pack in hand
	rules  []textUse // their place in the pack in hand
	pairs  []int32   // of the signal in hand
}

// Packs returns the signals of the batch [begin, end) of a source partition, dealt to so many
// partitions, and starts the next batch. The urgent ones come first.
func (c *Collector) Packs(source int32, begin, end int64, partitions int32) (out []Pack) {
	d := &c.dealt
	d.texts = &c.texts
	c.dealPoints()
	c.order(partitions)
	for class, from := range d.starts[:len(d.starts)-1] {
		to := Pack{Partition: int32(class) % partitions, Urgent: int32(class) < partitions}
		signals := d.order[from:d.starts[class+1]]
		for len(signals) > 0 {
			n, size := 0, 0
			for n < len(signals) && size < maxPack {
				size += c.size(&c.signals[signals[n]])
				n++
			}
			c.write(signals[:n])
			to.Record = d.record(make([]byte, 0, d.size()), source, begin, end)
			out = append(out, to)
			signals = signals[n:]
		}
	}
	c.gathered.restart()
	c.shedder.start()
	return out
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
		n := PartitionOf(c.groups[s.group].hash, partitions)
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

// size is about what a signal takes at most.
func (c *Collector) size(s *gatheredSignal) int {
	n := 32 + 32*int(s.name.values.until-s.name.values.from)
	for at := s.first; at > 0; at = c.pairs[at-1].next {
		p := &c.pairs[at-1]
		n += 24 + 24*int(p.points)
		if p.first > 0 {
			n += 200 * int(min(p.allShown, 4*maxEvidence))
		}
	}
	return n
}

// write makes a pack of some signals.
func (c *Collector) write(signals []int32) {
	d := &c.dealt
	d.start()
	c.writeEvents(signals)
	for _, i := range signals {
		s := &c.signals[i]
		g := &c.groups[s.group]
		d.group(g.hash, s.name.tenant, c.called[s.name.values.from:s.name.values.until], int(s.pairs))
		d.pairs = d.pairs[:0]
		for at := s.first; at > 0; at = c.pairs[at-1].next {
			p := &c.pairs[at-1]
			use := &d.rules[p.rule]
			if use.pack != d.pack {
				*use = textUse{d.pack, d.rule(c.rs.Rules()[p.rule].Hash)}
			}
			d.packWriter.points(use.place, c.pointsOf(p), d.place, c.alike(p), p.first > 0)
			d.pairs = append(d.pairs, at-1)
			if p.first > 0 {
				c.writeShown(p)
			}
		}
	}
}

func (c *Collector) pointsOf(p *pair) []Point { return c.dealt.points[p.from : p.from+p.points] }

// writeEvents adds the events of some signals to the pack, in the order of the log.
func (c *Collector) writeEvents(signals []int32) {
	d := &c.dealt
	words := (len(c.events) + 63) / 64
	d.used = slices.Grow(d.used[:0], words)[:words]
	clear(d.used)
	d.place = slices.Grow(d.place[:0], len(c.events))[:len(c.events)]
	for _, i := range signals {
		for at := c.signals[i].first; at > 0; at = c.pairs[at-1].next {
			points := c.pointsOf(&c.pairs[at-1])
			for j := range points {
				d.used[points[j].Event/64] |= 1 << (points[j].Event % 64)
			}
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

// maxAlike is how many rules of a group are looked at for points that are alike.
const maxAlike = 8

// alike is how many rules before in the group there are points of the same events and steps, or 0.
func (c *Collector) alike(p *pair) int {
	pairs := c.dealt.pairs
	points := c.pointsOf(p)
	for back := 1; back <= min(len(pairs), maxAlike); back++ {
		other := c.pointsOf(&c.pairs[pairs[len(pairs)-back]])
		if len(points) > 0 && slices.EqualFunc(points, other, func(a, b Point) bool { return a.Event == b.Event && a.Step == b.Step }) {
			return back
		}
	}
	return 0
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
