package detect

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Hasher makes keyed hashes under the group key, which does not rotate.
// Parts are separated unambiguously. It is called from one goroutine.
type Hasher interface {
	GroupHash(tenant string, parts ...string) [16]byte
}

// Keys are everything that detection needs of a keyring.
type Keys interface {
	Pseudonymizer
	Hasher
	KeyAt(at time.Time) string // id of the key that hashes the values of an event of that time
}

// CollectStats counts what a Collector left out, since it was made.
type CollectStats struct {
	Ungrouped uint64 // matches of events that miss a group field
	Late      uint64 // matches that windows must not count any more
	Shed      uint64 // matches that were more than could be carried
}

// Collector turns the matches of one declared batch of one source partition
// into signals: one for each group that something matched. One goroutine owns it.
type Collector struct {
	rs    *RuleSet
	keys  Keys
	stats CollectStats

	at []atGroup // by grouping
	memory
	gathered
	dealt dealt

	needed  []needed // by rule
	shedder shedder
	scratch Matcher // of findings
}

// NewCollector makes a collector for one rule set.
func NewCollector(rs *RuleSet, keys Keys) *Collector {
	c := &Collector{
		rs: rs, keys: keys, at: make([]atGroup, len(rs.Groupings())), memory: newMemory(rs.Groupings()), shedder: newShedder(rs.Rules()),
	}
	c.needed = make([]needed, len(rs.Rules()))
	for i := range c.needed {
		c.needed[i].add = math.NaN() // nothing is known yet
	}
	c.gathered.restart() // a batch has a number that nothing known has
	c.dealt.rules = make([]textUse, len(rs.Rules()))
	return c
}

// Stats returns the counts so far.
func (c *Collector) Stats() CollectStats {
	stats := c.stats
	stats.Shed = c.shedder.total
	return stats
}

// Add records what matched one event. The event must be stamped and redacted.
func (c *Collector) Add(ev *Event, matches []Match) {
	if len(matches) == 0 {
		return
	}
	key := c.keys.KeyAt(ev.Time)
	if !c.open {
		c.open = true
		c.memory.begin(key)
	}
	clear(c.at)
	c.next(ev, key)
	known := false
	rules := c.rs.Rules()
	for _, m := range matches {
		rule := rules[m.Rule]
		at := ev.Time
		if ev.Late {
			if !rule.Detector.single() {
				c.stats.Late++
				continue
			}
			at = ev.Append // what needs only one event still fires, at the time that it came
		}
		if !c.grouped(ev, rule) {
			c.stats.Ungrouped++
			continue
		}
		if !c.admit(m.Rule) {
			continue
		}
		if !known {
			known = true
			identity := c.hash(ev, "id", ev.text[ServerInstance], ev.text[ID])
			c.events = append(c.events, gatheredEvent{facts: -1, SignalEvent: SignalEvent{
				Time: at.UnixMilli(), Append: ev.Append.UnixMilli(), Identity: identity,
			}})
		}
		sig := c.signal(ev, rule)
		c.signals[sig].urgent = c.signals[sig].urgent || c.shedder.rules[m.Rule].rank == rankNever
		pair := c.pair(sig, int32(m.Rule), &c.at[rule.Grouping].pair)
		if c.pairs[pair].points >= maxPairPoints {
			c.shedder.gave(m.Rule, 1)
			continue
		}
		c.shedder.took(m.Rule, pair, &c.pairs[pair])
		before := len(c.points)
		if rule.multi {
			c.addSteps(pair, ev, rule, m)
		} else {
			c.addPoint(pair, 0, ev, &rule.streams[0], m.Add)
		}
		if len(c.points) == before || !c.shows(rule, m, c.events[len(c.events)-1].Identity) {
			continue
		}
		if c.pairs[pair].show(at.UnixMilli() / rule.Suppress.Milliseconds()) {
			c.show(ev, rule, pair)
		}
	}
}

// addSteps adds a point for each condition of the rule that the event is in, and of two that
// share points one.
func (c *Collector) addSteps(pair int32, ev *Event, rule *Rule, m Match) {
	mask := uint64(m.Add)
	for i := range rule.streams {
		s := &rule.streams[i]
		if mask&(1<<i) == 0 || s.from != nil || s.value == valueNone {
			continue
		}
		step, add := uint8(i), 1.0
		if s.with > 0 && mask&(1<<(s.with-1)) != 0 {
			if s.value == valueOther {
				continue
			}
			step = s.with - 1
		}
		switch {
		case s.value == valueOther:
			add = 0
		case s.value == valueShare: // the stream after it is not one: it says which events are of the share
			add = float64(mask >> (i + 1) & 1)
		case s.value == valueAdd && s.field.Kind() == Number:
			add, _ = ev.Num(s.field)
		}
		c.addPoint(pair, step, ev, s, add)
	}
}

func (c *Collector) addPoint(pair int32, step uint8, ev *Event, s *stream, add float64) {
	var value uint64
	switch s.value {
	case valueField:
		value = c.apart(ev, s.field)
	case valueFinding:
		c.addFindings(pair, step, ev, s)
		return
	case valueJoint:
		parts := make([]string, 0, 2+len(s.joined))
		parts = append(parts, "joint")
		for _, f := range s.joined {
			raw, ok := ev.raw(f)
			if !ok {
				return // an absent field is equal to nothing
			}
			if !s.cased {
				raw = foldString(raw)
			}
			parts = append(parts, raw)
		}
		value = c.hash(ev, parts...)
	case valueShare:
		value = uint64(add)
	default:
		value = math.Float64bits(add)
	}
	c.point(pair, step, value)
}

// addFindings adds a point for each category of the event's findings that count.
func (c *Collector) addFindings(pair int32, step uint8, ev *Event, s *stream) {
	first := len(c.points)
	for i := range ev.finds {
		if s.finding != nil && !s.finding.one(&c.scratch, &ev.finds[i]) {
			continue
		}
		value := c.hash(ev, "value", "io.findings.cat", foldString(ev.finds[i].Cat))
		if !slices.ContainsFunc(c.points[first:], func(p gatheredPoint) bool { return p.Value == value }) {
			c.point(pair, step, value)
		}
	}
}

// one reports whether the finding passes every part.
func (p *findingPred) one(m *Matcher, f *Finding) bool {
	for i := range p.parts {
		if !p.parts[i].holds(m, f) {
			return false
		}
	}
	return true
}

// raw is a field's raw value as text.
func (e *Event) raw(f Field) (string, bool) {
	if !e.Has(f) {
		return "", false
	}
	switch f.Kind() {
	case Number:
		return strconv.FormatFloat(e.num[f-firstNumber], 'g', -1, 64), true
	case Flag:
		return strconv.FormatBool(e.num[f-firstNumber] != 0), true
	case List:
		if l := e.lists[f-firstList]; len(l) > 0 {
			return l[0], true
		}
		return "", false
	}
	return e.text[f], e.text[f] != ""
}

// whole is the value of a field to tell apart: of a list all of it, in whatever order.
func (e *Event) whole(f Field) string {
	if f.Kind() != List {
		raw, _ := e.raw(f)
		return raw
	}
	all := slices.Clone(e.lists[f-firstList])
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\x00")
}

// publicValue is the public form of a field; raw is used only where a kind cannot be personal.
func (e *Event) publicValue(f Field, raw string) GroupValue {
	v := GroupValue{Field: f.String()}
	switch f.Kind() {
	case Number, Flag:
		v.Value = raw
	case Text:
		p := e.Public(f)
		v.Value, v.Key = p.Value, p.Key
		if p.Hash != "" {
			v.Value = p.Value + "#" + p.Hash
		}
	case List:
		if l := e.PublicList(f); len(l) > 0 {
			v.Value, v.Key = l[0].Value, l[0].Key
		}
	}
	return v
}
