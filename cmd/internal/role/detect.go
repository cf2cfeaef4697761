package role

import (
	"context"
	"encoding/binary"
	"fmt"
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

	matcher *detect.Matcher
	scanner *detect.Scanner
	collect *detect.Collector
	event   detect.Event
	matches []detect.Match
	matched []uint64            // by rule, in the batch in hand
	left    detect.CollectStats // before the batch in hand
	marked  time.Time           // when idle partitions were last marked
}

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
	d.matcher = detect.NewMatcher(d.Rules)
	d.scanner = detect.NewScanner()
	d.collect = detect.NewCollector(d.Rules, d.Keys)
	d.matched = make([]uint64, len(d.Rules.Rules()))
	return d.run(ctx, d.Consumer, d.work, d.idle)
}

// work writes the signals of a batch, and then that it was passed. Markers come
// after every signal is durable: time must not move before the signals it judges.
func (d *Detector) work(ctx context.Context, b kafka.Batch) error {
	clear(d.matched) // an attempt before this one may have counted the same records
	d.left = d.collect.Stats()
	var signals, marks []kafka.Record
	for i := range b.Ranges {
		r := &b.Ranges[i]
		var passed time.Time
		for j := range r.Records {
			rec := &r.Records[j]
			passed = rec.Append
			d.one(rec)
		}
		for _, s := range d.collect.Flush(r.Partition, r.Begin, r.End) {
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
	d.matches = d.matcher.Match(d.matches[:0], ev)
	if len(d.matches) == 0 {
		return
	}
	ev.Redact(d.Keys, d.Decoder.KeepLabel)
	d.collect.Add(ev, d.matches)
	for _, m := range d.matches {
		d.matched[m.Rule]++
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
	rules := d.Rules.Rules()
	for i, n := range d.matched {
		if n > 0 {
			d.Metrics.Matches.WithLabelValues(rules[i].Info.ID).Add(float64(n))
		}
	}
	now := d.collect.Stats()
	d.Metrics.Left.WithLabelValues("late").Add(float64(now.Late - d.left.Late))
	d.Metrics.Left.WithLabelValues("ungrouped").Add(float64(now.Ungrouped - d.left.Ungrouped))
}

func recordOf(r *kafka.Record) ingest.Record {
	return ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Append: r.Append, Key: r.Key, Value: r.Value}
}
