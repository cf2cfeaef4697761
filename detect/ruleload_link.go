package detect

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// joins are the fieldrefs between the steps of one sequence: {perm.resource|fieldref:
// denied.perm.resource} asks for the value that the step "denied" had. All compared steps
// share one value, which makes a sequence as cheap as without.
type joins struct {
	r       *ruleLoad
	docs    []stepDoc
	ordered bool
	refs    []ref
}

type ref struct {
	step, other int
	own, field  Field
	cased       bool
	n           *yaml.Node
}

// split takes the fieldrefs to earlier steps out of a step's match; nil when nothing is left.
func (j *joins) split(match *yaml.Node, step int) *yaml.Node {
	if match.Kind != yaml.MappingNode {
		return match
	}
	left := *match
	left.Content = nil
	for i := 0; i+1 < len(match.Content); i += 2 {
		key, value := match.Content[i], diag.Resolve(match.Content[i+1])
		words := strings.Split(key.Value, "|")
		name, field, dotted := strings.Cut(value.Value, ".")
		other := slices.IndexFunc(j.docs, func(d stepDoc) bool { return d.Name.v == name })
		_, known := FieldByName(value.Value)
		if !slices.Contains(words[1:], "fieldref") || known || !dotted || other < 0 {
			left.Content = append(left.Content, match.Content[i], match.Content[i+1])
			continue
		}
		j.ref(ref{step: step, other: other, cased: slices.Contains(words, "cased"), n: value}, key, words, field)
	}
	if len(left.Content) == 0 {
		return nil
	}
	return &left
}

func (j *joins) ref(x ref, key *yaml.Node, words []string, field string) {
	d := j.r.d
	for _, w := range words[1:] {
		if w != "fieldref" && w != "cased" {
			d.Report(key, fmt.Sprintf("%q does not go with a fieldref to a step", w), "steps are compared for equality")
			return
		}
	}
	if x.other >= x.step {
		d.Report(x.n, fmt.Sprintf("fieldref looks back, and step %q is not before this one", j.docs[x.other].Name.v), "put the comparison into the later step")
		return
	}
	if j.docs[x.other].From != nil {
		d.Report(x.n, "a step that comes from another rule has no fields", "group by the field, or repeat the other rule's match as a step")
		return
	}
	if !j.ordered {
		d.Report(x.n, "steps without order have no earlier step", "leave out ordered: false, or group by the field")
		return
	}
	x.own = j.r.valueField(placed[string]{words[0], key}, false)
	x.field = j.r.valueField(placed[string]{field, x.n}, false)
	for _, f := range []Field{x.own, x.field} {
		if f.Kind() == List {
			d.Errorf(x.n, "%s is a list: it has no single value to compare", f)
		}
	}
	j.refs = append(j.refs, x)
}

// finish gives the compared steps the fields whose values are equal.
func (j *joins) finish(d *Detector, streams []stream) {
	for i, x := range j.refs {
		if x.cased != j.refs[0].cased {
			j.r.d.Report(x.n, "either all fieldrefs of a sequence are cased or none", "")
		}
		to, own := &streams[x.other], &streams[x.step]
		first := i == 0 || j.refs[i-1].step != x.step
		switch at := slices.Index(to.joined, x.field); {
		case i > 0 && !first && j.refs[i-1].other != x.other:
			j.r.d.Report(x.n, "a step is compared with one earlier step", "group by what all steps share")
			return
		case at < 0 && (to.value == valueJoint && to.closed || i > 0 && to.value != valueJoint):
			j.r.d.Report(x.n, "all compared steps share one value: this field is not the one that was compared before", "group by what all steps share")
			return
		case at < 0:
			to.joined = append(to.joined, x.field)
			to.value, to.cased = valueJoint, x.cased
		case first && at != 0 || !first && at != len(own.joined):
			j.r.d.Report(x.n, "write the fieldrefs of every step in the same order", "")
			return
		}
		own.joined = append(own.joined, x.own)
		own.value, own.cased = valueJoint, x.cased
		if i+1 == len(j.refs) || j.refs[i+1].step != x.step {
			to.closed, own.closed = true, true
		}
		d.Steps[x.other].joint, d.Steps[x.step].joint = true, true
	}
	joint := false
	for i := range d.Steps {
		if joint && !d.Steps[i].joint && len(j.refs) > 0 {
			j.r.d.Report(cmp.Or(j.docs[i].Name.n, j.r.key("sequence")), fmt.Sprintf("step %q comes after a compared step and is not compared itself", d.Steps[i].Name), "compare it too, or put it first")
		}
		joint = joint || d.Steps[i].joint
		for _, f := range streams[i].joined {
			t := &j.r.terms[int(d.first)+i]
			t.pred = allPred{hasPred{subject{field: f}}, t.pred}
			j.r.meaning("step %d compares %s cased %t", i, f, streams[i].cased)
		}
		if n := len(streams[i].joined); d.Steps[i].joint && n != len(streams[slices.IndexFunc(d.Steps, func(s Step) bool { return s.joint })].joined) {
			j.r.d.Report(cmp.Or(j.docs[i].Name.n, j.r.key("sequence")), "every compared step compares the same fields", "")
		}
	}
}

// link is a step that takes another rule's completions.
type link struct {
	rule   *Rule
	stream int
	id     string
	src    diag.Source
	n      *yaml.Node
}

func (k *link) report(l *loader, msg, hint string) {
	l.problems = append(l.problems, k.src.At(k.n, msg, hint))
}

// link finds the rules that steps take from.
func (l *loader) link() {
	for i := range l.links {
		k := &l.links[i]
		src := l.ids[k.id]
		switch {
		case src == nil:
			hint := ""
			if near := diag.Closest(k.id, slices.Collect(maps.Keys(l.ids))); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			k.report(l, fmt.Sprintf("there is no rule %q", k.id), hint)
		case !slices.Contains(l.rules, src):
			// It has problems of its own, which are reported.
		case groupCanon(src.GroupBy) != groupCanon(k.rule.GroupBy):
			k.report(l, fmt.Sprintf("%s groups by %s, this rule by %s: their groups do not meet", k.id, groupNames(src), groupNames(k.rule)),
				"give both the same group_by")
		default:
			k.rule.streams[k.stream].from = src
			if l.reaches(src, k.rule, map[*Rule]bool{}) {
				k.rule.streams[k.stream].from = nil
				k.report(l, fmt.Sprintf("%s takes steps from this rule itself: from must not make a circle", k.id), "")
			}
		}
	}
}

func groupNames(r *Rule) string {
	if len(r.GroupBy) == 0 {
		return "nothing"
	}
	return strings.ReplaceAll(groupCanon(r.GroupBy), ";", ", ")
}

func (l *loader) reaches(from, to *Rule, seen map[*Rule]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for i := range from.streams {
		if next := from.streams[i].from; next != nil && l.reaches(next, to, seen) {
			return true
		}
	}
	return false
}

// linked checks that what remains has its sources, and makes a rule's hash depend on them:
// when one changes, so do its completions.
func (l *loader) linked() {
	for i := range l.links {
		k := &l.links[i]
		if src := k.rule.streams[k.stream].from; src != nil && slices.Contains(l.rules, k.rule) && !slices.Contains(l.rules, src) {
			k.report(l, fmt.Sprintf("%s is disabled, and this rule takes steps from it", k.id), "disable "+k.rule.Info.ID+" too")
		}
	}
	done := map[*Rule]bool{}
	var visit func(r *Rule)
	visit = func(r *Rule) {
		if done[r] {
			return
		}
		done[r] = true
		for i := range r.streams {
			if src := r.streams[i].from; src != nil {
				visit(src)
				sum := sha256.Sum256(slices.Concat(r.Hash[:], []byte{byte(i)}, src.Hash[:]))
				copy(r.Hash[:], sum[:])
			}
		}
	}
	for _, r := range l.rules {
		visit(r)
	}
}
