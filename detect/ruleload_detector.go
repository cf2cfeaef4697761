package detect

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// condition compiles match and where.
func (r *ruleLoad) condition() {
	lists := map[string]*list{}
	for name, l := range r.loader.lists {
		lists[name] = &list{values: l.values, used: true}
	}
	for name, l := range r.doc.Lists {
		lists[name] = &list{values: l.nodes}
	}
	r.rule.said = written{}
	r.c = &compiler{d: r.d, literals: &r.loader.literals, lists: lists, said: r.rule.said}
	r.refused()
	if r.doc.Match != nil {
		r.base = r.c.selection(r.doc.Match)
		r.meaning("match %s", r.base.canon)
	} else if doc := &r.doc; doc.Sequence == nil && doc.All == nil && doc.Any == nil {
		r.d.Report(r.node, "\"match\" is missing", "say which events count, such as match: {type: tool_call}")
	}
	if r.doc.Where.n != nil {
		r.rule.program.where = compileWhere(r.d, r.doc.Where.n, r.doc.Where.v)
		r.meaning("where %q", strings.Join(strings.Fields(r.doc.Where.v), " "))
	}
}

// refused reports the keys of the format that this version does not evaluate.
func (r *ruleLoad) refused() {
	for i := 0; i+1 < len(r.node.Content); i += 2 {
		if why, ok := notYet[r.node.Content[i].Value]; ok {
			r.d.Report(r.node.Content[i], why, "available: match, where, threshold, distinct, sum, score, sequence, ratio, absence, all, any")
		}
	}
}

func (r *ruleLoad) detector() {
	doc, det := &r.doc, &r.rule.Detector
	var given []string
	for _, k := range []struct {
		name string
		on   bool
	}{
		{"threshold", doc.Threshold != nil},
		{"distinct", doc.Distinct != nil},
		{"sum", doc.Sum != nil},
		{"score", doc.Score != nil},
		{"sequence", doc.Sequence != nil},
		{"ratio", doc.Ratio != nil},
		{"absence", doc.Absence != nil},
		{"all", doc.All != nil},
		{"any", doc.Any != nil},
	} {
		if k.on {
			given = append(given, k.name)
		}
	}
	if len(given) > 1 {
		r.d.Report(r.key(given[1]), fmt.Sprintf("a rule has one detector, found %s", strings.Join(given, " and ")), "make it two rules, or join them with all or any")
		return
	}
	*det = Detector{Kind: DetectCount, Threshold: 1}
	resolution := doc.Resolution
	if doc.All == nil && doc.Any == nil {
		for _, p := range []struct {
			n    *yaml.Node
			name string
		}{{doc.Window.n, "window"}, {nodeOf(doc.Resolution), "resolution"}} {
			if p.n != nil {
				r.d.Report(r.key(p.name), p.name+" belongs into the detector", "only all and any have it beside them")
			}
		}
	}
	one := stream{field: NumFields}
	switch {
	case doc.Threshold != nil:
		det.Threshold = r.count(doc.Threshold.Count, 1)
		resolution = r.window(&doc.Threshold.Window)
	case doc.Distinct != nil:
		det.Kind = DetectDistinct
		det.Threshold = r.count(doc.Distinct.Count, 2)
		one = r.distinctField(doc.Distinct.Field, doc.Match, det)
		resolution = r.window(&doc.Distinct.Window)
	case doc.Sum != nil:
		det.Kind = DetectSum
		det.Threshold = r.limit(doc.Sum.Limit, r.key("sum"))
		det.Field = r.valueField(doc.Sum.Field, true)
		resolution = r.window(&doc.Sum.Window)
	case doc.Score != nil:
		r.score()
	case doc.Sequence != nil:
		*det = r.sequence(&doc.Sequence.Body, nil)
		resolution = r.window(&doc.Sequence.Window)
	case doc.Ratio != nil:
		*det = r.ratio(&doc.Ratio.Body, nil, r.key("ratio"))
		resolution = r.window(&doc.Ratio.Window)
	case doc.Absence != nil:
		*det = r.absence(doc.Absence)
		resolution = r.window(&doc.Absence.Window)
	case doc.All != nil || doc.Any != nil:
		r.parts(given[0])
	}
	if r.rule.multi {
		r.joined()
	} else {
		p := &r.rule.program
		p.kind, p.field, p.atLeast = det.Kind, det.Field, det.Threshold
		p.cond, p.base = r.base.pred, r.base.pred
		if one.value == valueFinding {
			p.kind = DetectCount
			p.cond = allPred{p.cond, &findingPred{parts: one.finding.parts}}
		}
		r.rule.streams = []stream{one}
	}
	p := &r.rule.program
	r.rule.findings = findingsIn(nil, p.cond)
	for i := range p.score {
		r.rule.findings = findingsIn(r.rule.findings, p.score[i].match)
	}
	r.bucket(resolution)
	field := ""
	if det.Kind == DetectDistinct || det.Kind == DetectSum {
		field = "io.findings.cat"
		if det.Field < NumFields {
			field = det.Field.String()
		}
	}
	r.meaning("detect %s %s >= %g in %s, bucket %s, panes %s", det.Kind, field, det.Threshold, det.Window, r.rule.Suppress, det.Resolution)
}

func nodeOf[T any](p *placed[T]) *yaml.Node {
	if p == nil {
		return nil
	}
	return p.n
}

// bucket reads suppress.for and resolution.
func (r *ruleLoad) bucket(resolution *placed[time.Duration]) {
	det := &r.rule.Detector
	r.rule.Suppress = det.Window
	if det.Window == 0 {
		r.rule.Suppress = defaultSuppress
	} else {
		r.rule.Info.Window = Span(det.Window)
	}
	if s := r.doc.Suppress.For; s.n != nil {
		switch {
		case s.v > maxSuppress:
			r.d.Report(s.n, "suppress.for is at most 1h", "longer quiet is for silences and incidents, after the alert")
		case s.v > 0 && s.v < time.Second || s.v%time.Millisecond != 0:
			r.d.Errorf(s.n, "suppress.for is at least 1s")
		case s.v > 0:
			r.rule.Suppress = s.v
		default:
			r.d.Report(s.n, "suppress.for must be above zero", "leave suppress out for the default")
		}
	}
	if resolution == nil || resolution.n == nil {
		return
	}
	switch n := resolution.n; {
	case det.paneless():
		r.d.Report(n, "resolution is for threshold, distinct, sum and ratio", "the order and the gaps of single events decide here")
	case resolution.v < time.Second || det.Window > 0 && (det.Window%resolution.v != 0 || det.Window == resolution.v):
		r.d.Report(n, "resolution must divide the window into whole panes", "for a window of 1h write 10s or 1m")
	case r.rule.Suppress%resolution.v != 0:
		r.d.Report(n, "resolution must divide suppress.for into whole panes", "")
	default:
		det.Resolution = resolution.v
	}
}

// paneless reports whether the order of single events matters.
func (d *Detector) paneless() bool {
	for i := range d.Parts {
		if d.Parts[i].paneless() {
			return true
		}
	}
	return d.Kind == DetectSequence || d.Kind == DetectAbsence || d.Kind == DetectScore || d.single() && d.Window == 0
}

// count reads a threshold of whole things.
func (r *ruleLoad) count(b bound, low float64) float64 {
	if b.n == nil {
		return low
	}
	if b.Gte != nil && b.Gt == nil && b.Gte.v < low {
		r.d.Errorf(b.n, "count must be at least %g, found %g", low, b.Gte.v)
		return low
	}
	x := r.limit(b.limitDoc, b.n)
	if b.Gt != nil && b.Gte == nil {
		x = b.Gt.v + 1
	}
	switch {
	case x != float64(int64(x)):
		r.d.Errorf(b.n, "a count is a whole number, found %g", x)
	case x < low:
		r.d.Errorf(b.n, "count must be at least %g, found %g", low, x)
	case x > maxCount:
		r.d.Report(b.n, fmt.Sprintf("count is at most %d", maxCount), "use sum on a size for larger volumes")
	}
	return x
}

// limit reads gte or gt; the engine fires at >=.
func (r *ruleLoad) limit(l limitDoc, at *yaml.Node) float64 {
	switch {
	case l.Gte != nil && l.Gt != nil:
		r.d.Report(l.Gt.n, "gte and gt exclude each other", "")
	case l.Gte != nil:
		if l.Gte.v <= 0 {
			r.d.Errorf(l.Gte.n, "must be above zero, found %g", l.Gte.v)
		}
		return max(l.Gte.v, 1e-9)
	case l.Gt != nil:
		return math.Nextafter(l.Gt.v, math.Inf(1))
	default:
		r.d.Report(at, "a threshold is missing", "write {gte: 5}")
	}
	return 1
}

func (r *ruleLoad) valueField(p placed[string], number bool) Field {
	if p.n == nil || p.v == "" {
		return 0
	}
	s, ok := r.c.subject(p.n, p.v)
	switch {
	case !ok:
	case s.label != "":
		r.d.Errorf(p.n, "a label cannot be counted, use a field")
	case number && s.field.Kind() != Number:
		r.d.Errorf(p.n, "%s is not a number", s)
	case !number && s.field.Kind() == Flag:
		r.d.Errorf(p.n, "%s has no values to tell apart", s)
	}
	return s.field
}

func (r *ruleLoad) window(w *windowDoc) *placed[time.Duration] {
	r.windowLength(w.Window)
	if w.GroupBy != nil {
		if r.doc.GroupBy != nil {
			r.d.Report(r.doc.GroupBy.n, "group_by is given twice", "keep the one inside the detector")
		}
		r.doc.GroupBy = w.GroupBy
	}
	return w.Resolution
}

func (r *ruleLoad) windowLength(d placed[time.Duration]) {
	switch {
	case d.n == nil:
	case d.v > maxWindow:
		r.d.Report(d.n, "a window is at most 1h", "longer ones are history rules, which read the event store")
	case d.v < time.Second:
		r.d.Errorf(d.n, "a window is at least 1s")
	default:
		r.rule.Detector.Window = d.v
	}
}

func (r *ruleLoad) score() {
	doc, det := r.doc.Score, &r.rule.Detector
	det.Kind = DetectScore
	det.Threshold = r.limit(doc.Limit, r.key("score"))
	total := 0.0
	var parts []string
	seen := map[string]bool{}
	for _, part := range doc.Of {
		if seen[part.Name.v] && part.Name.n != nil {
			r.d.Errorf(part.Name.n, "part %q is given twice", part.Name.v)
		}
		seen[part.Name.v] = true
		if part.Add.v <= 0 && part.Add.n != nil {
			r.d.Errorf(part.Add.n, "add must be above zero")
		}
		total += part.Add.v
		if part.Match == nil {
			continue
		}
		m := r.c.selection(part.Match)
		r.rule.program.score = append(r.rule.program.score, scoreTerm{part.Name.v, m.pred, part.Add.v})
		parts = append(parts, strconv.FormatFloat(part.Add.v, 'g', -1, 64)+" "+m.canon)
	}
	if total < det.Threshold && doc.Limit.Gte != nil {
		r.d.Errorf(doc.Limit.Gte.n, "never reached: all parts add up to %g", total)
	}
	slices.Sort(parts)
	r.meaning("score %s", strings.Join(parts, "; "))
}

func (r *ruleLoad) group() {
	if r.doc.GroupBy != nil {
		r.rule.GroupBy = r.doc.GroupBy.terms
	}
	r.meaning("group %s", groupCanon(r.rule.GroupBy))
}
