package detect

import (
	"encoding/binary"
	"slices"
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
	event  uint64 // number of the event at hand
	seen   [NumFields]struct {
		event uint64
		place int32
	} // values of the event at hand

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

func newMemory() memory {
	return memory{place: -1, texts: newTexts(), values: newNumbered(), of: newNumbered()}
}

// begin makes ready for a batch whose first event is of a key.
func (m *memory) begin(key string) {
	if key == m.key && !m.texts.full() && !m.values.full() && !m.of.full() && len(m.called) < 4*maxKnown {
		return
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
	c.event++
	if tenant := ev.text[Tenant]; c.place < 0 || tenant != c.tenant {
		c.place = c.number(append(append(c.buf[:0], byte(NumFields)+1), tenant...))
		c.tenant = strings.Clone(tenant) // the event's may be a part of a record
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
func (c *Collector) value(ev *Event, f Field, raw string) int32 {
	s := &c.seen[f]
	if s.event == c.event {
		return s.place
	}
	b := binary.LittleEndian.AppendUint32(append(c.buf[:0], byte(f)), uint32(c.place))
	s.event, s.place = c.event, c.number(c.short(ev, b, f.String(), raw))
	return s.place
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

// form is the public form of a field that has a raw value.
func (c *Collector) form(ev *Event, f Field, raw string) textID {
	k := &c.ofValues[c.value(ev, f, raw)]
	if c.ofKey && k.formed {
		return k.form
	}
	v := ev.publicValue(f, raw)
	form := c.id(v.Value, v.Key)
	if c.ofKey {
		k.form, k.formed = form, true
	}
	return form
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
	raw, ok := ev.raw(f)
	if !ok || f.Kind() == List {
		return c.hash(ev, "value", f.String(), ev.whole(f))
	}
	k := &c.ofValues[c.value(ev, f, raw)]
	if !k.hashed {
		k.apart, k.hashed = c.hash(ev, "value", f.String(), raw), true
	}
	return k.apart
}

// hash is a keyed hash of the event's tenant and parts.
func (c *Collector) hash(ev *Event, parts ...string) uint64 {
	h := c.keys.GroupHash(ev.text[Tenant], parts...)
	return binary.BigEndian.Uint64(h[:])
}

// grouped reports whether the event has every group field of the rule, and finds its group.
// Groups of the same fields and values are one, whatever the rules ask for.
func (c *Collector) grouped(ev *Event, rule *Rule) bool {
	at := &c.at[rule.Grouping]
	if at.done {
		return at.ok
	}
	at.done = true
	c.found = c.found[:0]
	for _, t := range rule.GroupBy {
		f, key, raw, ok := ev.groupRaw(t)
		switch {
		case !ok:
			return false
		case f < NumFields:
			c.found = append(c.found, c.value(ev, f, raw))
		default:
			c.found = append(c.found, c.label(ev, key, raw))
		}
	}
	at.ok = true
	var group *int32 // from one
	if len(c.found) == 1 {
		group = &c.ofValues[c.found[0]].group
	} else {
		b := binary.LittleEndian.AppendUint32(c.buf[:0], uint32(c.place))
		for _, place := range c.found {
			b = binary.LittleEndian.AppendUint32(b, uint32(place))
		}
		c.buf = b
		place, added := c.of.place(b)
		if added {
			c.ofGroups = append(c.ofGroups, 0)
		}
		group = &c.ofGroups[place]
	}
	if *group == 0 {
		c.groups = append(c.groups, knownGroup{hash: c.groupHash(ev, rule)})
		*group = int32(len(c.groups))
	}
	at.group = *group - 1
	return true
}

func (c *Collector) groupHash(ev *Event, rule *Rule) [16]byte {
	c.parts = append(c.parts[:0], "group")
	for _, t := range rule.GroupBy {
		f, name, raw, _ := ev.groupRaw(t)
		if f < NumFields {
			name = f.String()
		} else {
			name = "labels." + name
		}
		c.parts = append(c.parts, name, raw)
	}
	hash := c.keys.GroupHash(ev.text[Tenant], c.parts...)
	clear(c.parts)
	return hash
}

// groupRaw returns the first part of the term that the event has; NumFields and its key for a
// label. The name is part of the group: a token and a session of equal text are not one.
func (e *Event) groupRaw(t GroupTerm) (f Field, label, raw string, ok bool) {
	for _, f := range t.Fields {
		if raw, ok := e.raw(f); ok {
			return f, "", raw, true
		}
	}
	for _, l := range e.labels {
		if l.key == t.Label && t.Label != "" {
			return NumFields, l.key, l.value, true
		}
	}
	return 0, "", "", false
}

// call finds or makes what the event's group is called.
func (c *Collector) call(ev *Event, g *knownGroup, rule *Rule) groupName {
	if g.named && c.ofKey {
		return g.name
	}
	var x groupName
	if tenant, ok := ev.raw(Tenant); ok {
		x.tenant = c.form(ev, Tenant, tenant)
	}
	x.values.from = int32(len(c.called))
	for _, t := range rule.GroupBy {
		f, key, raw, _ := ev.groupRaw(t)
		if f < NumFields {
			c.called = append(c.called, wireValue{c.name(f), c.form(ev, f, raw)})
			continue
		}
		i := slices.IndexFunc(ev.labels, func(l label) bool { return l.key == key })
		p := ev.PublicLabels()[i]
		c.called = append(c.called, wireValue{c.id("labels."+p.Key, ""), c.id(p.Value, p.Public.Key)})
	}
	x.values.until = int32(len(c.called))
	if c.ofKey {
		g.name, g.named = x, true
	}
	return x
}
