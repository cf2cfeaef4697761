package detect

import (
	"slices"
	"time"
)

// handover is for how long, in the log's time, the instances may differ in their rules. What
// detectors still send of a rule that left the set is taken, so that nothing goes unjudged
// between two versions of it; what they send of a rule that is not here yet waits.
const handover = 10 * time.Minute

// waiting are points of a rule that this set does not have.
type waiting struct {
	group [16]byte
	name  string // packed
	batch
	evidence []Evidence
}

// Reload goes over to another rule set and appends the alerts that points make which were
// waiting for its rules. Rules whose meaning is the same keep their windows, new ones begin
// empty, and those that left go on with what they hold until it has settled.
func (w *Windows) Reload(dst []Alert, rs *RuleSet) []Alert {
	old := w.rules
	w.rules = make(map[[16]byte]*ruleState, len(rs.Rules())+len(w.leaving))
	for _, r := range rs.Rules() {
		s := old[r.Hash]
		if s == nil {
			s = &ruleState{
				id: uint32(len(w.byID)), window: r.Detector.Window.Milliseconds(), bucket: r.Suppress.Milliseconds(),
				pane: max(1, r.Detector.Resolution.Milliseconds()), layout: narrow, least: r.Detector.least(),
			}
			if r.Detector.wide() {
				s.layout = wide
			}
			s.scratch.meter = newMeter(&r.Detector)
			w.byID = append(w.byID, s)
		}
		s.Rule, s.left = r, false
		rank := r.rank()
		s.inGroups, s.inPoints, s.inGone = shareOf(w.opts.MaxGroups, rank), shareOf(w.opts.MaxHeld, rank), shareOf(w.opts.gone, rank)
		w.rules[r.Hash] = s
		for len(w.deadlines) <= r.plan.depth {
			w.deadlines = append(w.deadlines, deadlines{})
			w.marks = append(w.marks, w.watermark)
		}
	}
	w.leaving = w.leaving[:0]
	for hash, s := range old {
		if w.rules[hash] != nil {
			continue
		}
		if !s.left {
			s.left, s.until = true, w.handoverEnd()
		}
		w.rules[hash] = s
		w.leaving = append(w.leaving, s)
	}
	if len(w.waits) == 0 {
		return dst
	}
	// In a fixed order, so that what one rule's completions add to another's is too.
	for _, r := range rs.Rules() {
		for _, p := range w.waits[r.Hash] {
			w.waited -= len(p.points)
			rule := w.rules[r.Hash]
			w.hand = origin{packed: p.name}
			if g, ok := w.window(rule, windowKey{p.group, rule.id}, len(p.points)); ok {
				w.observe(&g, p.batch)
				for i := range p.evidence {
					if w.takesEvidence(&g) {
						w.addEvidence(&g, &p.evidence[i])
					}
				}
			}
		}
		delete(w.waits, r.Hash)
	}
	return w.updates(dst)
}

func (w *Windows) handoverEnd() int64 {
	if w.watermark == unknownTime {
		return unknownTime
	}
	return w.watermark + handover.Milliseconds()
}

// over reports whether a rule that left takes no points any more.
func (s *ruleState) over(watermark int64) bool {
	return s.left && s.until != unknownTime && watermark >= s.until
}

// wait keeps points of an unknown rule for the next Reload. They are copied: what was decoded
// may be used again.
func (w *Windows) wait(s *Signal, rule int) {
	rp := &s.Rules[rule]
	if w.waited+len(rp.Points) > w.opts.MaxWaiting {
		w.stats.UnknownRule += uint64(len(rp.Points))
		return
	}
	p := waiting{group: s.Group, name: w.packGroup(s.Tenant, s.Values), batch: batch{s.Events, rp.Points}.clone()}
	s.eachEvidence(rule, func(e *SignalEvidence, context []GroupValue) {
		p.evidence = append(p.evidence, s.evidence(e, context).clone())
	})
	w.waits[rp.Rule] = append(w.waits[rp.Rule], p)
	w.waited += len(rp.Points)
}

// clone copies the points, and of the events those that they refer to.
func (b batch) clone() batch {
	out := batch{points: slices.Clone(b.points)}
	for i, p := range b.points {
		if i == 0 || p.Event != b.points[i-1].Event {
			out.events = append(out.events, b.events[p.Event])
		}
		out.points[i].Event = uint32(len(out.events) - 1)
	}
	return out
}

// WaitingPoints is how many points wait for rules that this set does not have.
func (w *Windows) WaitingPoints() int { return w.waited }

// handOver lets go of rules that left and hold nothing, and gives points up that have
// waited for too long.
func (w *Windows) handOver() {
	w.leaving = slices.DeleteFunc(w.leaving, func(s *ruleState) bool {
		if s.until == unknownTime {
			s.until = w.handoverEnd()
		}
		done := s.groups == 0 && s.gone == 0 && s.over(w.watermark)
		if done {
			delete(w.rules, s.Hash)
			w.byID[s.id] = nil
		}
		return done
	})
	until := w.watermark - handover.Milliseconds()
	for hash, ps := range w.waits {
		ps = slices.DeleteFunc(ps, func(p waiting) bool {
			late := !slices.ContainsFunc(p.events, func(e SignalEvent) bool { return e.Append > until })
			if late {
				w.waited -= len(p.points)
				w.stats.UnknownRule += uint64(len(p.points))
			}
			return late
		})
		if w.waits[hash] = ps; len(ps) == 0 {
			delete(w.waits, hash)
		}
	}
}
