package detect

import (
	"encoding/binary"
	"slices"
)

// aspect is some fields of an event whose values come together again and again: one look finds
// what is known of all of them, and of the groups that they make.
type aspect struct {
	fields []Field
	of     numbered // their values together
	stride int
	known  []int32 // by combination: the places of the values, and of groups; see known
	at     []int32 // of the event at hand
}

// known is how an aspect keeps a place: from one, and 0 is what it does not know yet. What is not
// there is below.
func known(place int32) int32 {
	if place < 0 {
		return -1
	}
	return place + 1
}

// aspectFields are the fields of all aspects, as far as rules group by them. What is due has to
// follow from another field of its aspect.
var aspectFields = [...][]Field{
	{ActorSubject, ActorClientID, NetIP, NetIPPrefix},
	{ActorToken, MCPSession, MCPHandle},
	{ServerName, MCPTool, SrcProducer},
}

// noAspect stands for all fields that are in no aspect, and for labels.
const noAspect = len(aspectFields)

// aspectSet has a bit for each aspect.
type aspectSet uint8

// aspectSlot is where a field is in an aspect, or a grouping that looks there first.
type aspectSlot struct{ aspect, place int }

// maxAspect is how many fields and groupings an aspect has at most: what a combination takes.
const maxAspect = 64

// of is what is known of it in the event at hand, or nil.
func (s aspectSlot) of(aspects []aspect) *int32 {
	if s.aspect == noAspect {
		return nil
	}
	return &aspects[s.aspect].at[s.place]
}

// init finds the aspects of the fields that rules group by.
func (m *memory) init(groupings [][]GroupTerm) {
	uses := func(f Field) bool {
		return slices.ContainsFunc(groupings, func(by []GroupTerm) bool {
			return slices.ContainsFunc(by, func(t GroupTerm) bool { return slices.Contains(t.Fields, f) })
		})
	}
	for i := range m.slots {
		m.slots[i].aspect = noAspect
	}
	for _, fields := range aspectFields {
		a := aspect{of: newNumbered()}
		for _, f := range fields {
			if uses(f) || f == NetIP && uses(NetIPPrefix) {
				m.slots[f] = aspectSlot{len(m.aspects), a.stride}
				a.fields, a.stride = append(a.fields, f), a.stride+1
			}
		}
		if a.fields != nil {
			m.aspects = append(m.aspects, a)
		}
	}
	for _, by := range groupings {
		slot := aspectSlot{aspect: noAspect}
		if len(by) > 0 && len(by[0].Fields) > 0 {
			slot.aspect = m.slots[by[0].Fields[0]].aspect
		}
		if slot.aspect != noAspect {
			a := &m.aspects[slot.aspect]
			if slot.place = a.stride; a.stride < maxAspect {
				a.stride++
			} else {
				slot.aspect = noAspect
			}
		}
		m.groupSlots = append(m.groupSlots, slot)
	}
}

// look finds or makes what is known of an aspect of the event at hand.
func (c *Collector) look(a *aspect, ev *Event) {
	b := binary.LittleEndian.AppendUint32(c.buf[:0], uint32(c.place))
	for _, f := range a.fields {
		b = append(b, byte(ev.has[f]))
		if ev.has[f] == there {
			b = c.short(ev, binary.AppendUvarint(b, uint64(len(ev.text[f]))), f.String(), ev.text[f])
		}
	}
	c.buf = b
	place, added := a.of.place(b)
	from := int(place) * a.stride
	if added {
		a.known = slices.Grow(a.known, a.stride)[:from+a.stride]
		clear(a.known[from:])
	}
	a.at = a.known[from : from+a.stride : from+a.stride]
}

func (a *aspect) forget() {
	a.of.forget()
	a.known = kept(a.known)
}

// looked are the aspects of the fields of a group's term up to the one that the event has.
func (c *Collector) looked(t GroupTerm, until Field) (set aspectSet) {
	for _, f := range t.Fields {
		set |= 1 << c.slots[f].aspect
		if f == until {
			return set
		}
	}
	if t.Label != "" {
		set |= 1 << noAspect
	}
	return set
}

// passes reports whether a field is one whose values hardly come again: nothing is remembered of them.
func passes(f Field) bool {
	switch f {
	case ID, MCPRequestID, IOArgsDigest, IOResultDigest, TraceID, SpanID:
		return true
	}
	return false
}

// passingForm is a form that nothing remembers.
type passingForm struct {
	field Field
	form  textID
}

// passingSignals finds the signals of groups that nothing remembers: open-addressed, by what is
// a hash already.
type passingSignals struct {
	slots []int32 // from one; 0 for none
	n     int
}

// find is the place of a signal, or where it is to be.
func (p *passingSignals) find(signals []gatheredSignal, hash *[16]byte) *int32 {
	if p.slots == nil {
		p.slots = make([]int32, 256)
	}
	mask := uint32(len(p.slots) - 1)
	for i := binary.LittleEndian.Uint32(hash[8:]) & mask; ; i = (i + 1) & mask {
		if s := &p.slots[i]; *s == 0 || signals[*s-1].hash == *hash {
			return s
		}
	}
}

// added counts a signal that found its place.
func (p *passingSignals) added(signals []gatheredSignal) {
	if p.n++; 4*p.n <= 3*len(p.slots) {
		return
	}
	before := p.slots
	p.slots = make([]int32, 2*len(before))
	for _, s := range before {
		if s > 0 {
			*p.find(signals, &signals[s-1].hash) = s
		}
	}
}

// restart empties it, and keeps the memory where it is about what was needed.
func (p *passingSignals) restart() {
	if len(p.slots) > 16*(p.n+64) {
		p.slots = nil
	}
	if p.n > 0 {
		clear(p.slots)
	}
	p.n = 0
}
