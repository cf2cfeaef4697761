package detect

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Trace says why an event matched a rule or did not.
type Trace struct {
	Rule    string
	Matched bool
	Add     float64 // of a match: what the event adds

	Loop      bool // the event is Picket's own: no rule sees it
	Candidate bool // the index led to the rule; where it did not, Condition does not hold

	Ungrouped []string // what the rule groups by and the event lacks: it is skipped and counted

	Condition  Node
	Joined     bool   // Condition says no more than that one of Parts holds
	Parts      []Node // of score, or the conditions of several steps
	Field      string // the field that has to be there for its value to count, empty: none
	FieldThere bool
	Where      *WhereTrace
	Exceptions []ExceptionTrace
}

// WhereTrace is the evaluation of where.
type WhereTrace struct {
	Holds  bool
	Err    error             // an error is no match
	Absent []string          // fields that where names and the event lacks: no match
	Raw    map[string]string // what it looked at, as the producer sent it: not to be stored or sent on
}

// ExceptionTrace is one exception, in the order of the file.
type ExceptionTrace struct {
	ExceptionNode
	Over    bool // it has expired at the event's time
	Applies bool // it holds and has not expired: the event is no match
}

// ExplainEvent evaluates every condition of a rule on an event, also where an earlier one
// has decided. The event is one that has its raw values.
func (m *Matcher) ExplainEvent(rule *Rule, ev *Event) Trace {
	p := &rule.program
	out := Trace{Rule: rule.Info.ID, Loop: ev.Flag(SrcLoop), FieldThere: true}
	stats := m.stats // questions are no events
	defer func() { m.stats = stats }()
	for _, match := range m.Match(nil, ev) {
		if match.Rule == rule.Index {
			out.Matched, out.Add = true, match.Add
		}
	}
	for _, t := range rule.GroupBy {
		if _, _, _, ok := ev.groupRaw(t); !ok {
			out.Ungrouped = append(out.Ungrouped, t.String())
		}
	}
	m.epoch++
	m.rs.index.candidates(m, ev)
	out.Candidate = m.candidates.take(int32(rule.Index))
	x := explainer{rs: m.rs, atoms: m.rs.index.entries[rule.Index].atoms, m: m, ev: ev}
	out.Condition = x.node(p.cond)
	out.Joined = rule.multi && p.base == nil
	x.atoms = nil
	if p.kind == DetectSum || p.kind == DetectDistinct {
		out.Field, out.FieldThere = p.field.String(), ev.Has(p.field)
	}
	for i := range p.score {
		n := x.node(p.score[i].match)
		out.Parts = append(out.Parts, Node{Text: rule.termText(i), Parts: []Node{n}, Holds: n.Holds})
	}
	if p.where != nil {
		out.Where = p.where.trace(m, ev)
	}
	for i := range p.except {
		e := ExceptionTrace{ExceptionNode: ExceptionNode{rule.Exceptions[i], x.node(p.except[i].match)}}
		e.Over = e.Expired(ev.Time)
		e.Applies = e.Holds && !e.Over
		out.Exceptions = append(out.Exceptions, e)
	}
	return out
}

// take empties the set and reports whether id was in it.
func (s *idSet) take(id int32) bool {
	in := s.words[id/64]&(1<<(id%64)) != 0
	clear(s.words)
	clear(s.summary)
	return in
}

func (w *where) trace(m *Matcher, ev *Event) *WhereTrace {
	t := &WhereTrace{Raw: map[string]string{}}
	x := explainer{ev: ev}
	for _, f := range w.fields {
		if !ev.Has(f) {
			t.Absent = append(t.Absent, f.String())
			continue
		}
		t.Raw[f.String()] = strings.Join(x.raw(subject{field: f}), ", ")
	}
	if t.Absent == nil {
		errs := m.stats.Errors
		t.Holds = w.eval(m, ev)
		if m.stats.Errors > errs {
			t.Err = errors.New("evaluate where: it ended with an error, which is no match")
		}
	}
	return t
}

// maxRaw is how many values of a field, and characters of one, a trace shows.
const (
	maxRaw     = 8
	maxRawText = 200
)

// raw is what the event has of s; nil where it has nothing.
func (x *explainer) raw(s subject) []string {
	if x.ev == nil {
		return nil
	}
	if s.label == "" && s.kind() >= Number {
		v, ok := x.ev.raw(s.field)
		if !ok {
			return nil
		}
		return []string{v}
	}
	var out []string
	for _, v := range valuesOf(x.ev, s, new([1]string)) {
		if len(out) == maxRaw {
			return append(out, "...")
		}
		if len(v) > maxRawText {
			end := maxRawText
			for !utf8.RuneStart(v[end]) {
				end--
			}
			v = v[:end] + "..."
		}
		out = append(out, v)
	}
	return out
}

// Write appends the trace as indented text. It has raw values.
func (t *Trace) Write(b *strings.Builder) {
	says := map[bool]string{true: " matches", false: " does not match"}[t.Matched]
	if t.Matched && t.Ungrouped != nil {
		says = " matches, and skips the event: it has no " + strings.Join(t.Ungrouped, ", no ") + " to group it by"
	}
	b.WriteString(t.Rule + says + " (raw values: do not store or send on)\n")
	if t.Loop {
		b.WriteString("  no   the event is Picket's own\n")
	}
	if !t.Joined {
		t.Condition.write(b, 1, true)
	}
	for i := range t.Parts {
		t.Parts[i].write(b, 1, true)
	}
	if !t.FieldThere {
		b.WriteString("  no   " + t.Field + " is absent, and its value is what counts\n")
	}
	if w := t.Where; w != nil {
		b.WriteString(map[bool]string{true: "  yes ", false: "  no  "}[w.Holds] + "where\n")
		for _, f := range w.Absent {
			b.WriteString("    no   " + f + " is absent\n")
		}
		if w.Err != nil {
			b.WriteString("    " + w.Err.Error() + "\n")
		}
	}
	for i := range t.Exceptions {
		e := &t.Exceptions[i]
		says := map[bool]string{true: "  excepted by ", false: "  not excepted by "}[e.Applies]
		until := map[bool]string{true: ", expired ", false: ", expires "}[e.Over]
		b.WriteString(says + e.Name + until + e.Expires.Format(time.DateOnly) + "\n")
		e.write(b, 2, true)
	}
}
