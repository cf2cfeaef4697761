package detect

import (
	"encoding/binary"
	"slices"
)

const (
	// maxPack is how many bytes a pack of several groups has at most, and maxGroupPack one of
	// several rules of a group, which may share most of what they say.
	maxPack      = 256 << 10
	maxGroupPack = 4 * maxPack
	// maxPackPoints is how many points several rules have in a pack: what says the same as
	// another takes no bytes, but its reader takes memory for it.
	maxPackPoints = maxSignalPoints / 4
	// maxPairPoints is how many points a rule has in a group, which cannot be cut: what a batch
	// of 25,000 events gives to as many conditions as a rule can have. Only findings, of which
	// an event can have many, could be more.
	maxPairPoints = 25_000 * maxStreams
)

// What parts of a pack take at most, but for texts.
const (
	sizeOfPack  = 128 // its head and the numbers of things
	sizeOfPlace = 3   // of anything: below 1<<21
	sizeOfValue = 9   // of a point
)

// measure tells how large the pack in hand is at most before it is written. What is in a pack
// once counts once.
type measure struct {
	bytes, count                                int    // and points
	now                                         uint32 // number of the pack in hand
	sizeOfEvent                                 int
	inEvents, inTexts, inKeys, inFacts, inRules stamps
}

// stamps are the packs in which things were last, by place.
type stamps []uint32

// first reports whether a thing comes to the pack for the first time.
func (s *stamps) first(place int, now uint32) bool {
	if place >= len(*s) {
		*s = append(*s, make([]uint32, place+1-len(*s))...)
	}
	was := (*s)[place]
	(*s)[place] = now
	return was != now
}

func (m *measure) start() { m.bytes, m.count, m.now = sizeOfPack, 0, m.now+1 }

func (m *measure) over(bytes int) bool { return m.bytes > bytes || m.count > maxPackPoints }

// measureEvents finds what an event of the batch takes at most, and starts the first pack.
func (c *Collector) measureEvents() {
	var low, high SignalEvent // delays in Append
	for i := range c.events {
		e := c.events[i].SignalEvent
		e.Append -= e.Time
		if i == 0 {
			low, high = e, e
		}
		low.Time, high.Time = min(low.Time, e.Time), max(high.Time, e.Time)
		low.Append, high.Append = min(low.Append, e.Append), max(high.Append, e.Append)
	}
	size := func(x int64) int { return len(binary.AppendVarint(c.buf[:0], x)) }
	d := &c.dealt
	d.sizeOfEvent = 8 + size(low.Time-high.Time) + max(size(low.Append), size(high.Append))
	d.measure.start()
}

// measureText counts a place of a text, and the text.
func (c *Collector) measureText(id textID) {
	d := &c.dealt
	d.bytes += sizeOfPlace
	place := id.place()
	if place < 0 || !d.inTexts.first(place, d.now) {
		return
	}
	b := c.texts.packed(id)
	if b[0] != textPlain {
		n, size := binary.Uvarint(b[1:])
		b = b[size:]
		d.bytes += sizeOfPlace
		if d.inKeys.first(int(n), d.now) {
			d.bytes += binary.MaxVarintLen32 + len(c.texts.keys[n])
		}
	}
	d.bytes += binary.MaxVarintLen32 + len(b) - 1
}

func (c *Collector) measureValues(values []wireValue) {
	c.dealt.bytes += sizeOfPlace
	for _, v := range values {
		c.measureText(v.field)
		c.measureText(v.value)
	}
}

func (c *Collector) measureGroup(s *gatheredSignal) {
	c.dealt.bytes += 16 + sizeOfPlace
	c.measureText(s.name.tenant)
	c.measureValues(c.naming[s.name.values.from:s.name.values.until])
}

// measurePair counts a rule of the signal in hand, and finds what it shares with those before.
func (c *Collector) measurePair(p *pair) {
	d := &c.dealt
	points := c.pointsOf(p)
	if d.inRules.first(int(p.rule), d.now) {
		d.bytes += 16
	}
	d.count += len(points)
	d.bytes += 2*sizeOfPlace + binary.MaxVarintLen32
	if slices.ContainsFunc(points, func(x Point) bool { return x.Value != addsOne }) {
		d.bytes += sizeOfValue * len(points)
	}
	if p.alike = uint8(c.alike(points)); p.alike == 0 {
		d.bytes += (sizeOfPlace + 1) * len(points) // and a step
		for i := range points {
			if d.inEvents.first(int(points[i].Event), d.now) {
				d.bytes += d.sizeOfEvent
			}
		}
	}
	for at := p.first; at > 0; at = c.shown[at-1].next {
		x := &c.shown[at-1]
		d.bytes += 2*sizeOfPlace + sizeOfPlace*int(x.choices.until-x.choices.from)
		if !d.inFacts.first(int(x.facts), d.now) {
			continue
		}
		f := &c.facts[x.facts]
		d.bytes += 2*sizeOfPlace + binary.MaxVarintLen64 + binary.MaxVarintLen32 + int(f.id.until-f.id.from)
		for _, t := range [...]textID{f.server, f.kind, f.outcome, f.tool, f.finding} {
			c.measureText(t)
		}
		c.measureValues(c.context[f.context.from:f.context.until])
	}
}

// maxAlike is how many rules of a group are looked at for points that are alike.
const maxAlike = 8

// alike is how many rules before in the group, and in the pack, there are points of the same events
// and steps, or 0.
func (c *Collector) alike(points []Point) int {
	pairs := c.dealt.pairs
	for back := 1; back <= min(len(pairs), maxAlike); back++ {
		other := c.pointsOf(&c.pairs[pairs[len(pairs)-back]])
		if len(points) > 0 && slices.EqualFunc(points, other, func(a, b Point) bool { return a.Event == b.Event && a.Step == b.Step }) {
			return back
		}
	}
	return 0
}
