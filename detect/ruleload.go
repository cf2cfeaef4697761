package detect

import (
	"crypto/sha256"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// RuleSchema is what a rule's schema key says.
const RuleSchema = "rule/v1"

const (
	maxWindow       = time.Hour
	maxSuppress     = time.Hour
	defaultSuppress = 10 * time.Minute
	maxCount        = 100_000
)

var (
	ruleID     = regexp.MustCompile(`^[A-Z]{2,4}-[0-9]{2,6}(-[A-Z0-9]{1,12})*$`)
	ruleName   = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`)
	ruleTag    = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)+$`)
	severities = []string{"low", "medium", "high", "critical"}
	statuses   = []string{"experimental", "test", "stable", "deprecated"}
	modes      = []string{"alert", "signal", "shadow"}
	titleVar   = regexp.MustCompile(`\{\{[^}]*\}\}`)
)

// ruleLoad is the loading of one document.
type ruleLoad struct {
	*loader
	d    *diag.Ctx
	node *yaml.Node
	doc  ruleDoc
	c    *compiler
	rule *Rule
	warn diag.Problems
	// what the hash is made of, in a fixed order
	canon []string
	atoms []atom
}

func (l *loader) rule(src diag.Source, node *yaml.Node) {
	d := diag.NewCtx(src)
	r := &ruleLoad{loader: l, d: d, node: node, rule: &Rule{File: src.File, Line: node.Line}}
	if node.Kind != yaml.MappingNode {
		d.Report(node, "expected a rule, found "+diag.Describe(node), "a rule starts with schema: "+RuleSchema)
	} else {
		d.Decode(node, &r.doc)
		r.info()
		r.condition()
		r.detector()
		r.group()
		r.exceptions()
		r.lists()
		r.alert()
		r.tests()
		r.unique()
	}
	l.warnings = append(l.warnings, r.warn...)
	if problems := d.Problems(); len(problems) > 0 {
		l.problems = append(l.problems, problems...)
		return
	}
	sum := sha256.Sum256([]byte(strings.Join(r.canon, "\n")))
	copy(r.rule.Hash[:], sum[:])
	if l.atoms == nil {
		l.atoms = map[*Rule][]atom{}
	}
	l.atoms[r.rule] = r.atoms
	l.rules = append(l.rules, r.rule)
}

// key returns the node of a top-level key, to complain at.
func (r *ruleLoad) key(name string) *yaml.Node {
	for i := 0; i+1 < len(r.node.Content); i += 2 {
		if r.node.Content[i].Value == name {
			return r.node.Content[i]
		}
	}
	return r.node
}

func (r *ruleLoad) meaning(format string, args ...any) {
	r.canon = append(r.canon, fmt.Sprintf(format, args...))
}

func (r *ruleLoad) oneOf(p placed[string], what string, known []string, fallback string) string {
	if p.n == nil {
		return fallback
	}
	if p.v != "" && !slices.Contains(known, p.v) {
		hint := diag.Closest(p.v, known)
		if hint == "" {
			hint = strings.Join(known, ", ")
		}
		r.d.Report(p.n, fmt.Sprintf("unknown %s %q", what, p.v), "use "+hint)
	}
	return p.v
}

func (r *ruleLoad) pattern(p placed[string], what string, re *regexp.Regexp, example string) {
	if p.n != nil && p.v != "" && !re.MatchString(p.v) {
		r.d.Report(p.n, fmt.Sprintf("%q is not a %s", p.v, what), "write it like "+example)
	}
}

func (r *ruleLoad) info() {
	doc, rule := &r.doc, r.rule
	if doc.Schema.n != nil && doc.Schema.v != RuleSchema {
		r.d.Report(doc.Schema.n, fmt.Sprintf("unknown schema %q", doc.Schema.v), "this version reads "+RuleSchema)
	}
	r.pattern(doc.ID, "rule id", ruleID, "AU-01")
	r.pattern(doc.Name, "rule name", ruleName, "auth.bruteforce")
	for _, p := range []placed[string]{doc.ID, doc.Name, doc.Title} {
		if p.n != nil && p.n.Value == "" {
			r.d.Report(p.n, "is empty", "")
		}
	}
	rule.Severity = r.oneOf(doc.Severity, "severity", severities, "")
	rule.Status = r.oneOf(doc.Status, "status", statuses, "experimental")
	rule.Mode = Mode(max(0, slices.Index(modes, r.oneOf(doc.Mode, "mode", modes, "alert"))))
	for _, p := range []placed[int]{doc.Confidence, doc.Risk} {
		if p.v < 0 || p.v > 100 {
			r.d.Errorf(p.n, "expected 0 to 100, found %d", p.v)
		}
	}
	rule.Confidence, rule.Risk, rule.FalsePositives = doc.Confidence.v, doc.Risk.v, doc.FalsePositives
	rule.Info = RuleInfo{
		ID: doc.ID.v, Name: doc.Name.v, Title: doc.Title.v, Description: strings.TrimSpace(doc.Description),
		Runbook: strings.TrimSpace(doc.Runbook),
	}
	for _, t := range doc.Tags {
		r.pattern(t, "tag", ruleTag, "attack.t1110.001")
		rule.Info.Tags = append(rule.Info.Tags, t.v)
	}
	for _, u := range doc.References {
		if u.v != "" && !strings.HasPrefix(u.v, "https://") && !strings.HasPrefix(u.v, "http://") {
			r.d.Report(u.n, fmt.Sprintf("%q is not a web address", u.v), "write https://...")
		}
		rule.Info.References = append(rule.Info.References, u.v)
	}
	r.meaning("rule %s", doc.ID.v)
}

// condition compiles match and where.
func (r *ruleLoad) condition() {
	lists := map[string]*list{}
	for name, l := range r.loader.lists {
		lists[name] = &list{values: l.values, used: true}
	}
	for name, l := range r.doc.Lists {
		lists[name] = &list{values: l.nodes}
	}
	r.c = &compiler{d: r.d, literals: &r.loader.literals, lists: lists}
	if r.doc.Match == nil {
		if !r.refused() {
			r.d.Report(r.node, "\"match\" is missing", "say which events count, such as match: {type: tool_call}")
		}
		return
	}
	m := r.c.selection(r.doc.Match)
	r.rule.program.cond, r.atoms = m.pred, m.atoms
	r.meaning("match %s", m.canon)
	if r.doc.Where.n != nil {
		r.rule.program.where = compileWhere(r.d, r.doc.Where.n, r.doc.Where.v)
		r.meaning("where %q", strings.Join(strings.Fields(r.doc.Where.v), " "))
	}
}

// refused reports the keys of the format that this version does not evaluate.
func (r *ruleLoad) refused() bool {
	any := false
	for i := 0; i+1 < len(r.node.Content); i += 2 {
		if why, ok := notYet[r.node.Content[i].Value]; ok {
			any = true
			r.d.Report(r.node.Content[i], why, "available: match, where, threshold, distinct, sum, score")
		}
	}
	return any
}

func (r *ruleLoad) detector() {
	if r.doc.Match != nil {
		r.refused()
	}
	doc, det := &r.doc, &r.rule.Detector
	var given []string
	for _, k := range []struct {
		name string
		on   bool
	}{{"threshold", doc.Threshold != nil}, {"distinct", doc.Distinct != nil}, {"sum", doc.Sum != nil}, {"score", doc.Score != nil}} {
		if k.on {
			given = append(given, k.name)
		}
	}
	if len(given) > 1 {
		r.d.Report(r.key(given[1]), fmt.Sprintf("a rule has one detector, found %s", strings.Join(given, " and ")), "make it two rules")
		return
	}
	*det = Detector{Kind: DetectCount, Threshold: 1}
	switch {
	case doc.Threshold != nil:
		det.Threshold = r.count(doc.Threshold.Count, 1)
		r.window(&doc.Threshold.Window)
	case doc.Distinct != nil:
		det.Kind = DetectDistinct
		det.Threshold = r.count(doc.Distinct.Count, 2)
		det.Field = r.valueField(doc.Distinct.Field, false)
		r.window(&doc.Distinct.Window)
	case doc.Sum != nil:
		det.Kind = DetectSum
		det.Threshold = r.limit(doc.Sum.Limit, r.key("sum"))
		det.Field = r.valueField(doc.Sum.Field, true)
		r.window(&doc.Sum.Window)
	case doc.Score != nil:
		r.score()
	}
	p := &r.rule.program
	p.kind, p.field, p.atLeast = det.Kind, det.Field, det.Threshold
	r.rule.Suppress = det.Window
	if det.Window == 0 {
		r.rule.Suppress = defaultSuppress
	} else {
		r.rule.Info.Window = Span(det.Window)
	}
	if s := doc.Suppress.For; s.n != nil {
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
	field := ""
	if det.Kind == DetectDistinct || det.Kind == DetectSum {
		field = det.Field.String()
	}
	r.meaning("detect %s %s >= %g in %s, bucket %s", det.Kind, field, det.Threshold, det.Window, r.rule.Suppress)
}

// count reads a threshold of whole things.
func (r *ruleLoad) count(b bound, low float64) float64 {
	if b.n == nil {
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
	case !number && s.field.Kind() != Text && s.field.Kind() != Number:
		r.d.Errorf(p.n, "%s has no single value to tell apart", s)
	}
	return s.field
}

func (r *ruleLoad) window(w *windowDoc) {
	switch d := w.Window; {
	case d.n == nil:
	case d.v > maxWindow:
		r.d.Report(d.n, "a window is at most 1h", "longer ones are history rules, which read the event store")
	case d.v < time.Second:
		r.d.Errorf(d.n, "a window is at least 1s")
	default:
		r.rule.Detector.Window = d.v
	}
	if w.GroupBy != nil {
		if r.doc.GroupBy != nil {
			r.d.Report(r.doc.GroupBy.n, "group_by is given twice", "keep the one inside the detector")
		}
		r.doc.GroupBy = w.GroupBy
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
		r.rule.program.score = append(r.rule.program.score, scoreTerm{m.pred, part.Add.v})
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
