package detect

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// member is one event of a group as the obvious evaluator looks at it.
type member struct {
	at   int64
	id   uint64
	mask uint64 // conditions that hold
	ev   *Event // nil: another rule's completion
}

func (s member) is(condition int) bool { return s.mask&(1<<condition) != 0 }

// obvious is the slow evaluator: for every event of a rule's groups, look at its whole window.
type obvious struct {
	s     *scenario
	m     *Matcher
	names map[string]string
	done  map[*Rule]map[string][]member // completions by group
}

func (s *scenario) expected() outcome {
	o := &obvious{s: s, m: NewMatcher(s.rs), names: map[string]string{}, done: map[*Rule]map[string][]member{}}
	out := outcome{}
	for _, r := range s.rs.Rules() {
		groups := o.groups(r)
		for raw, completions := range o.completions(r) {
			for _, e := range completions {
				bucket := time.UnixMilli(e.at).Truncate(r.Suppress)
				count := uint64(0)
				for _, p := range groups[raw] {
					if r.matching(p) && time.UnixMilli(p.at).Truncate(r.Suppress).Equal(bucket) {
						count++
					}
				}
				out[r.Info.ID+" "+o.names[r.GroupBy[0].String()+raw]+" "+bucket.UTC().Format(time.RFC3339)] = count
			}
		}
	}
	return out
}

// matching reports whether an event is one of those that count: until events and what an
// absence waits for are not.
func (r *Rule) matching(p member) bool {
	for i := range r.streams {
		if p.is(i) && !r.streams[i].silent {
			return true
		}
	}
	return false
}

// groups are the events of a rule by group, in order of time and identity, each once.
func (o *obvious) groups(r *Rule) map[string][]member {
	groups := map[string][]member{}
	put := func(raw string, p member) {
		for i, q := range groups[raw] {
			if q.at == p.at && q.id == p.id {
				groups[raw][i].mask |= p.mask
				if p.ev != nil {
					groups[raw][i].ev = p.ev
				}
				return
			}
		}
		groups[raw] = append(groups[raw], p)
	}
	for _, ev := range o.s.events {
		hits := o.m.Match(nil, ev)
		i := slices.IndexFunc(hits, func(x Match) bool { return x.Rule == r.Index })
		if i < 0 {
			continue
		}
		at := ev.Time
		if ev.Late {
			if r.Detector.Kind != DetectScore && (r.Detector.Kind != DetectCount || r.Detector.Threshold > 1) {
				continue
			}
			at = ev.Append
		}
		hash := plainHasher{}.GroupHash(ev.text[Tenant], "id", ev.text[ServerInstance], ev.text[ID])
		p := member{at: at.UnixMilli(), id: binary.BigEndian.Uint64(hash[:]), mask: 1, ev: ev}
		if r.multi {
			p.mask = uint64(hits[i].Add)
		}
		if r.Detector.Resolution > 0 {
			p.at = at.Truncate(r.Detector.Resolution).UnixMilli()
		}
		name, raw, _ := ev.groupRaw(r.GroupBy[0])
		o.names[r.GroupBy[0].String()+raw] = groupText([]GroupValue{{Field: name, Value: raw}})
		put(raw, p)
	}
	for i := range r.streams {
		if src := r.streams[i].from; src != nil {
			for raw, completions := range o.completions(src) {
				for _, e := range completions {
					put(raw, member{at: e.at, id: e.id, mask: 1 << i})
				}
			}
		}
	}
	for raw := range groups {
		slices.SortFunc(groups[raw], func(a, b member) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
	}
	return groups
}

func (o *obvious) completions(r *Rule) map[string][]member {
	if done, ok := o.done[r]; ok {
		return done
	}
	done := map[string][]member{}
	for raw, points := range o.groups(r) {
		for _, e := range points {
			if r.matching(e) && r.completes(e, points) {
				done[raw] = append(done[raw], e)
			}
		}
	}
	o.done[r] = done
	return done
}

// completes is the meaning of a rule, word for word.
func (r *Rule) completes(e member, points []member) bool {
	w := r.Detector.Window.Milliseconds()
	if r.Detector.Kind == DetectAbsence {
		for _, p := range points {
			if r.Detector.After && p.is(1) && p.at >= e.at && p.at <= e.at+w || !r.Detector.After && p.at > e.at && p.at <= e.at+w {
				return false
			}
		}
		return true
	}
	if w == 0 {
		return true
	}
	var in []member
	for _, p := range points {
		if p.at > e.at-w && p.at <= e.at {
			in = append(in, p)
		}
	}
	return r.Detector.satisfied(r, in)
}

func (d *Detector) satisfied(r *Rule, in []member) bool {
	n, share, sum := 0.0, 0.0, 0.0
	values := map[string]bool{}
	for _, p := range in {
		if d.Kind != DetectSequence && d.Kind != DetectAll && d.Kind != DetectAny && p.is(int(d.first)) {
			n++
			if p.is(int(d.first) + 1) {
				share++
			}
			values[p.ev.text[ActorClientID]] = true
			sum += p.ev.num[IOResultBytes-firstNumber]
		}
	}
	switch d.Kind {
	case DetectCount:
		return n >= d.Threshold
	case DetectDistinct:
		return float64(len(values)) >= d.Threshold
	case DetectSum:
		return sum >= d.Threshold
	case DetectRatio:
		return n > 0 && share/n >= d.Threshold && share >= d.Min && n >= d.Total
	case DetectAll:
		return !slices.ContainsFunc(d.Parts, func(p Detector) bool { return !p.satisfied(r, in) })
	case DetectAny:
		return slices.ContainsFunc(d.Parts, func(p Detector) bool { return p.satisfied(r, in) })
	}
	var elements []int
	for i := range d.Steps {
		for range d.Steps[i].Count {
			elements = append(elements, i)
		}
	}
	if d.Ordered {
		return d.walk(r, in, elements, -1, -1, "")
	}
	return d.shuffles(r, in, nil, elements)
}

// shuffles tries every order of the steps.
func (d *Detector) shuffles(r *Rule, in []member, order, left []int) bool {
	if len(left) == 0 {
		return d.walk(r, in, order, -1, -1, "")
	}
	for i := range left {
		rest := slices.Concat(left[:i], left[i+1:])
		if d.shuffles(r, in, append(slices.Clone(order), left[i]), rest) {
			return true
		}
	}
	return false
}

// walk tries every choice of later and later events for the steps.
func (d *Detector) walk(r *Rule, in []member, elements []int, first, last int, value string) bool {
	if len(elements) == 0 {
		return true
	}
	for i := last + 1; i < len(in); i++ {
		undone := first >= 0 && d.Until && slices.ContainsFunc(in[first+1:i], func(p member) bool { return p.is(int(d.first) + len(d.Steps)) })
		if undone {
			return false
		}
		step := elements[0]
		if !in[i].is(int(d.first) + step) {
			continue
		}
		v := value
		if d.Steps[step].joint {
			v = ""
			for _, f := range r.streams[int(d.first)+step].joined {
				v += in[i].ev.text[f] + "\n"
			}
			v = strings.ToLower(v)
			if value != "" && v != value {
				continue
			}
		}
		from := first
		if from < 0 {
			from = i
		}
		if d.walk(r, in, elements[1:], from, i, v) {
			return true
		}
	}
	return false
}
