package detect

import (
	"encoding/binary"
	"slices"
)

// atGroup is the group of the event at hand, for rules that share a grouping.
type atGroup struct {
	done  bool
	group int32 // place in the memory; noGroup; or below that of a passing one
	pair  int32 // of the rule before, from one; 0 for none
}

const noGroup = -1

// grouped reports whether the event has every group field of the rule, and finds its group.
// Groups of the same fields and values are one, whatever the rules ask for.
func (c *Collector) grouped(ev *Event, rule *Rule) bool {
	at := &c.at[rule.Grouping]
	if !at.done {
		at.done, at.group = true, c.group(ev, rule)
	}
	return at.group != noGroup
}

func (c *Collector) group(ev *Event, rule *Rule) int32 {
	slot := c.groupSlots[rule.Grouping]
	at := slot.of(c.aspects)
	if at != nil && *at != 0 {
		return max(*at-1, noGroup)
	}
	group, looked := c.findGroup(ev, rule)
	if at != nil && looked == 1<<slot.aspect { // the same values always give this group
		*at = known(group)
	}
	return group
}

// findGroup also tells in which aspects it looked.
func (c *Collector) findGroup(ev *Event, rule *Rule) (group int32, looked aspectSet) {
	c.found = c.found[:0]
	passing := false
	for _, t := range rule.GroupBy {
		f, key, raw, ok := ev.groupRaw(t)
		looked |= c.looked(t, f)
		switch {
		case !ok:
			return noGroup, looked
		case f == NumFields:
			c.found = append(c.found, c.label(ev, key, raw))
		case passes(f):
			passing = true
		default:
			place, _ := c.value(ev, f)
			c.found = append(c.found, place)
		}
	}
	if passing {
		c.hashes = append(c.hashes, c.groupHash(ev, rule))
		return noGroup - int32(len(c.hashes)), looked
	}
	var at *int32 // from one
	if len(c.found) == 1 {
		at = &c.ofValues[c.found[0]].group
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
		at = &c.ofGroups[place]
	}
	if *at == 0 {
		c.groups = append(c.groups, knownGroup{hash: c.groupHash(ev, rule)})
		*at = int32(len(c.groups))
	}
	return *at - 1, looked
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

// signal finds or makes the signal of the event's group.
func (c *Collector) signal(ev *Event, rule *Rule) int32 {
	place := c.at[rule.Grouping].group
	if place < noGroup {
		return c.passingSignal(ev, rule, &c.hashes[noGroup-place-1])
	}
	g := &c.groups[place]
	if g.batch != c.batch {
		g.batch, g.signal = c.batch, int32(len(c.signals))
		c.signals = append(c.signals, gatheredSignal{hash: g.hash, name: c.call(ev, rule, g)})
	}
	return g.signal
}

// passingSignal is signal for a group that nothing remembers.
func (c *Collector) passingSignal(ev *Event, rule *Rule, hash *[16]byte) int32 {
	at := c.gathered.passing.find(c.signals, hash)
	if *at == 0 {
		c.signals = append(c.signals, gatheredSignal{hash: *hash, name: c.call(ev, rule, nil)})
		n := int32(len(c.signals))
		*at = n
		c.gathered.passing.added(c.signals)
		return n - 1
	}
	return *at - 1
}

// call finds or makes what the event's group is called. g is nil where that is not to be remembered.
func (c *Collector) call(ev *Event, rule *Rule, g *knownGroup) groupName {
	from := int32(len(c.naming))
	if g != nil && g.named && c.ofKey {
		c.naming = append(c.naming, c.called[g.name.values.from:g.name.values.until]...)
		return groupName{g.name.tenant, span{from, int32(len(c.naming))}}
	}
	tenant, _ := c.form(ev, Tenant)
	for _, t := range rule.GroupBy {
		f, key, _, _ := ev.groupRaw(t)
		if f < NumFields {
			form, _ := c.form(ev, f)
			c.naming = append(c.naming, wireValue{c.name(f), form})
			continue
		}
		i := slices.IndexFunc(ev.labels, func(l label) bool { return l.key == key })
		p := ev.PublicLabels()[i]
		c.naming = append(c.naming, wireValue{c.id("labels."+p.Key, ""), c.id(p.Value, p.Public.Key)})
	}
	if g != nil && c.ofKey {
		n := int32(len(c.called))
		c.called = append(c.called, c.naming[from:]...)
		g.name, g.named = groupName{tenant, span{n, int32(len(c.called))}}, true
	}
	return groupName{tenant, span{from, int32(len(c.naming))}}
}
