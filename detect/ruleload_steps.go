package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// stream adds a condition of the rule, with the selection that the rule's match does not
// have yet; nil: the match alone.
func (r *ruleLoad) stream(s stream, of *compiled) uint8 {
	r.rule.multi = true
	i := len(r.rule.streams)
	r.rule.streams = append(r.rule.streams, s)
	t := compiled{}
	switch {
	case of != nil:
		t = *of
	case s.from == nil && r.pending == nil:
		t = compiled{pred: constant(true), canon: "match"}
	}
	if s.value == valueField || s.value == valueAdd && s.field < NumFields {
		t.pred = allPred{hasPred{subject{field: s.field}}, t.pred}
	}
	for _, f := range s.joined {
		t.pred = allPred{hasPred{subject{field: f}}, t.pred}
	}
	r.terms = append(r.terms, t)
	return uint8(i)
}

// joined makes the program of a rule with several conditions: the matcher answers with
// the set of those that hold.
func (r *ruleLoad) joined() {
	p := &r.rule.program
	p.kind, p.atLeast = DetectScore, 1
	var terms []compiled
	names := r.rule.Detector.streamNames(nil)
	always := false
	for i, t := range r.terms {
		if t.pred == nil {
			continue
		}
		p.score = append(p.score, scoreTerm{names[uint8(i)], t.pred, float64(uint64(1) << i)})
		r.meaning("condition %d %s", i, t.canon)
		if t.canon == "match" {
			always = true
		}
		terms = append(terms, t)
	}
	if len(r.terms) > maxStreams {
		r.d.Report(r.node, fmt.Sprintf("a rule has at most %d conditions, found %d", maxStreams, len(r.terms)), "make it two rules, joined by from")
	}
	any := compiled{pred: constant(false)}
	if len(terms) > 0 {
		any = joinAny(slices.Clone(terms))
	}
	all := any
	switch {
	case r.base.pred != nil && always:
		all = r.base
	case r.base.pred != nil:
		all = joinAll([]compiled{r.base, any})
	}
	p.cond, p.base = all.pred, r.base.pred
}

// part compiles the match of a part or a step; the rule's own match holds besides.
func (r *ruleLoad) part(n, at *yaml.Node, what string) *compiled {
	if n == nil {
		if r.base.pred == nil && r.doc.Match == nil {
			r.d.Report(at, what+" has no match, and the rule has none either", "say which events count, such as match: {type: tool_call}")
		}
		return nil
	}
	m := r.c.selection(n)
	return &m
}

func (r *ruleLoad) parts(name string) {
	det := &r.rule.Detector
	docs := r.doc.All
	det.Kind, det.Threshold = DetectAll, 0
	if name == "any" {
		docs, det.Kind = r.doc.Any, DetectAny
	}
	if r.doc.Window.n == nil {
		r.d.Report(r.key(name), "\"window\" is missing", "write it beside "+name+": window: 10m")
	}
	r.windowLength(r.doc.Window)
	if len(docs) < 2 {
		r.d.Report(r.key(name), fmt.Sprintf("%s joins at least two detectors, found %d", name, len(docs)), "")
	}
	for i := range docs {
		det.Parts = append(det.Parts, r.onePart(&docs[i]))
	}
	for i := range det.Parts {
		r.together(&det.Parts[i], det.Parts)
	}
}

// together lets a count share its points with a part that has values: an event that both see is
// one point.
func (r *ruleLoad) together(count *Detector, parts []Detector) {
	for i := range parts {
		p := &parts[i]
		if count.Kind != DetectCount || p.Kind != DetectDistinct && p.Kind != DetectSum {
			continue
		}
		c, s := &r.rule.streams[count.first], &r.rule.streams[p.first]
		if s.value == valueFinding || s.with > 0 {
			continue
		}
		c.value, c.with, s.with, p.also = valueOther, p.first+1, count.first+1, count.first
		r.meaning("points of %d and %d are one", count.first, p.first)
		return
	}
}

func (r *ruleLoad) onePart(doc *partDoc) Detector {
	var d Detector
	given := 0
	for _, on := range []bool{doc.Threshold != nil, doc.Distinct != nil, doc.Sum != nil, doc.Sequence != nil, doc.Ratio != nil} {
		if on {
			given++
		}
	}
	if given != 1 {
		r.d.Report(doc.n, fmt.Sprintf("a part has one detector, found %d", given), "threshold, distinct, sum, sequence or ratio, without window and group_by")
		return d
	}
	if doc.Sequence != nil {
		return r.sequence(doc.Sequence, doc.Match)
	}
	own := r.part(doc.Match, doc.n, "this part")
	s := stream{field: NumFields}
	switch {
	case doc.Threshold != nil:
		d = Detector{Kind: DetectCount, Threshold: r.count(doc.Threshold.Count, 1)}
	case doc.Distinct != nil:
		d = Detector{Kind: DetectDistinct, Threshold: r.count(doc.Distinct.Count, 2)}
		match := doc.Match
		if match == nil {
			match = r.doc.Match
		}
		s = r.distinctField(doc.Distinct.Field, match, &d)
		if s.value == valueFinding {
			f := compiled{pred: s.finding, canon: "finding"}
			if own != nil {
				f = joinAll([]compiled{*own, f})
			}
			own = &f
		}
	case doc.Sum != nil:
		d = Detector{Kind: DetectSum, Threshold: r.limit(doc.Sum.Limit, doc.n), Field: r.valueField(doc.Sum.Field, true)}
		s.field = d.Field
	case doc.Ratio != nil:
		return r.ratio(doc.Ratio, own, doc.n)
	}
	d.first = r.stream(s, own)
	d.also = d.first
	r.meaning("part %s %s >= %g", d.Kind, s.name(), d.Threshold)
	return d
}

func (s *stream) name() string {
	if s.value == valueFinding {
		return "io.findings.cat"
	}
	if s.field < NumFields {
		return s.field.String()
	}
	return ""
}

// distinctField reads what is told apart: a field, or the categories of the findings that
// the match asks for.
func (r *ruleLoad) distinctField(p placed[string], match *yaml.Node, d *Detector) stream {
	if p.v != "io.findings.cat" {
		d.Field = r.valueField(p, false)
		if d.Field.Kind() == List && d.Field.Info().Privacy == Dropped {
			r.d.Report(p.n, d.Field.String()+" is dropped after matching", "io.args_digest and io.result_digest stand for them")
		}
		return stream{value: valueField, field: d.Field}
	}
	d.Field = NumFields
	s := stream{value: valueFinding, field: NumFields, finding: &findingPred{}}
	if match != nil && match.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(match.Content); i += 2 {
			if v := diag.Resolve(match.Content[i+1]); match.Content[i].Value == "io.findings" && v.Kind == yaml.MappingNode {
				quiet := *r.c // its mistakes were reported with the match
				quiet.d = diag.NewCtx(r.d.Source())
				if f, ok := quiet.finding(v).pred.(*findingPred); ok {
					s.finding = f
				}
			}
		}
	}
	return s
}

func (r *ruleLoad) ratio(doc *ratioBody, own *compiled, at *yaml.Node) Detector {
	d := Detector{Kind: DetectRatio, Threshold: r.limit(doc.Limit, at), Min: 1, Total: 1}
	if n := doc.Limit.Gte; n != nil && n.v > 1 {
		r.d.Report(n.n, fmt.Sprintf("a ratio is at most 1, found %g", n.v), "write 5 % as 0.05")
	}
	if doc.Count != nil {
		d.Min = r.count(*doc.Count, 1)
	}
	if doc.Total != nil {
		d.Total = r.count(*doc.Total, 1)
	}
	d.first = r.stream(stream{value: valueShare, field: NumFields}, own)
	if doc.Of != nil {
		share := r.c.selection(doc.Of)
		r.stream(stream{value: valueNone, field: NumFields}, &share)
	}
	r.meaning("ratio of %g >= %g, at least %g of %g", float64(d.first), d.Threshold, d.Min, d.Total)
	return d
}

func (r *ruleLoad) absence(doc *absenceDoc) Detector {
	d := Detector{Kind: DetectAbsence, After: doc.After != nil}
	if doc.After == nil {
		d.first = r.stream(stream{field: NumFields}, nil)
		r.meaning("absence")
		return d
	}
	// The rule's match is what is expected; it cannot be asked of what comes before.
	expected := r.base
	r.base = compiled{}
	after := r.c.selection(doc.After)
	d.first = r.stream(stream{field: NumFields}, &after)
	r.stream(stream{field: NumFields, silent: true}, &expected)
	r.meaning("absence after")
	return d
}

func (r *ruleLoad) sequence(doc *sequenceBody, common *yaml.Node) Detector {
	d := Detector{Kind: DetectSequence, Ordered: doc.Ordered == nil || doc.Ordered.v, Until: doc.Until != nil, first: uint8(len(r.rule.streams))}
	at := r.key("sequence")
	if len(doc.Steps) < 2 || len(doc.Steps) > maxSteps {
		r.d.Report(at, fmt.Sprintf("a sequence has 2 to %d steps, found %d", maxSteps, len(doc.Steps)), "one step with a count is a threshold")
	}
	var shared *compiled
	if common != nil {
		m := r.c.selection(common)
		shared = &m
	}
	joins := &joins{r: r, docs: doc.Steps, ordered: d.Ordered}
	total := 0
	for i := range doc.Steps {
		step := r.step(&doc.Steps[i], i, joins, shared)
		total += step.Count
		d.Steps = append(d.Steps, step)
	}
	joins.finish(&d, r.rule.streams[d.first:])
	if total > maxElements {
		r.d.Report(at, fmt.Sprintf("the counts of all steps add up to %d, at most %d are possible", total, maxElements), "take from a threshold rule: from: AU-01")
	}
	d.Threshold = float64(total)
	if doc.Until != nil {
		u := r.c.selection(doc.Until)
		r.stream(stream{field: NumFields, silent: true}, &u)
	}
	r.meaning("sequence at %d ordered %t until %t", d.first, d.Ordered, d.Until)
	for i := range d.Steps {
		r.meaning("step %d count %d from %q joint %t", i, d.Steps[i].Count, d.Steps[i].From, d.Steps[i].joint)
	}
	return d
}

func (r *ruleLoad) step(doc *stepDoc, i int, j *joins, shared *compiled) Step {
	step := Step{Name: doc.Name.v, Count: 1}
	if doc.Name.n != nil && (doc.Name.v == "" || strings.Contains(doc.Name.v, ".")) {
		r.d.Report(doc.Name.n, "a step's name is a word", "such as denied")
	}
	if slices.ContainsFunc(j.docs[:i], func(o stepDoc) bool { return o.Name.v == doc.Name.v }) && doc.Name.n != nil {
		r.d.Errorf(doc.Name.n, "step %q is given twice", doc.Name.v)
	}
	if doc.Count != nil {
		step.Count = int(min(r.count(*doc.Count, 1), maxElements+1))
	}
	s := stream{field: NumFields}
	switch {
	case doc.From != nil && doc.Match != nil:
		r.d.Report(nodeOf(doc.From), "a step has match or from, found both", "")
		r.stream(s, &never)
	case doc.From != nil:
		step.From = doc.From.v
		r.pending = doc.From
		r.stream(s, nil)
		r.pending = nil
		if doc.From.n != nil && doc.From.v != "" {
			r.links = append(r.links, link{r.rule, len(r.rule.streams) - 1, doc.From.v, r.d.Source(), doc.From.n})
		}
	case doc.Match == nil && r.doc.Match == nil && shared == nil:
		r.d.Report(cmp.Or(doc.Name.n, r.key("sequence")), "a step needs match or from", "")
		r.stream(s, &never)
	default:
		var own *compiled
		match := doc.Match
		if match != nil {
			match = j.split(match, i)
		}
		if match != nil {
			m := r.c.selection(match)
			own = &m
		}
		switch {
		case own == nil:
			own = shared
		case shared != nil:
			m := joinAll([]compiled{*own, *shared})
			own = &m
		}
		if own == nil && r.doc.Match == nil {
			r.d.Report(doc.Match, "a step needs a condition besides fieldref", "")
			own = &never
		}
		r.stream(s, own)
	}
	return step
}
