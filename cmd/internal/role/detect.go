package role

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
)

// Detector is the detect role: it matches events and writes signals.
type Detector struct {
	Loop
	Consumer Consumer
	Producer Producer
	Rules    *detect.RuleSet
	Decoder  *ingest.Decoder
	Keys     Keys
	Signals  string // topic
	Sources  int32  // partitions of the events topic
	Targets  int32  // partitions of the signals topic

	// Ends lists the partitions that are done to their end, and when that was seen.
	Ends func() map[int32]kafka.End

	judge   *judge                // by the rules in force
	next    atomic.Pointer[judge] // by those that come into force with the next batch
	scanner *detect.Scanner
	event   detect.Event
	matches []detect.Match
	marked  time.Time // when idle partitions were last marked
}

// judge is what a Detector makes of a rule set.
type judge struct {
	rules   *detect.RuleSet
	matcher *detect.Matcher
	collect *detect.Collector
	matched []uint64            // by rule, in the batch in hand
	left    detect.CollectStats // before the batch in hand
}

func (d *Detector) judging(rs *detect.RuleSet) *judge {
	return &judge{
		rules: rs, matcher: detect.NewMatcher(rs), collect: detect.NewCollector(rs, d.Keys),
		matched: make([]uint64, len(rs.Rules())),
	}
}

// Reload puts another rule set in force from the next batch on. It may be called from any
// goroutine, and does all that takes time before the batch waits for it.
func (d *Detector) Reload(rs *detect.RuleSet) { d.next.Store(d.judging(rs)) }

// Keys are what detection needs of the keyring.
type Keys interface {
	detect.Pseudonymizer
	detect.Hasher
}

// idleMark is how often a partition that is read to its end says so; clockSlack is
// how far this host's clock may run ahead of the broker's without harm.
const (
	idleMark   = 5 * time.Second
	clockSlack = 10 * time.Second
)

// Run detects until the context ends.
func (d *Detector) Run(ctx context.Context) error {
	d.judge, d.scanner = d.judging(d.Rules), detect.NewScanner()
	return d.run(ctx, d.Consumer, d.work, d.idle)
}

// work writes the signals of a batch, and then that it was passed. Markers come
// after every signal is durable: time must not move before the signals it judges.
func (d *Detector) work(ctx context.Context, b kafka.Batch) error {
	if next := d.next.Swap(nil); next != nil {
		d.judge = next // also between two attempts: windows drop a repeat rule by rule
	}
	clear(d.judge.matched) // an attempt before this one may have counted the same records
	d.judge.left = d.judge.collect.Stats()
	var signals, marks []kafka.Record
	for i := range b.Ranges {
		r := &b.Ranges[i]
		var passed time.Time
		for j := range r.Records {
			rec := &r.Records[j]
			passed = rec.Append
			d.one(rec)
		}
		for _, s := range d.judge.collect.Flush(r.Partition, r.Begin, r.End) {
			signals = append(signals, kafka.Record{
				Topic: d.Signals, Partition: d.partition(s.Group), Key: s.Group[:], Value: detect.AppendSignal(nil, s),
			})
		}
		if !passed.IsZero() {
			marks = d.mark(marks, detect.Progress{Source: r.Partition, Sources: d.Sources, Begin: r.Begin, End: r.End, Passed: passed})
		}
	}
	if err := d.write(ctx, signals); err != nil {
		return err
	}
	if err := d.write(ctx, marks); err != nil {
		return err
	}
	d.count()
	return nil
}

// one matches one record. What cannot be read is the store role's to report.
func (d *Detector) one(rec *kafka.Record) {
	ev := &d.event
	if err := d.Decoder.Decode(ev, recordOf(rec)); err != nil {
		return
	}
	d.scanner.Scan(ev)
	d.matches = d.judge.matcher.Match(d.matches[:0], ev)
	if len(d.matches) == 0 {
		return
	}
	ev.Redact(d.Keys, d.Decoder.KeepLabel)
	d.judge.collect.Add(ev, d.matches)
	for _, m := range d.matches {
		d.judge.matched[m.Rule]++
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

// partition deals groups to the signals topic. The number of partitions is fixed
// when the topic is made, so a group stays where it is.
func (d *Detector) partition(group [16]byte) int32 {
	return int32(binary.BigEndian.Uint64(group[:8]) % uint64(d.Targets))
}

func (d *Detector) count() {
	j := d.judge
	rules := j.rules.Rules()
	for i, n := range j.matched {
		if n > 0 {
			d.Metrics.Matches.WithLabelValues(rules[i].Info.ID).Add(float64(n))
		}
	}
	now := j.collect.Stats()
	d.Metrics.Left.WithLabelValues("late").Add(float64(now.Late - j.left.Late))
	d.Metrics.Left.WithLabelValues("ungrouped").Add(float64(now.Ungrouped - j.left.Ungrouped))
}

func recordOf(r *kafka.Record) ingest.Record {
	return ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Append: r.Append, Key: r.Key, Value: r.Value, Kept: true}
}
