package detect

import (
	"math"
	"time"
)

// DetectorKind names what a detector measures.
type DetectorKind uint8

const (
	DetectCount DetectorKind = iota // matching events >= Threshold (none in the rule: 1)
	DetectDistinct
	DetectSum
	DetectScore
	DetectSequence
	DetectRatio
	DetectAbsence
	DetectAll
	DetectAny
)

func (k DetectorKind) String() string {
	return [...]string{"count", "distinct", "sum", "score", "sequence", "ratio", "absence", "all", "any"}[k]
}

// Detector is the stateful condition over one group's matching events.
//
// An event e completes a rule for its group when the group's matching events
// with time in (t(e) - Window, t(e)], ordered by (time, identity), satisfy it:
//
//   - count, distinct, sum: as many events, different values, or as large a sum. Below zero a
//     value adds nothing, and sums are taken in thousandths, so that their order cannot matter.
//   - score: e alone, by the weights that match it.
//   - sequence: different events take the steps one after another (unordered: in any order), each
//     as often as its count says. Of an event that matches several steps it is one. Steps that
//     are compared by fieldref have the same value. With until, no until event lies between the
//     first and the last of them; until events are no matching events.
//   - ratio: at least Min of the events, of at least Total, are of the share asked for, and they
//     are at least Threshold of all.
//   - absence: looks forward. No matching event has a time in (t(e), t(e) + Window]; with after, e
//     is an event of that condition, and no matching one has a time in [t(e), t(e) + Window].
//   - all, any: every one, or one, of Parts. The matching events are those of all parts.
//
// Count, distinct, sum, score and sequence are immediate: more events only make them more true.
// Sequence with until, ratio and absence, and what takes steps from such a rule, are settled: they
// are judged when the watermark has passed everything that could change the judgement.
type Detector struct {
	Kind      DetectorKind
	Window    time.Duration
	Threshold float64 // fires at >= Threshold
	Field     Field   // of distinct and sum

	Resolution time.Duration // times count in panes of this length; zero: to the millisecond

	Steps   []Step // of a sequence
	Ordered bool
	Until   bool // the stream after those of the steps undoes a sequence

	Min, Total float64 // of ratio: events of the share, events in all

	After bool // of absence: stream 0 expects, stream 1 is expected; otherwise stream 0 is both

	Parts []Detector // of all and any; they share Window and Resolution

	first uint8 // first of its streams
	also  uint8 // of distinct and sum: where its values are too, the stream of a count; first for none
}

// Step is one step of a sequence. Its points are in the stream of its place.
type Step struct {
	Name  string
	Count int    // how many different events
	From  string // id of the rule whose completions are its events; empty: it has a match
	joint bool   // its value is compared
}

const (
	maxSteps    = 6
	maxStreams  = 16
	maxElements = 200 // counts of all steps of a sequence together
)

// stream is one condition of a rule, whose events are points of one Step.
type stream struct {
	value   streamValue
	field   Field
	finding *findingPred // of valueFinding: which findings count
	joined  []Field      // of valueJoint
	cased   bool
	closed  bool  // joined is complete
	silent  bool  // an until or an expected event: it is not one of the matching events
	from    *Rule // whose completions are the points
	with    uint8 // a count, and what it shares points with: the other's stream, from one; 0 for none
}

// streamValue says what the value of a point is.
type streamValue uint8

const (
	valueAdd     streamValue = iota // float64 bits of what it adds
	valueField                      // keyed hash of the field
	valueFinding                    // keyed hash of a finding's category: one point each
	valueJoint                      // keyed hash of the fields that fieldref compares
	valueShare                      // 1 when the event is of a ratio's share, the condition after it
	valueNone                       // no points: it says which events of the stream before are of the share
	valueOther                      // of a count: what the stream that it shares points with says, or 0
)

// plan is where a rule stands among those that take steps from each other.
type plan struct {
	depth int
	feeds []feed
	// lag is how far behind the watermark the rule settles, in milliseconds: its sources know
	// their completions that late. settled says that it is judged only then.
	lag     int64
	settled bool
	// hold is how far before the watermark points matter to what is not settled.
	hold int64
}

type feed struct {
	rule *Rule
	step uint8
}

// single reports whether one event alone decides: such rules fire for late events too.
func (d *Detector) single() bool {
	return d.Kind == DetectScore || d.Kind == DetectCount && d.Threshold <= 1
}

// defers reports whether a late event can undo a completion.
func (d *Detector) defers() bool {
	for i := range d.Parts {
		if d.Parts[i].defers() {
			return true
		}
	}
	return d.Kind == DetectRatio || d.Kind == DetectAbsence || d.Until
}

// least is how many points a completion takes, at least.
func (d *Detector) least() int {
	n := 1
	switch d.Kind {
	case DetectCount, DetectDistinct:
		n = int(d.Threshold)
	case DetectRatio:
		n = int(math.Ceil(max(d.Min, d.Total)))
	case DetectSequence:
		n = 0
		for i := range d.Steps {
			n += d.Steps[i].Count
		}
	case DetectAll:
		for i := range d.Parts {
			n = max(n, d.Parts[i].least())
		}
	case DetectAny:
		n = d.Parts[0].least()
		for i := range d.Parts {
			n = min(n, d.Parts[i].least())
		}
	}
	return max(1, n)
}

// streamNames adds what people call the streams of d: they are the conditions of its rule.
func (d *Detector) streamNames(names map[uint8]string) map[uint8]string {
	if names == nil {
		names = map[uint8]string{}
	}
	switch d.Kind {
	case DetectSequence:
		for i := range d.Steps {
			names[d.first+uint8(i)] = "step " + d.Steps[i].Name
		}
		if d.Until {
			names[d.first+uint8(len(d.Steps))] = "until"
		}
	case DetectRatio:
		names[d.first], names[d.first+1] = "the whole of the ratio", "its share"
	case DetectAbsence:
		names[d.first] = "the event"
		if d.After {
			names[d.first], names[d.first+1] = "after", "the expected event"
		}
	case DetectAll, DetectAny:
		for i := range d.Parts {
			d.Parts[i].streamNames(names)
		}
	default:
		names[d.first] = "part " + partText(d)
	}
	return names
}

// makePlans orders the rules by what they take from each other; from has no cycles.
func makePlans(rules []*Rule) {
	done := map[*Rule]bool{}
	var order []*Rule
	var visit func(r *Rule)
	visit = func(r *Rule) {
		if done[r] {
			return
		}
		done[r] = true
		r.plan = plan{settled: r.Detector.defers()}
		for i := range r.streams {
			src := r.streams[i].from
			if src == nil {
				continue
			}
			visit(src)
			r.plan.depth = max(r.plan.depth, src.plan.depth+1)
			known := src.plan.lag
			if !src.plan.settled { // a completion has the time at which its pane begins
				known += src.Detector.Resolution.Milliseconds()
			}
			r.plan.lag = max(r.plan.lag, known)
			src.plan.feeds = append(src.plan.feeds, feed{r, uint8(i)})
		}
		switch {
		case r.Detector.Kind == DetectAbsence:
			r.plan.lag += r.Detector.Window.Milliseconds()
		case r.plan.settled: // a pane is judged when all of it is there
			r.plan.lag += r.Detector.Resolution.Milliseconds()
		}
		order = append(order, r)
	}
	for _, r := range rules {
		visit(r)
	}
	for i := len(order) - 1; i >= 0; i-- { // what takes from a rule comes before it
		r := order[i]
		window := r.Detector.Window.Milliseconds()
		r.plan.hold = r.plan.lag + r.Suppress.Milliseconds() + window
		for _, f := range r.plan.feeds {
			r.plan.hold = max(r.plan.hold, f.rule.plan.hold+window)
		}
	}
}
