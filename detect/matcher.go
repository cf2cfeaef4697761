package detect

import (
	"net/netip"

	"github.com/expr-lang/expr/vm"
)

// Matcher evaluates the stateless part of a rule set: which rules an event
// matches. It holds scratch memory; one goroutine owns it. Where nothing
// matches it allocates nothing.
type Matcher struct {
	rs    *RuleSet
	epoch uint64 // of the event at hand; stamps what was computed for it

	candidates idSet
	facts      guard // of the event at hand
	fold       [firstNumber]foldCache
	hit        [firstNumber]hitCache
	addr       addrCache
	steps      int // that the conditions of the rule at hand may still take
	one        [1]string
	scratch    []byte
	labels     [][]byte
	env        map[string]any // of where
	vm         vm.VM
	stats      MatchStats
}

// MatchStats counts what happened since the Matcher was made.
type MatchStats struct {
	Events     uint64
	Candidates uint64 // rules that the index let through
	Matches    uint64
	Errors     uint64 // where expressions that ended with an error, which is no match
	Cut        uint64 // rules that ran out of steps on an event
}

type foldCache struct {
	epoch  uint64
	values [][]byte
	buf    []byte
}

type hitCache struct {
	epoch uint64
	hits
}

// addrCache is the address in a field, for the many rules that may ask for its range.
type addrCache struct {
	epoch uint64
	field Field
	addr  netip.Addr
	ok    bool
}

// NewMatcher makes a matcher for rs.
func NewMatcher(rs *RuleSet) *Matcher {
	m := &Matcher{rs: rs, candidates: newIDSet(len(rs.index.entries)), env: map[string]any{}}
	for f, l := range rs.literals {
		if l != nil {
			m.hit[f].hits = l.newHits()
		}
	}
	return m
}

// Stats returns the counts so far.
func (m *Matcher) Stats() MatchStats { return m.stats }

// Match appends what ev matches to dst, in the order of the rules. Scan and the
// derived fields come before it.
func (m *Matcher) Match(dst []Match, ev *Event) []Match {
	m.stats.Events++
	if ev.Flag(SrcLoop) {
		return dst
	}
	m.epoch++
	m.rs.index.candidates(m, ev)
	for i, summary := range m.candidates.summary {
		m.candidates.summary[i] = 0
		for ; summary != 0; summary &= summary - 1 {
			w := i*64 + trailingZeros(summary)
			word := m.candidates.words[w]
			m.candidates.words[w] = 0
			for ; word != 0; word &= word - 1 {
				dst = m.try(dst, ev, w*64+trailingZeros(word))
			}
		}
	}
	return dst
}

// try evaluates what the index let through.
func (m *Matcher) try(dst []Match, ev *Event, rule int) []Match {
	m.stats.Candidates++
	m.steps = maxRuleSteps
	// Most candidates end here, and their rules are not in the cache.
	x := &m.rs.index.entries[rule]
	if x.rest != nil && !x.rest.eval(m, ev) {
		return dst
	}
	add, ok := m.rs.rules[rule].program.match(m, ev, x.terms)
	if !ok {
		return dst
	}
	m.stats.Matches++
	return append(dst, Match{Rule: rule, Add: add})
}

// program is the compiled condition of one rule.
type program struct {
	cond    pred
	base    pred // of cond: what match says; nil where the rule has none
	where   *where
	except  []exception
	score   []scoreTerm
	atLeast float64 // of score
	field   Field   // whose value is added (sum) or must be there (distinct)
	kind    DetectorKind
}

// exception is the condition of the rule's Exception at the same place.
type exception struct {
	match pred
	until int64 // event time in Unix nanoseconds from which it no longer applies; 0: never ends
}

// scoreTerm is a part of a score. In a rule with several conditions it is one of them, and what
// it adds is the bit of its stream.
type scoreTerm struct {
	name  string
	match pred
	add   float64
}

// match reports whether an event that the rule's condition holds for matches, and what it adds.
// The terms are those of its score.
func (p *program) match(m *Matcher, ev *Event, terms []guarded) (add float64, ok bool) {
	add = 1
	switch p.kind {
	case DetectSum:
		if !ev.Has(p.field) {
			return 0, false
		}
		add = ev.num[p.field-firstNumber]
	case DetectDistinct:
		if !ev.holds(p.field) {
			return 0, false
		}
	}
	if p.kind == DetectScore {
		add = 0
		for i := range terms {
			if terms[i].eval(m, ev) {
				add += p.score[i].add
			}
		}
		if add < p.atLeast {
			return 0, false
		}
	}
	if p.where != nil && !p.where.eval(m, ev) {
		return 0, false
	}
	for i := range p.except {
		x := &p.except[i]
		if (x.until == 0 || ev.Time.UnixNano() < x.until) && x.match.eval(m, ev) {
			return 0, false
		}
	}
	return add, true
}

func (m *Matcher) has(ev *Event, s subject) bool {
	if s.label != "" {
		_, ok := ev.label(s.label)
		return ok
	}
	return ev.holds(s.field)
}

// holds is Has for who does not look at the value: what is due stays so.
func (e *Event) holds(f Field) bool { return e.has[f] != absent }

func (e *Event) label(key string) (string, bool) {
	for i := range e.labels {
		if e.labels[i].key == key {
			return e.labels[i].value, true
		}
	}
	return "", false
}

// values returns the raw texts of s; they are good until the next call.
func (m *Matcher) values(ev *Event, s subject) []string { return valuesOf(ev, s, &m.one) }

func valuesOf(ev *Event, s subject, one *[1]string) []string {
	if s.label != "" {
		v, ok := ev.label(s.label)
		if !ok {
			return nil
		}
		one[0] = v
		return one[:]
	}
	if !ev.Has(s.field) {
		return nil
	}
	if s.field >= firstList {
		return ev.lists[s.field-firstList]
	}
	one[0] = ev.text[s.field]
	return one[:]
}

// folded returns the folded texts of s, made once per event and field.
func (m *Matcher) folded(ev *Event, s subject) [][]byte {
	if s.label != "" {
		v, ok := ev.label(s.label)
		if !ok {
			return nil
		}
		m.scratch = appendFold(m.scratch[:0], v)
		m.labels = append(m.labels[:0], m.scratch)
		return m.labels
	}
	c := &m.fold[s.field]
	if c.epoch == m.epoch {
		return c.values
	}
	c.epoch = m.epoch
	c.values, c.buf = c.values[:0], c.buf[:0]
	for _, v := range m.values(ev, s) {
		// An earlier value keeps its bytes even where buf moves.
		start := len(c.buf)
		c.buf = appendFold(c.buf, v)
		c.values = append(c.values, c.buf[start:len(c.buf):len(c.buf)])
	}
	return c.values
}

// address returns the address in a text field, parsed once per event.
func (m *Matcher) address(ev *Event, f Field) (netip.Addr, bool) {
	if c := &m.addr; c.epoch != m.epoch || c.field != f {
		c.epoch, c.field = m.epoch, f
		c.addr, c.ok = parseAddr(ev.text[f])
	}
	return m.addr.addr, m.addr.ok
}

// hits returns which literals the field's texts hold: one pass per event and field.
func (m *Matcher) hits(ev *Event, f Field) *hits {
	c := &m.hit[f]
	if c.epoch == m.epoch {
		return &c.hits
	}
	c.epoch = m.epoch
	c.hits.clear()
	l := m.rs.literals[f]
	for _, v := range m.values(ev, subject{field: f}) {
		m.scratch = l.scan(v, &c.hits, m.scratch)
	}
	return &c.hits
}
