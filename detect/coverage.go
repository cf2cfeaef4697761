package detect

import (
	"fmt"
	"slices"
	"time"
)

// Coverage says how much of a rule its tests hold to: for each part of it, whether some test
// would fail if the part were not there.
type Coverage struct {
	Rule        *Rule
	Fire, Quiet int // tests that expect alerts, and that expect none
	Failed      int // tests that fail as it is; nothing more is asked then
	Parts       []CoveredPart
}

// CoveredPart is one thing that a rule says.
type CoveredPart struct {
	Where   string // match, "step denied", "exception load test", threshold ...
	Text    string
	Value   string // the one of the values that Text lists; empty: Text is the part
	Instead string // what was tried in its place; empty: nothing, it was left out
	Looser  bool   // the change makes the rule match more: only a test that stays quiet notices
	Decided bool   // some test of the rule noticed
}

// Coverage changes one part of each rule that keep accepts after the other and runs the rule's
// tests each time; nil keeps all.
func (rs *RuleSet) Coverage(keep func(*Rule) bool) []Coverage {
	var out []Coverage
	for _, r := range rs.rules {
		if keep != nil && !keep(r) {
			continue
		}
		c := Coverage{Rule: r}
		for _, t := range r.Tests() {
			if t.Expect.Alerts > 0 {
				c.Fire++
			} else {
				c.Quiet++
			}
		}
		c.Failed = rs.with(r, r).failing(r, false)
		if c.Failed == 0 {
			for _, v := range r.variants() {
				v.part.Decided = rs.with(r, v.rule).failing(v.rule, true) > 0
				c.Parts = append(c.Parts, v.part)
			}
		}
		out = append(out, c)
	}
	return out
}

// failing runs the tests of the rule with r's id.
func (rs *RuleSet) failing(r *Rule, first bool) (n int) {
	r = rs.ByID(r.Info.ID)
	for _, c := range r.Tests() {
		if rs.RunTest(r, c).Failed != "" {
			n++
			if first {
				break
			}
		}
	}
	return n
}

// with is the set of a variant of r and the rules that r takes steps from, and nothing else.
func (rs *RuleSet) with(r, variant *Rule) *RuleSet {
	copies := map[*Rule]*Rule{}
	var rules []*Rule
	var add func(old, as *Rule) *Rule
	add = func(old, as *Rule) *Rule {
		if c := copies[old]; c != nil {
			return c
		}
		c := *as
		copies[old] = &c
		rules = append(rules, &c)
		c.streams = slices.Clone(as.streams)
		for i := range c.streams {
			if src := c.streams[i].from; src != nil {
				c.streams[i].from = add(src, src)
			}
		}
		return &c
	}
	add(r, variant)
	return newRuleSet(rules, rs.literals)
}

// ruleVariant is a rule with one part changed.
type ruleVariant struct {
	part CoveredPart
	rule *Rule
}

// variants are all changes of one part of r.
func (r *Rule) variants() (out []ruleVariant) {
	add := func(part CoveredPart, change func(*Rule)) {
		c := *r
		c.program.score = slices.Clone(r.program.score)
		c.streams = slices.Clone(r.streams)
		change(&c)
		c.join()
		out = append(out, ruleVariant{part, &c})
	}
	p := &r.program
	if p.base != nil {
		for _, v := range r.said.without(p.base, r.implied(0)) {
			add(CoveredPart{Where: "match", Text: v.text, Value: v.value, Looser: v.looser}, func(c *Rule) { c.program.base = v.pred })
		}
	}
	r.termVariants(add)
	if p.where != nil {
		add(CoveredPart{Where: "where", Text: p.where.program.Source().String(), Looser: true}, func(c *Rule) { c.program.where = nil })
	}
	for i := range p.except {
		where := "exception " + r.Exceptions[i].Name
		add(CoveredPart{Where: where, Text: r.said.text(p.except[i].match), Looser: true}, func(c *Rule) {
			c.program.except = slices.Delete(slices.Clone(p.except), i, i+1)
		})
		for _, v := range r.said.without(p.except[i].match, nil) {
			if v.pred == constant(true) {
				continue // the exception with nothing left to ask is no exception that anybody writes
			}
			add(CoveredPart{Where: where, Text: v.text, Value: v.value, Looser: !v.looser}, func(c *Rule) {
				c.program.except = slices.Clone(p.except)
				c.program.except[i].match = v.pred
			})
		}
	}
	r.limitVariants(add)
	return out
}

// termVariants changes the parts of a score, or the conditions of several.
func (r *Rule) termVariants(add func(CoveredPart, func(*Rule))) {
	for i, t := range r.program.score {
		where, implied, undoes := "score "+t.name, []Field(nil), false
		if r.multi {
			stream := streamOf(t.add)
			where, implied, undoes = t.name, r.implied(stream), r.streams[stream].silent
		} else {
			add(CoveredPart{Where: where, Text: fmt.Sprintf("adds %g", t.add)}, func(c *Rule) { c.program.score[i].add = 0 })
		}
		own, _ := splitFinding(t.match, r.findingOf(i))
		for _, v := range r.said.without(own, implied) {
			add(CoveredPart{Where: where, Text: v.text, Value: v.value, Looser: v.looser != undoes}, func(c *Rule) { c.program.score[i].match = v.pred })
		}
	}
}

// limitVariants moves counts by one, sums and shares by half, and makes the window twice as long.
func (r *Rule) limitVariants(add func(CoveredPart, func(*Rule))) {
	try := func(text, instead string, looser bool, change func(*Detector)) {
		add(CoveredPart{Where: "detector", Text: text, Instead: instead, Looser: looser}, func(c *Rule) {
			c.Detector.Parts = slices.Clone(c.Detector.Parts)
			for i := range c.Detector.Parts {
				c.Detector.Parts[i].Steps = slices.Clone(c.Detector.Parts[i].Steps)
			}
			c.Detector.Steps = slices.Clone(c.Detector.Steps)
			change(&c.Detector)
		})
	}
	at := func(d *Detector, part int) *Detector {
		if part < 0 {
			return d
		}
		return &d.Parts[part]
	}
	limits := func(part int) {
		d := at(&r.Detector, part)
		switch d.Kind {
		case DetectCount, DetectDistinct:
			for _, by := range []float64{-1, 1} {
				if n := d.Threshold + by; d.Threshold > 1 {
					try(partText(d), number(n), by < 0, func(d *Detector) { at(d, part).Threshold = n })
				}
			}
		case DetectSum, DetectRatio:
			for _, by := range []float64{0.5, 2} {
				if x := d.Threshold * by; d.Kind == DetectSum || x <= 1 {
					instead := number(x)
					if d.Kind == DetectRatio {
						instead = number(percent(x)) + " %"
					}
					try(partText(d), instead, by < 1, func(d *Detector) { at(d, part).Threshold = x })
				}
			}
			if d.Kind == DetectRatio && d.Total > 1 {
				try("of at least "+number(d.Total)+" events", "1", true, func(d *Detector) { at(d, part).Total = 1 })
			}
		case DetectSequence:
			for i, s := range d.Steps {
				for _, by := range []int{-1, 1} {
					if s.Count > 1 {
						try(fmt.Sprintf("step %s %d times", s.Name, s.Count), fmt.Sprint(s.Count+by), by < 0, func(d *Detector) { at(d, part).Steps[i].Count += by })
					}
				}
			}
		}
	}
	limits(-1)
	for i := range r.Detector.Parts {
		limits(i)
	}
	if w := r.Detector.Window; w > 0 && r.Detector.Kind != DetectAbsence {
		try("window "+Span(w), Span(2*w), true, func(d *Detector) { d.lengthen(2 * w) })
	}
}

func (d *Detector) lengthen(w time.Duration) {
	d.Window = w
	for i := range d.Parts {
		d.Parts[i].Window = w
	}
}

// implied are the fields that a stream's points cannot do without.
func (r *Rule) implied(stream int) []Field {
	s := &r.streams[stream]
	out := append(slices.Clone(s.joined), s.field)
	for _, t := range r.GroupBy {
		if len(t.Fields) == 1 && t.Label == "" {
			out = append(out, t.Fields[0])
		}
	}
	return out
}

// streamOf is the place of the one bit that a condition of several adds.
func streamOf(add float64) int { return trailingZeros(uint64(add)) }

// findingOf is the finding whose categories term i tells apart; nil: none.
func (r *Rule) findingOf(i int) *findingPred {
	if !r.multi {
		return nil
	}
	return r.streams[streamOf(r.program.score[i].add)].finding
}

// join makes the condition of a changed rule of its parts again.
func (r *Rule) join() {
	p := &r.program
	if !r.multi {
		p.cond = p.base
		if s := &r.streams[0]; s.value == valueFinding {
			s.finding = findingIn(p.base)
			p.cond = allPred{p.base, s.finding}
		}
		return
	}
	terms := anyPred{}
	for i := range p.score {
		t := &p.score[i]
		if s := &r.streams[streamOf(t.add)]; s.value == valueFinding {
			own, _ := splitFinding(t.match, s.finding)
			if s.finding = findingIn(own); s.finding.parts == nil && p.base != nil {
				s.finding = findingIn(p.base)
			}
			t.match = allPred{own, s.finding}
		}
		terms = append(terms, t.match)
	}
	p.cond = terms
	if p.base != nil {
		p.cond = allPred{p.base, terms}
	}
}

// splitFinding takes the loader's finding out of a condition that it was put into.
func splitFinding(p pred, f *findingPred) (pred, bool) {
	if p == pred(f) {
		return constant(true), true
	}
	all, ok := p.(allPred)
	if i := slices.Index(all, pred(f)); ok && i >= 0 {
		return allPred(slices.Delete(slices.Clone(all), i, i+1)), true
	}
	return p, false
}

// findingIn is what a condition asks of findings at its top; of nothing, all findings.
func findingIn(p pred) *findingPred {
	if f, ok := p.(*findingPred); ok {
		return f
	}
	all, _ := p.(allPred)
	for _, q := range all {
		if f, ok := q.(*findingPred); ok {
			return f
		}
	}
	return &findingPred{}
}
