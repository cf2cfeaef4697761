package detect

import (
	"fmt"
	"strings"
	"time"
)

// features are the detectors, and the ways of using them, that the oracle counts.
// The rarest come first: rapid draws those more often.
var features = []string{
	"fieldref", "fieldref until", "from", "from until", "until", "unordered until", "ordered", "unordered", "all", "settled parts",
	"distinct", "ratio", "sum", "findings", "panes", "count", "any", "absence after", "absence", "score", "single",
}

// rule draws a rule of a feature. Its id says nothing about it, so that the order of the rules is random.
func (d *drawing) rule(id, feature string) *spec {
	s := &spec{id: id, feature: feature, mode: pick(*d, "alert", "alert", "signal", "shadow"), group: pick(*d, d.groups...)}
	sources := d.sources(s)
	if strings.HasPrefix(feature, "from") && len(sources) == 0 {
		feature = pick(*d, "ordered", "unordered")
		s.feature = feature
	}
	if d.one(4) {
		s.where = d.where()
	}
	if d.one(5) {
		s.except = append(s.except, d.atom())
	}
	if d.one(5) {
		s.over = append(s.over, d.atom())
	}
	s.window = d.seconds(60, 20, 45, 90, 120, 180, 240, 600).duration()
	if d.n(0, 3) > 0 {
		s.suppress = d.seconds(120, 30, 60, 300, 600, 1200).duration()
	}
	panes := feature == "panes" || feature == "ratio" && d.one(3) // the one of them that is judged late
	if panes {
		s.window = d.seconds(60, 90, 120, 180).duration()
	}
	window := fmt.Sprintf("window: %s", s.window)
	switch feature {
	case "single":
		c := d.cond(2)
		s.match, s.window, s.detector = &c, 0, part{kind: DetectCount, need: 1}
		s.role(all(s.match))
	case "count", "panes", "distinct", "findings", "sum", "ratio":
		c := d.often()
		s.match = &c
		if panes {
			s.pane = s.window / time.Duration(pick(*d, 2, 3, 5))
			s.suppress = s.window * time.Duration(pick(*d, 1, 2))
			window += fmt.Sprintf(", resolution: %s", s.pane)
		}
		s.detector, s.inner = d.simple(s, feature, nil, window)
	case "score":
		s.match, s.window = d.maybe(2), 0
		if s.match == nil {
			s.match = &always
		}
		p := part{kind: DetectScore, need: float64(d.n(2, 4))}
		var of []string
		for i := range d.n(2, 4) {
			c, x := d.cond(1), float64(d.n(1, 3))
			p.weighted, p.weights = append(p.weighted, c), append(p.weights, x)
			of = append(of, fmt.Sprintf("{name: w%d, add: %g, match: %s}", i, x, c.text))
		}
		for sum(p.weights) < p.need {
			p.need--
		}
		s.detector, s.inner = p, fmt.Sprintf("score: {gte: %g, of: [%s]}", p.need, strings.Join(of, ", "))
		s.role(func(ev *Event) bool {
			return s.match.holds(ev) && p.score(ev) >= p.need
		})
	case "absence", "absence after":
		c := d.cond(1)
		s.match, s.window = &c, d.seconds(45, 15, 30, 90).duration()
		s.detector = part{kind: DetectAbsence, after: feature != "absence"}
		s.inner = fmt.Sprintf("absence: {window: %s}", s.window)
		if s.detector.after {
			after := d.cond(1)
			s.role(after.holds)
			s.inner = fmt.Sprintf("absence: {after: %s, window: %s}", after.text, s.window)
		}
		s.role(all(s.match))
		s.roles[len(s.roles)-1].silent = s.detector.after
	case "all", "any", "settled parts":
		s.match = d.maybe(2)
		s.joint(d, feature, sources)
		s.inner += ", " + window
	default:
		s.match = d.maybe(4)
		s.window = d.seconds(240, 120, 60, 600).duration()
		window = fmt.Sprintf("window: %s", s.window)
		var text string
		s.detector, text = d.sequence(s, feature, nil, sources)
		s.inner = fmt.Sprintf("sequence: {%s, %s}", text, window)
	}
	for i := range s.roles { // where and exceptions are of every role
		own := s.roles[i].holds
		s.roles[i].holds = func(ev *Event) bool { return own(ev) && s.passes(ev) }
	}
	d.made = append(d.made, s)
	return s
}

func sum(xs []float64) (total float64) {
	for _, x := range xs {
		total += x
	}
	return total
}

func (s *spec) role(holds func(*Event) bool) int {
	s.roles = append(s.roles, role{holds: holds})
	return len(s.roles) - 1
}

func (s *spec) passes(ev *Event) bool {
	if s.where != nil && !s.where.holds(ev) {
		return false
	}
	for i := range s.except {
		if s.except[i].holds(ev) {
			return false
		}
	}
	return true
}

// sources are the rules whose completions s may take.
func (d *drawing) sources(s *spec) []*spec {
	var out []*spec
	for _, o := range d.made {
		if o.group.text == s.group.text {
			out = append(out, o)
		}
	}
	return out
}

// simple draws a detector without steps: alone with a window, or as a part with its own match.
func (d *drawing) simple(s *spec, feature string, own *cond, window string) (part, string) {
	match := all(s.match, own)
	switch feature {
	case "count", "panes":
		p := part{kind: DetectCount, need: float64(d.n(1, 5))}
		p.first = s.role(match)
		return p, fmt.Sprintf("threshold: {count: {gte: %g}, %s}", p.need, window)
	case "distinct":
		p := part{kind: DetectDistinct, need: float64(d.n(2, 3)), field: pick(*d, ActorClientID, ActorClientID, MCPTool, IOResultBytes)}
		p.first = s.role(func(ev *Event) bool { return ev.Has(p.field) && match(ev) })
		return p, fmt.Sprintf("distinct: {field: %s, count: {gte: %g}, %s}", p.field, p.need, window)
	case "findings":
		p := part{kind: DetectDistinct, need: 2, field: NumFields, dir: pick(*d, "input", "output")}
		finds := cond{"{io.findings: {dir: " + p.dir + "}}", func(ev *Event) bool { return len(p.categories(ev)) > 0 }}
		s.match = &finds
		p.first = s.role(finds.holds)
		return p, fmt.Sprintf("distinct: {field: io.findings.cat, count: {gte: 2}, %s}", window)
	case "sum":
		p := part{kind: DetectSum, need: float64(d.n(100, 500)), field: IOResultBytes}
		p.first = s.role(func(ev *Event) bool { return ev.Has(p.field) && match(ev) })
		return p, fmt.Sprintf("sum: {field: io.result_bytes, gte: %g, %s}", p.need, window)
	}
	of := d.cond(1)
	p := part{kind: DetectRatio, need: float64(d.n(1, 7)) / 8, min: float64(d.n(1, 2)), total: float64(d.n(1, 3))}
	p.first = s.role(match)
	s.role(all(s.match, own, &of))
	return p, fmt.Sprintf("ratio: {of: %s, gte: %g, count: {gte: %g}, total: {gte: %g}, %s}", of.text, p.need, p.min, p.total, window)
}

// joint draws all or any, which join two or three detectors.
func (s *spec) joint(d *drawing, feature string, sources []*spec) {
	s.detector.kind = DetectAll
	if feature == "any" || feature == "settled parts" && d.one(2) {
		s.detector.kind = DetectAny
	}
	kinds := []string{"count", "distinct", "sum", "ordered", "unordered", "fieldref", "from"}
	var texts []string
	for i := range d.n(2, 3) {
		kind := pick(*d, kinds...)
		if feature == "settled parts" && i == 0 {
			kind = pick(*d, "ratio", "until", "unordered until")
		}
		if kind == "from" && len(sources) == 0 {
			kind = "ordered"
		}
		own := d.maybe(2)
		if s.match == nil && own == nil {
			own = &always
		}
		var p part
		var text string
		switch kind {
		case "count", "distinct", "sum", "ratio":
			p, text = d.simple(s, kind, own, "")
			text = strings.Replace(text, ", }", "}", 1)
		default:
			p, text = d.sequence(s, kind, own, sources)
			text = "sequence: {" + text + "}"
		}
		s.detector.of = append(s.detector.of, p)
		texts = append(texts, "{"+own.and(text)+"}")
	}
	name := "all"
	if s.detector.kind == DetectAny {
		name = "any"
	}
	s.inner = name + ": [" + strings.Join(texts, ", ") + "]"
}

// sequence draws two or three steps, of which one may be taken more than once.
func (d *drawing) sequence(s *spec, feature string, shared *cond, sources []*spec) (part, string) {
	p := part{kind: DetectSequence, ordered: !strings.HasPrefix(feature, "unordered"), until: strings.HasSuffix(feature, "until"), joint: 9}
	steps := d.n(2, 3)
	if strings.HasPrefix(feature, "fieldref") {
		p.joint, p.cased = d.n(0, steps-2), d.one(3)
		p.compare = pick(*d, []Field{ActorClientID}, []Field{ServerName}, []Field{MCPTool}, []Field{ServerName, ActorClientID})
	}
	var texts []string
	from := -1
	if strings.HasPrefix(feature, "from") {
		p.ordered = d.n(0, 2) > 0
		from = d.n(0, steps-1)
	}
	p.first = len(s.roles)
	for i := range steps {
		step := stepSpec{count: pick(*d, 1, 1, 1, 2)}
		text := fmt.Sprintf("{name: s%d, count: {gte: %d}", i, step.count)
		switch {
		case i == from:
			src := pick(*d, sources...)
			s.roles = append(s.roles, role{holds: func(*Event) bool { return false }, from: src})
			text += ", from: " + src.id
		default:
			c := d.cond(1)
			if from >= 0 || p.compare != nil {
				c = d.often()
			}
			match := all(s.match, shared, &c)
			fields := p.compare
			if i < p.joint {
				fields = nil
			}
			s.role(func(ev *Event) bool {
				for _, f := range fields {
					if !ev.Has(f) {
						return false
					}
				}
				return match(ev)
			})
			text += ", match: {all: [" + c.text + "]"
			if i > p.joint {
				for _, f := range p.compare {
					text += fmt.Sprintf(", %s|fieldref%s: s%d.%s", f, modifier(p.cased, "|cased"), p.joint, f)
				}
			}
			text += "}"
		}
		texts = append(texts, text+"}")
		p.steps = append(p.steps, step)
	}
	text := "steps: [" + strings.Join(texts, ", ") + "]"
	if !p.ordered {
		text = "ordered: false, " + text
	}
	if p.until {
		c := d.atom()
		i := s.role(all(s.match, &c))
		s.roles[i].silent = true
		text += ", until: " + c.text
	}
	return p, text
}
