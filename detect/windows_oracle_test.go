package detect

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
)

// member is one event of a group as the obvious evaluator looks at it.
type member struct {
	at    int64
	id    uint64
	roles uint64
	ev    *Event  // nil: another rule's completion
	value float64 // of a completion: what was measured
}

func (m member) is(role int) bool { return m.roles&(1<<role) != 0 }

// wanted is what an alert must say.
type wanted struct {
	spec  *spec
	text  string
	mode  string
	count uint64
	value float64 // the most that a completion measured
	last  int64   // the newest matching event in the bucket

	completed, first int64 // the first completion, and the first matching event in its window
}

// groupID names a group by its keyed hash, which is part of the alert's id.
type groupID struct {
	hash [16]byte
	text string
}

// obvious is the slow evaluator: sort a group's events by time, and for each of them look at
// its whole window. It knows nothing of how rules are compiled, packed or kept.
type obvious struct {
	events []*Event
	done   map[*spec]map[groupID][]member
}

func (o *obvious) expected(specs []*spec, rs *RuleSet) map[string]wanted {
	o.done = map[*spec]map[groupID][]member{}
	out := map[string]wanted{}
	for _, s := range specs {
		groups := o.groups(s)
		bucket := s.bucket()
		for g, completions := range o.completions(s) {
			for _, e := range completions {
				start := floor(e.at, bucket)
				count, last := uint64(0), start
				for _, m := range groups[g] {
					if s.matching(m) && floor(m.at, bucket) == start {
						count++
						last = max(last, m.at)
					}
				}
				hash := rs.ByID(s.id).Hash
				id := plainHasher{}.GroupHash("", "alert", string(hash[:]), string(g.hash[:]), strconv.FormatInt(start, 10))
				x := wanted{
					spec: s, text: s.id + " " + s.feature + " " + g.text + " " + time.UnixMilli(start).UTC().Format(time.TimeOnly),
					mode: s.mode, count: count, value: e.value, last: last, completed: e.at, first: s.began(e, groups[g]),
				}
				if before, ok := out[encodeID(id)]; ok {
					x.value = max(x.value, before.value)
					if before.completed <= x.completed {
						x.completed, x.first = before.completed, before.first
					}
				}
				out[encodeID(id)] = x
			}
		}
	}
	return out
}

func floor(at int64, span time.Duration) int64 {
	return time.UnixMilli(at).Truncate(span).UnixMilli()
}

func (s *spec) bucket() time.Duration { return cmp.Or(s.suppress, s.window, 10*time.Minute) }

// single reports whether one event alone decides: then late ones still fire, when they come.
func (s *spec) single() bool {
	return s.detector.kind == DetectScore || s.detector.kind == DetectCount && s.detector.need == 1
}

// matching reports whether an event is one of those that count: until events and what an
// absence waits for are not.
func (s *spec) matching(m member) bool {
	for i := range s.roles {
		if m.is(i) && !s.roles[i].silent {
			return true
		}
	}
	return false
}

// of names the group of an event; false when it misses a field.
func (g grouping) of(ev *Event) (groupID, bool) {
	parts := []string{"group"}
	for _, fields := range g.terms {
		i := slices.IndexFunc(fields, ev.Has)
		if i < 0 {
			return groupID{}, false
		}
		parts = append(parts, fields[i].String(), ev.text[fields[i]])
	}
	tenant := ev.text[Tenant]
	return groupID{plainHasher{}.GroupHash(tenant, parts...), tenant + " " + strings.Join(parts[1:], " ")}, true
}

// groups are the events of a rule by group, in order of time and identity, each once.
func (o *obvious) groups(s *spec) map[groupID][]member {
	groups := map[groupID][]member{}
	put := func(g groupID, m member) {
		for i := range groups[g] {
			q := &groups[g][i]
			if q.at == m.at && q.id == m.id {
				q.roles |= m.roles
				if m.ev != nil {
					q.ev = m.ev
				}
				return
			}
		}
		groups[g] = append(groups[g], m)
	}
	pane := max(s.pane, time.Millisecond)
	for _, ev := range o.events {
		m := member{ev: ev}
		for i := range s.roles {
			if s.roles[i].holds(ev) {
				m.roles |= 1 << i
			}
		}
		at := ev.Time
		if ev.Append.Sub(ev.Time) > testLateness {
			if !s.single() {
				continue
			}
			at = ev.Append
		}
		g, ok := s.group.of(ev)
		if m.roles == 0 || !ok {
			continue
		}
		hash := plainHasher{}.GroupHash(ev.text[Tenant], "id", ev.text[ServerInstance], ev.text[ID])
		m.at, m.id = floor(at.UnixMilli(), pane), binary.BigEndian.Uint64(hash[:])
		put(g, m)
	}
	for i := range s.roles {
		if s.roles[i].from == nil {
			continue
		}
		for g, completions := range o.completions(s.roles[i].from) {
			for _, e := range completions {
				put(g, member{at: floor(e.at, pane), id: e.id, roles: 1 << i})
			}
		}
	}
	for g := range groups {
		slices.SortFunc(groups[g], func(a, b member) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
	}
	return groups
}

func (o *obvious) completions(s *spec) map[groupID][]member {
	if done, ok := o.done[s]; ok {
		return done
	}
	done := map[groupID][]member{}
	for g, members := range o.groups(s) {
		for _, e := range members {
			if !s.matching(e) {
				continue
			}
			if value, ok := s.completes(e, members); ok {
				e.value = value
				done[g] = append(done[g], e)
			}
		}
	}
	o.done[s] = done
	return done
}

// began is when the first matching event was in the window of e, which completes the rule.
func (s *spec) began(e member, members []member) int64 {
	first := e.at
	for _, m := range members {
		if s.detector.kind != DetectAbsence && s.matching(m) && m.at > e.at-s.window.Milliseconds() {
			first = min(first, m.at)
		}
	}
	return first
}

// completes is the meaning of a rule, word for word, with what it measures.
func (s *spec) completes(e member, members []member) (value float64, ok bool) {
	w := s.window.Milliseconds()
	switch s.detector.kind {
	case DetectAbsence:
		for _, m := range members {
			if s.detector.after && m.is(1) && m.at >= e.at && m.at <= e.at+w || !s.detector.after && m.at > e.at && m.at <= e.at+w {
				return 0, false
			}
		}
		return s.window.Seconds(), true
	case DetectScore:
		return s.detector.score(e.ev), true
	}
	var in []member
	for _, m := range members {
		if m.at > e.at-max(1, w) && m.at <= e.at {
			in = append(in, m)
		}
	}
	return s.detector.measure(in)
}

func (p *part) score(ev *Event) (total float64) {
	for i, c := range p.weighted {
		if c.holds(ev) {
			total += p.weights[i]
		}
	}
	return total
}

// categories are those of the findings that count.
func (p *part) categories(ev *Event) map[string]bool {
	out := map[string]bool{}
	for _, f := range ev.finds {
		if f.Dir == p.dir {
			out[f.Cat] = true
		}
	}
	return out
}

// measure is what a detector makes of the events of a window, and whether they satisfy it.
func (p *part) measure(in []member) (value float64, ok bool) {
	n, share, total := 0.0, 0.0, 0.0
	values := map[string]bool{}
	for _, m := range in {
		if len(p.steps) > 0 || len(p.of) > 0 || !m.is(p.first) {
			continue
		}
		n++
		if m.is(p.first + 1) {
			share++
		}
		switch {
		case p.kind == DetectDistinct && p.field == NumFields:
			for c := range p.categories(m.ev) {
				values[c] = true
			}
		case p.kind == DetectDistinct:
			v, _ := m.ev.raw(p.field)
			values[v] = true
		case p.kind == DetectSum:
			total += m.ev.num[p.field-firstNumber]
		}
	}
	switch p.kind {
	case DetectCount:
		return n, n >= p.need
	case DetectDistinct:
		n = float64(len(values))
		return n, n >= p.need
	case DetectSum:
		return total, total >= p.need
	case DetectRatio:
		return share / max(1, n), n > 0 && share/n >= p.need && share >= p.min && n >= p.total
	case DetectAll: // that of the first
		for i := range p.of {
			x, on := p.of[i].measure(in)
			if i == 0 {
				value = x
			}
			if !on {
				return 0, false
			}
		}
		return value, true
	case DetectAny: // the largest of those that hold
		for i := range p.of {
			if x, on := p.of[i].measure(in); on {
				value, ok = max(value, x), true
			}
		}
		return value, ok
	}
	var elements []int
	for i := range p.steps {
		for range p.steps[i].count {
			elements = append(elements, i)
		}
	}
	n = float64(len(elements))
	if p.ordered {
		return n, p.walk(in, elements, -1, -1, "")
	}
	return n, p.shuffles(in, nil, elements)
}

// shuffles tries every order of the steps.
func (p *part) shuffles(in []member, order, left []int) bool {
	if len(left) == 0 {
		return p.walk(in, order, -1, -1, "")
	}
	for i := range left {
		if i > 0 && left[i] == left[i-1] {
			continue
		}
		if p.shuffles(in, append(slices.Clone(order), left[i]), slices.Concat(left[:i], left[i+1:])) {
			return true
		}
	}
	return false
}

// walk tries every choice of later and later events for the steps.
func (p *part) walk(in []member, elements []int, first, last int, value string) bool {
	if len(elements) == 0 {
		return true
	}
	for i := last + 1; i < len(in); i++ {
		if first >= 0 && p.until && slices.ContainsFunc(in[first+1:i], func(m member) bool { return m.is(p.first + len(p.steps)) }) {
			return false
		}
		step := elements[0]
		if !in[i].is(p.first + step) {
			continue
		}
		v := value
		if step >= p.joint {
			v = ""
			for _, f := range p.compare {
				v += in[i].ev.text[f] + "\n"
			}
			if !p.cased {
				v = strings.ToLower(v)
			}
			if value != "" && v != value {
				continue
			}
		}
		from := first
		if from < 0 {
			from = i
		}
		if p.walk(in, elements[1:], from, i, v) {
			return true
		}
	}
	return false
}
