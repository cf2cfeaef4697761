package detect

import (
	"encoding/binary"
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
}

// maxEvidence is how many events of one rule and bucket carry evidence in one signal, and
// how many an alert shows.
const maxEvidence = 5

// CollectStats counts what a Collector left out, since it was made.
type CollectStats struct {
	Ungrouped uint64 // matches of events that miss a group field
	Late      uint64 // matches that windows must not count any more
	Shed      uint64 // matches that were more than could be carried
}

// Collector turns the matches of one declared batch of one source partition
// into signals: one for each group that something matched. One goroutine owns it.
type Collector struct {
	rs     *RuleSet
	hasher Hasher
	stats  CollectStats

	groups map[collectKey]*Signal
	order  []*Signal // first-match order: the same batch gives the same records
	free   []*Signal // taken back
	hashes []groupHash

	shedder shedder
	scratch Matcher // of findings
}

type collectKey struct {
	grouping int
	group    [16]byte
}

// groupHash caches the group of the event at hand, for rules that share a grouping.
type groupHash struct {
	done, ok bool
	group    [16]byte
	raw      []string
}

// NewCollector makes a collector for one rule set.
func NewCollector(rs *RuleSet, h Hasher) *Collector {
	return &Collector{
		rs: rs, hasher: h, groups: map[collectKey]*Signal{}, hashes: make([]groupHash, len(rs.Groupings())),
		shedder: newShedder(rs.Rules()),
	}
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
	for i := range c.hashes {
		c.hashes[i].done = false
	}
	var identity [16]byte
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
		sig := c.signal(ev, rule)
		sig.Urgent = sig.Urgent || c.shedder.rules[m.Rule].rank == rankNever
		if identity == ([16]byte{}) {
			identity = c.hasher.GroupHash(ev.text[Tenant], "id", ev.text[ServerInstance], ev.text[ID])
		}
		p := Point{Time: at.UnixMilli(), Identity: identity, Offset: ev.Offset, Append: ev.Append.UnixMilli()}
		rp := sig.rule(rule.Hash)
		c.shedder.took(m.Rule, sig, rp)
		before := len(rp.Points)
		if rule.multi {
			c.addSteps(rp, p, ev, rule, m)
		} else {
			c.addPoint(rp, p, ev, &rule.streams[0], m.Add)
		}
		if len(rp.Points) > before && rule.contributes(m) && rp.show(at.UnixMilli()/rule.Suppress.Milliseconds()) {
			sig.Evidence = append(sig.Evidence, SignalEvidence{Rule: rule.Hash, Evidence: evidenceOf(ev, rule, at)})
		}
	}
}

// contributes reports whether the event is one of those that count, not one that undoes or was waited for.
func (r *Rule) contributes(m Match) bool {
	if !r.multi {
		return true
	}
	for i := range r.streams {
		if uint64(m.Add)&(1<<i) != 0 && !r.streams[i].silent {
			return true
		}
	}
	return false
}

// show reports whether an event of a bucket is to have evidence: the first few of each in a row.
func (rp *RulePoints) show(bucket int64) bool {
	if rp.bucket != bucket {
		rp.bucket, rp.shown = bucket, 0
	}
	if rp.shown >= maxEvidence || rp.allShown >= 4*maxEvidence {
		return false
	}
	rp.shown, rp.allShown = rp.shown+1, rp.allShown+1
	return true
}

// addSteps adds a point for each condition of the rule that the event is in.
func (c *Collector) addSteps(rp *RulePoints, p Point, ev *Event, rule *Rule, m Match) {
	mask := uint64(m.Add)
	for i := range rule.streams {
		s := &rule.streams[i]
		if mask&(1<<i) == 0 || s.from != nil || s.value == valueNone {
			continue
		}
		add := 1.0
		switch {
		case s.value == valueShare: // the stream after it is not one: it says which events are of the share
			add = float64(mask >> (i + 1) & 1)
		case s.value == valueAdd && s.field.Kind() == Number:
			add, _ = ev.Num(s.field)
		}
		p.Step = uint8(i)
		c.addPoint(rp, p, ev, s, add)
	}
}

func (c *Collector) addPoint(rp *RulePoints, p Point, ev *Event, s *stream, add float64) {
	switch s.value {
	case valueField:
		p.Value = c.hash(ev, "value", s.field.String(), ev.whole(s.field))
	case valueFinding:
		c.addFindings(rp, p, ev, s)
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
		p.Value = c.hash(ev, parts...)
	case valueShare:
		p.Value = uint64(add)
	default:
		p.Value = math.Float64bits(add)
	}
	rp.Points = append(rp.Points, p)
}

// addFindings adds a point for each category of the event's findings that count.
func (c *Collector) addFindings(rp *RulePoints, p Point, ev *Event, s *stream) {
	first := len(rp.Points)
	for i := range ev.finds {
		if s.finding != nil && !s.finding.one(&c.scratch, &ev.finds[i]) {
			continue
		}
		p.Value = c.hash(ev, "value", "io.findings.cat", foldString(ev.finds[i].Cat))
		if !slices.ContainsFunc(rp.Points[first:], func(q Point) bool { return q.Value == p.Value }) {
			rp.Points = append(rp.Points, p)
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

func (c *Collector) hash(ev *Event, parts ...string) uint64 {
	h := c.hasher.GroupHash(ev.text[Tenant], parts...)
	return binary.BigEndian.Uint64(h[:])
}

// Flush returns the signals of the batch [begin, end) of a source partition,
// and starts the next batch. They are the caller's; Reuse takes them back.
func (c *Collector) Flush(source int32, begin, end int64) []*Signal {
	out := c.order
	if c.shedder.total > 0 {
		out = slices.DeleteFunc(out, func(s *Signal) bool { return len(s.Rules) == 0 })
	}
	for _, s := range out {
		s.Source, s.Begin, s.End = source, begin, end
	}
	clear(c.groups)
	c.order = nil
	c.shedder.start()
	return out
}

// grouped reports whether the event has every group field of the rule.
func (c *Collector) grouped(ev *Event, rule *Rule) bool {
	h := &c.hashes[rule.Grouping]
	if !h.done {
		h.done = true
		h.raw = append(h.raw[:0], "group")
		h.ok = true
		for _, t := range rule.GroupBy {
			name, raw, ok := ev.groupRaw(t)
			if !ok {
				h.ok = false
				break
			}
			h.raw = append(h.raw, name, raw)
		}
		if h.ok {
			h.group = c.hasher.GroupHash(ev.text[Tenant], h.raw...)
		}
	}
	return h.ok
}

// signal finds or makes the signal of the event's group.
func (c *Collector) signal(ev *Event, rule *Rule) *Signal {
	group := c.hashes[rule.Grouping].group
	key := collectKey{rule.Grouping, group}
	s := c.groups[key]
	if s == nil {
		s = c.unused()
		s.Tenant, s.Group = ev.Public(Tenant).Value, group
		for _, t := range rule.GroupBy {
			s.Values = append(s.Values, ev.groupPublic(t))
		}
		c.groups[key] = s
		c.order = append(c.order, s)
	}
	return s
}

func (s *Signal) rule(hash [16]byte) *RulePoints {
	for i := range s.Rules {
		if s.Rules[i].Rule == hash {
			return &s.Rules[i]
		}
	}
	n := len(s.Rules)
	if n == cap(s.Rules) {
		s.Rules = slices.Grow(s.Rules, 1)
	}
	s.Rules = s.Rules[:n+1]
	s.Rules[n] = RulePoints{Rule: hash, Points: s.Rules[n].Points[:0]} // of a signal before, or nil
	return &s.Rules[n]
}

const (
	maxUnused    = 1 << 14 // signals kept for their memory
	unusedPoints = 32      // that one of their rules may have room for
)

// Reuse takes back signals that Flush returned, for their memory. They must not be looked at
// any more.
func (c *Collector) Reuse(signals []*Signal) {
next:
	for _, s := range signals {
		if len(c.free) >= maxUnused {
			return
		}
		for i := range s.Rules {
			if cap(s.Rules[i].Points) > unusedPoints {
				continue next
			}
		}
		clear(s.Values) // their texts may be parts of records
		clear(s.Evidence)
		*s = Signal{Values: s.Values[:0], Rules: s.Rules[:0], Evidence: s.Evidence[:0]}
		c.free = append(c.free, s)
	}
}

func (c *Collector) unused() *Signal {
	n := len(c.free)
	if n == 0 {
		return &Signal{}
	}
	s := c.free[n-1]
	c.free = c.free[:n-1]
	return s
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

// groupRaw returns the first part of the term that the event has. Its name is part of
// the key: a token and a session of equal text are not one group.
func (e *Event) groupRaw(t GroupTerm) (name, raw string, ok bool) {
	for _, f := range t.Fields {
		if raw, ok := e.raw(f); ok {
			return f.String(), raw, true
		}
	}
	for _, l := range e.labels {
		if l.key == t.Label && t.Label != "" {
			return "labels." + l.key, l.value, true
		}
	}
	return "", "", false
}

func (e *Event) groupPublic(t GroupTerm) GroupValue {
	for _, f := range t.Fields {
		if raw, ok := e.raw(f); ok {
			return e.publicValue(f, raw)
		}
	}
	for i, l := range e.labels {
		if l.key == t.Label {
			p := e.PublicLabels()[i]
			return GroupValue{Field: "labels." + p.Key, Value: p.Value, Key: p.Public.Key}
		}
	}
	return GroupValue{}
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

func evidenceOf(ev *Event, rule *Rule, at time.Time) Evidence {
	e := Evidence{
		EventID: ev.Public(ID).Value, Time: at, Partition: ev.Partition, Offset: ev.Offset,
		Server: ev.Public(ServerName).Value, Type: ev.Enum(Type), Outcome: ev.Enum(Outcome), Tool: ev.Public(MCPTool).Value,
	}
	best := -1.0
	for i := range ev.finds {
		if ev.finds[i].Score > best {
			best, e.Finding = ev.finds[i].Score, ev.finds[i].Cat
		}
	}
	for _, f := range rule.Context {
		if raw, ok := ev.raw(f); ok {
			e.Context = append(e.Context, ev.publicValue(f, raw))
		}
	}
	return e
}
