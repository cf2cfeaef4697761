package detect

import (
	"encoding/binary"
	"strings"
)

// memory is what a Collector knows of values that recur: their public form, what tells them
// apart, the groups that they make. It is a shortcut and nothing more: a batch gives the same
// packs without it. What it knows is of one pseudonym key, and bounded.
type memory struct {
	texts
	key    string // id of the key that public forms are of
	ofKey  bool   // the event at hand is of that key too
	tenant string // of the event before
	place  int32  // of the tenant

	aspects    []aspect
	slots      [NumFields]aspectSlot
	groupSlots []aspectSlot  // by grouping
	once       []passingForm // of the event at hand
	hashes     [][16]byte    // of the passing groups of the event at hand

	values   numbered // tenants; and their fields with values
	ofValues []knownValue
	of       numbered // the groups of several values: tenants and values by their places
	ofGroups []int32
	groups   []knownGroup
	called   []wireValue // of groups

	names [NumFields]textID
	buf   []byte
	parts []string
	found []int32
}

// knownValue is a value of a field, or of a label.
type knownValue struct {
	form   textID // public
	formed bool   // it is known
	apart  uint64 // keyed hash
	hashed bool   // it is known
	group  int32  // of events with this value, from one; 0 before it is known
}

// knownGroup is a group, and its place in the batch in hand.
type knownGroup struct {
	hash   [16]byte
	name   groupName
	named  bool   // it is known
	batch  uint32 // the last one that it was in, and
	signal int32  // its signal there
}

// groupName is what a group is called: public forms.
type groupName struct {
	tenant textID
	values span
}

// maxKnown is how many things of a kind a memory holds when a batch begins, and maxKnownBytes how
// much it takes for their values. Values of more than maxKnownLen bytes are known by their hash.
const (
	maxKnown      = 1 << 14
	maxKnownBytes = 2 << 20
	maxKnownLen   = 256
)

func newMemory(groupings [][]GroupTerm) memory {
	m := memory{place: -1, texts: newTexts(), values: newNumbered(), of: newNumbered()}
	m.init(groupings)
	return m
}

// begin makes ready for a batch whose first event is of a key.
func (m *memory) begin(key string) {
	full := m.texts.full() || m.values.full() || m.of.full() || len(m.called) >= 4*maxKnown
	for i := range m.aspects {
		full = full || m.aspects[i].of.full()
	}
	if key == m.key && !full {
		return
	}
	for i := range m.aspects {
		m.aspects[i].forget()
	}
	m.texts.forget()
	m.values.forget()
	m.of.forget()
	m.ofValues, m.ofGroups, m.groups, m.called = kept(m.ofValues), kept(m.ofGroups), kept(m.groups), kept(m.called)
	m.key, m.tenant, m.place, m.names = key, "", -1, [NumFields]textID{}
}

// next begins an event.
func (c *Collector) next(ev *Event, key string) {
	c.ofKey = key == c.key
	c.once, c.hashes = c.once[:0], c.hashes[:0]
	if tenant := ev.text[Tenant]; c.place < 0 || tenant != c.tenant {
		c.place = c.number(append(append(c.buf[:0], byte(NumFields)+1), tenant...))
		c.tenant = strings.Clone(tenant) // the event's may be a part of a record
	}
	for i := range c.aspects {
		c.look(&c.aspects[i], ev)
	}
}

func (c *Collector) number(b []byte) int32 {
	c.buf = b
	place, added := c.values.place(b)
	if added {
		c.ofValues = append(c.ofValues, knownValue{})
	}
	return place
}

// value finds or makes the place of a value that the event at hand has of a field.
func (c *Collector) value(ev *Event, f Field) (place int32, ok bool) {
	known := c.slots[f].of(c.aspects)
	if known != nil && *known != 0 {
		return *known - 1, *known > 0
	}
	place = -2 // not there
	raw, ok := ev.raw(f)
	if ok {
		b := binary.LittleEndian.AppendUint32(append(c.buf[:0], byte(f)), uint32(c.place))
		place = c.number(c.short(ev, b, f.String(), raw))
	}
	if known != nil {
		*known = place + 1
	}
	return place, ok
}

// short appends a value, or where it is long its hash, which is never as short.
func (c *Collector) short(ev *Event, b []byte, name, raw string) []byte {
	if len(raw) <= maxKnownLen {
		return append(b, raw...)
	}
	hash := c.keys.GroupHash(ev.text[Tenant], "known", name, raw)
	return append(append(b, make([]byte, maxKnownLen)...), hash[:]...)
}

// label finds or makes the place of a label with its value.
func (c *Collector) label(ev *Event, key, raw string) int32 {
	b := binary.LittleEndian.AppendUint32(append(c.buf[:0], byte(NumFields)), uint32(c.place))
	return c.number(c.short(ev, appendString(b, key), "labels."+key, raw))
}

// form is the public form of a field, where the event has a value of it.
func (c *Collector) form(ev *Event, f Field) (form textID, ok bool) {
	if passes(f) {
		return c.passingForm(ev, f)
	}
	place, ok := c.value(ev, f)
	if !ok {
		return 0, false
	}
	k := &c.ofValues[place]
	if c.ofKey && k.formed {
		return k.form, true
	}
	raw, _ := ev.raw(f)
	v := ev.publicValue(f, raw)
	form = c.id(v.Value, v.Key)
	if c.ofKey {
		k.form, k.formed = form, true
	}
	return form, true
}

// passingForm is a form that is made for the event at hand alone.
func (c *Collector) passingForm(ev *Event, f Field) (textID, bool) {
	for _, p := range c.once {
		if p.field == f {
			return p.form, true
		}
	}
	raw, ok := ev.raw(f)
	if !ok {
		return 0, false
	}
	v := ev.publicValue(f, raw)
	p := passingForm{f, c.pass(v.Value, v.Key)}
	c.once = append(c.once, p)
	return p.form, true
}

// name is the number of a field's name.
func (c *Collector) name(f Field) textID {
	if c.names[f] == 0 {
		c.names[f] = c.id(f.String(), "")
	}
	return c.names[f]
}

// apart is what tells the value of a field apart from others.
func (c *Collector) apart(ev *Event, f Field) uint64 {
	if f.Kind() == List || passes(f) {
		return c.hash(ev, "value", f.String(), ev.whole(f))
	}
	place, ok := c.value(ev, f)
	if !ok {
		return c.hash(ev, "value", f.String(), "")
	}
	k := &c.ofValues[place]
	if !k.hashed {
		raw, _ := ev.raw(f)
		k.apart, k.hashed = c.hash(ev, "value", f.String(), raw), true
	}
	return k.apart
}

// hash is a keyed hash of the event's tenant and parts.
func (c *Collector) hash(ev *Event, parts ...string) uint64 {
	c.parts = append(c.parts[:0], parts...) // so that the caller's stay off the heap
	h := c.keys.GroupHash(ev.text[Tenant], c.parts...)
	clear(c.parts)
	return binary.BigEndian.Uint64(h[:])
}
