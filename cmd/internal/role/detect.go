package role

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"picket/detect"
	"picket/ingest/kafka"
)

// Detector is the detect role: it matches events and writes signals.
type Detector struct {
	Loop
	Reader
	Consumer Consumer
	Producer Producer
	Rules    *detect.RuleSet
	Signals  string // topic
	Sources  int32  // partitions of the events topic
	Targets  int32  // partitions of the signals topic

	// MatchesPerEvent is how many matches the events of a range may have on average; what is
	// beyond it is shed. 0 bounds nothing.
	MatchesPerEvent int

	// Ends lists the partitions that are done to their end, and when that was seen.
	Ends func() map[int32]kafka.End

	lanes  []*detectLane
	next   atomic.Pointer[[]*judge] // one for each lane, from the next batch on
	marked time.Time                // when idle partitions were last marked
	over   overload
}

// detectLane is what one goroutine owns while it judges a range.
type detectLane struct {
	reader
	*judge
	matches []detect.Match
	laps    laps
}

// judge is what a lane makes of a rule set.
type judge struct {
	rules   *detect.RuleSet
	matcher *detect.Matcher
	collect *detect.Collector
	matched []uint64            // by rule, in the batch in hand
	left    detect.CollectStats // before the batch in hand
}

// judging makes what every lane needs to judge by a rule set.
func (d *Detector) judging(rs *detect.RuleSet) *[]*judge {
	all := make([]*judge, laneCount())
	for i := range all {
		all[i] = &judge{
			rules: rs, matcher: detect.NewMatcher(rs), collect: detect.NewCollector(rs, d.Keys()),
			matched: make([]uint64, len(rs.Rules())),
		}
	}
	return &all
}

// Reload puts another rule set in force from the next batch on. It may be called from any
// goroutine, and does all that takes time before the batch waits for it.
func (d *Detector) Reload(rs *detect.RuleSet) { d.next.Store(d.judging(rs)) }

// adopt puts the rules in force that a Reload left, also between two attempts: windows drop a
// repeat rule by rule.
func (d *Detector) adopt(js *[]*judge) {
	if js == nil {
		return
	}
	began := time.Now()
	for i, l := range d.lanes {
		l.judge = (*js)[i]
	}
	d.stage("reload", time.Since(began))
}

// idleMark is how often a partition that is read to its end says so; clockSlack is
// how far this host's clock may run ahead of the broker's without harm.
const (
	idleMark   = 5 * time.Second
	clockSlack = 10 * time.Second
)

// Run detects until the context ends.
func (d *Detector) Run(ctx context.Context) error {
	for range laneCount() {
		d.lanes = append(d.lanes, &detectLane{reader: d.open(), laps: newLaps("decode", "scan", "match", "redact", "collect")})
	}
	d.adopt(d.judging(d.Rules))
	d.over.role = d.Name
	return d.run(ctx, d.Consumer, d.work, d.idle)
}

// work writes the signals of a batch, and then that it was passed. Markers come
// after every signal is durable: time must not move before the signals it judges.
// Ranges are judged side by side, and what they give is written in their order.
func (d *Detector) work(ctx context.Context, b kafka.Batch) error {
	d.adopt(d.next.Swap(nil))
	for _, l := range d.lanes {
		clear(l.matched) // an attempt before this one may have counted the same records
		l.left = l.collect.Stats()
	}
	given := make([]judged, len(b.Ranges))
	if err := side(len(d.lanes), len(b.Ranges), func(lane, i int) error {
		given[i] = d.judgeRange(d.lanes[lane], &b.Ranges[i])
		return nil
	}); err != nil {
		return err
	}
	var urgent, others, marks []kafka.Record
	var losses []loss
	for i := range b.Ranges {
		r := &b.Ranges[i]
		urgent, others = append(urgent, given[i].urgent...), append(others, given[i].others...)
		if at := given[i].last; !at.IsZero() {
			losses = append(losses, loss{r.Partition, at, given[i].shed})
			d.over.topic = r.Topic
			marks = d.mark(marks, detect.Progress{Source: r.Partition, Sources: d.Sources, Begin: r.Begin, End: r.End, Passed: at})
		}
	}
	for _, signals := range [][]kafka.Record{urgent, others} {
		if err := d.timed("produce", func() error { return d.write(ctx, signals) }); err != nil {
			return err
		}
	}
	if err := d.timed("mark", func() error { return d.write(ctx, marks) }); err != nil {
		return err
	}
	if err := d.shed(ctx, &d.over, losses); err != nil {
		return err
	}
	for _, l := range d.lanes {
		l.collect.Written()
	}
	d.count()
	return nil
}

// judged is what a range gave: packs of signals that cannot wait behind a flood of others, the
// others, and what was shed.
type judged struct {
	urgent, others []kafka.Record
	shed           map[*detect.Rule]uint64
	last           time.Time // when the last record was appended, if there is one
}

// leastRoom is how many events a small range counts as: only a flood is to be shed.
const leastRoom = 100

// judgeRange makes the packs of one range.
func (d *Detector) judgeRange(l *detectLane, r *kafka.Range) (out judged) {
	l.collect.Limit(d.MatchesPerEvent * max(r.Len(), leastRoom))
	before := slices.Clone(l.collect.Shed())
	l.laps.start()
	for rec := range r.All() {
		l.laps.event()
		l.one(rec)
		out.last = rec.Append
	}
	l.laps.stop(&d.Loop)
	began := time.Now()
	for _, p := range l.collect.Packs(r.Partition, r.Begin, r.End, d.Targets) {
		rec := kafka.Record{Topic: d.Signals, Partition: p.Partition, Value: p.Record}
		if p.Urgent {
			out.urgent = append(out.urgent, rec)
		} else {
			out.others = append(out.others, rec)
		}
	}
	for i, n := range l.collect.Shed() {
		if n > before[i] {
			if out.shed == nil {
				out.shed = map[*detect.Rule]uint64{}
			}
			out.shed[l.rules.Rules()[i]] = n - before[i]
		}
	}
	d.stage("encode", time.Since(began))
	return out
}

// one matches one record. What cannot be read is the store role's to report.
func (l *detectLane) one(rec *kafka.Record) {
	ev := &l.event
	if err := l.dec.Decode(ev, recordOf(rec)); err != nil {
		return
	}
	l.laps.lap(0)
	l.scanner.Scan(ev)
	l.laps.lap(1)
	l.matches = l.matcher.Match(l.matches[:0], ev)
	l.laps.lap(2)
	if len(l.matches) == 0 {
		return
	}
	ev.RedactLater(l.keys, l.dec.KeepLabel)
	l.laps.lap(3)
	l.collect.Add(ev, l.matches)
	l.laps.lap(4)
	for _, m := range l.matches {
		l.matched[m.Rule]++
	}
}

// idle marks partitions that are read to their end, so that time goes on there, also
// while others are busy. What it says of a partition with records on their way was true
// when its end was seen.
func (d *Detector) idle(ctx context.Context) error {
	if time.Since(d.marked) < idleMark {
		return nil
	}
	var marks []kafka.Record
	for p, end := range d.Ends() {
		marks = d.mark(marks, detect.Progress{
			Source: p, Sources: d.Sources, Begin: end.Offset, End: end.Offset, Passed: end.At.Add(-clockSlack),
		})
	}
	if err := d.write(ctx, marks); err != nil {
		return err
	}
	d.marked = time.Now()
	return nil
}

func (d *Detector) mark(dst []kafka.Record, p detect.Progress) []kafka.Record {
	value := detect.AppendProgress(nil, p)
	for t := range d.Targets {
		dst = append(dst, kafka.Record{Topic: d.Signals, Partition: t, Value: value})
	}
	return dst
}

func (d *Detector) write(ctx context.Context, records []kafka.Record) error {
	if len(records) == 0 {
		return nil
	}
	if err := d.Producer.Produce(ctx, records); err != nil {
		return fmt.Errorf("write %d records to %s: %w", len(records), d.Signals, err)
	}
	return nil
}

func (d *Detector) count() {
	for _, l := range d.lanes {
		rules := l.rules.Rules()
		for i, n := range l.matched {
			if n > 0 {
				d.Metrics.Matches.WithLabelValues(rules[i].Info.ID).Add(float64(n))
			}
		}
		now := l.collect.Stats()
		d.Metrics.Left.WithLabelValues("late").Add(float64(now.Late - l.left.Late))
		d.Metrics.Left.WithLabelValues("ungrouped").Add(float64(now.Ungrouped - l.left.Ungrouped))
	}
}
