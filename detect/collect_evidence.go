package detect

import "slices"

const (
	// maxEvidence is how many events of one rule and bucket carry evidence in one batch, and
	// how many an alert shows.
	maxEvidence = 5
	// enoughEvidence is how many of the events that a completion needs at least have evidence on
	// average: so many that fewer than maxEvidence are rare (1 in 130), and none is as good as
	// excluded (1 in 160,000).
	enoughEvidence = 12
)

// needed is how many events a completion needs of those that add so much to a rule. Most add the
// same, or are in the same conditions, as the one before.
type needed struct{ add, events float64 }

// shows reports whether an event that matched is evidence. Of a rule that needs many events a
// share of them is enough, which their identity draws: what an alert shows follows from the
// events and the rule, whatever else was in their batch.
func (c *Collector) shows(rule *Rule, m Match, identity uint64) bool {
	n := &c.needed[m.Rule]
	if m.Add != n.add {
		*n = needed{m.Add, rule.need(m.Add)}
	}
	return n.events > 0 && float64(identity)*n.events < enoughEvidence*0x1p64
}

// need is how many events like this one a completion needs at least. It is 0 for those that
// are no evidence: they undo something, or were waited for, or are no part of what is asked for.
func (r *Rule) need(add float64) float64 {
	d := &r.Detector
	switch {
	case r.multi:
		return d.need(uint64(add), r.streams)
	case d.Kind == DetectSum && add < d.Threshold:
		if add <= 0 {
			return 0
		}
		return d.Threshold / add
	}
	return d.need(1, r.streams)
}

func (d *Detector) need(mask uint64, streams []stream) float64 {
	need := 0.0
	switch d.Kind {
	case DetectAll, DetectAny:
		for i := range d.Parts {
			n := d.Parts[i].need(mask, streams)
			if need == 0 || n > 0 && (d.Kind == DetectAll) == (n > need) {
				need = n
			}
		}
		return need
	case DetectRatio: // most of the whole is as it should be: the share tells
		if mask>>d.first&3 == 3 {
			need = max(1, d.Min, d.Threshold*d.Total)
		}
		return need
	case DetectSequence:
		if mask>>d.first&(1<<len(d.Steps)-1) != 0 {
			need = 1
		}
		return need
	}
	s := &streams[d.first]
	switch {
	case mask>>d.first&1 == 0:
	case d.Kind == DetectCount, d.Kind == DetectDistinct && s.value != valueFinding: // findings of one event may be different
		need = max(1, d.Threshold)
	default:
		need = 1
	}
	return need
}

// show reports whether an event of a bucket is to have evidence: the first few of each in a row.
func (p *pair) show(bucket int64) bool {
	if p.bucket != bucket {
		p.bucket, p.shown = bucket, 0
	}
	if p.shown >= maxEvidence || p.allShown >= 4*maxEvidence {
		return false
	}
	p.shown, p.allShown = p.shown+1, p.allShown+1
	return true
}

// show adds the event at hand as evidence.
func (c *Collector) show(ev *Event, rule *Rule, pair int32) {
	e := &c.events[len(c.events)-1]
	if e.facts < 0 {
		e.facts = int32(len(c.facts))
		c.facts = append(c.facts, c.factsOf(ev))
	}
	f := &c.facts[e.facts]
	from := int32(len(c.choices))
	for _, field := range rule.Context {
		if at, ok := c.shownField(f, ev, field); ok {
			c.choices = append(c.choices, at)
		}
	}
	if cat, ok := rule.asked(&c.scratch, ev); ok {
		if value := c.id(cat, ""); value != f.finding {
			c.choices = append(c.choices, c.beside(f, wireValue{c.id(askedFinding, ""), value}))
		}
	}
	c.shown = append(c.shown, shownTo{facts: e.facts, choices: span{from, int32(len(c.choices))}})
	p, n := &c.pairs[pair], int32(len(c.shown))
	if p.last > 0 {
		c.shown[p.last-1].next = n
	} else {
		p.first = n
	}
	p.last = n
}

// shownField finds or makes the place of a field that the event at hand has in what is shown of it.
func (c *Collector) shownField(f *gatheredFacts, ev *Event, field Field) (at uint16, ok bool) {
	name := c.name(field)
	all := c.context[f.context.from:]
	for i := range all {
		if all[i].field == name {
			return uint16(i), true
		}
	}
	form, ok := c.form(ev, field)
	if !ok {
		return 0, false
	}
	return c.beside(f, wireValue{name, form}), true
}

// beside finds or makes the place of a value in what is shown of the event at hand.
func (c *Collector) beside(f *gatheredFacts, v wireValue) uint16 {
	all := c.context[f.context.from:]
	if i := slices.Index(all, v); i >= 0 {
		return uint16(i)
	}
	c.context = append(c.context, v)
	f.context.until = int32(len(c.context))
	return uint16(len(all))
}

// askedFinding stands for a field in the last context of evidence whose rule asked for another
// finding than the event's strongest.
const askedFinding = "io.findings.cat"

// asked is the category of the strongest finding that the rule asks for.
func (r *Rule) asked(m *Matcher, ev *Event) (cat string, ok bool) {
	best := -1.0
	for i := range ev.finds {
		f := &ev.finds[i]
		if f.Score > best && slices.ContainsFunc(r.findings, func(p *findingPred) bool { return p.one(m, f) }) {
			best, cat, ok = f.Score, f.Cat, true
		}
	}
	return cat, ok
}

// findingsIn adds what a condition asks of findings, but not what it asks to be without.
func findingsIn(dst []*findingPred, p pred) []*findingPred {
	switch p := p.(type) {
	case *findingPred:
		if p.parts != nil {
			dst = append(dst, p)
		}
	case allPred:
		for _, q := range p {
			dst = findingsIn(dst, q)
		}
	case anyPred:
		for _, q := range p {
			dst = findingsIn(dst, q)
		}
	}
	return dst
}

func (c *Collector) factsOf(ev *Event) gatheredFacts {
	from := int32(len(c.ids))
	server, _ := c.form(ev, ServerName)
	tool, _ := c.form(ev, MCPTool)
	c.ids = append(c.ids, ev.Public(ID).Value...)
	f := gatheredFacts{
		id: span{from, int32(len(c.ids))}, context: span{int32(len(c.context)), int32(len(c.context))},
		wireFacts: wireFacts{
			event: uint32(len(c.events)) - 1, offset: ev.Offset, server: server, kind: c.id(ev.Enum(Type), ""),
			outcome: c.id(ev.Enum(Outcome), ""), tool: tool,
		},
	}
	best := -1.0
	for i := range ev.finds {
		if ev.finds[i].Score > best {
			best, f.finding = ev.finds[i].Score, c.id(ev.finds[i].Cat, "")
		}
	}
	return f
}
