package role

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"picket/detect"
	"picket/ingest/kafka"
)

// Correlator is the correlate role: it holds the windows and writes alerts.
// There is one detect.Windows for each partition of the signals topic it owns.
type Correlator struct {
	Loop
	Consumer Consumer // made with Meta, Assign and Revoke of this Correlator
	Producer Producer
	Rules    *detect.RuleSet
	Hasher   func() detect.Hasher // one for each partition: a goroutine owns it
	Alerts   string               // topic
	Lateness time.Duration
	Bounds   detect.WindowOptions

	// OffsetsAt finds each partition's first offset appended at or after a time.
	OffsetsAt func(ctx context.Context, t time.Time) (map[int32]int64, error)

	next  atomic.Pointer[detect.RuleSet] // comes into force with the next batch
	parts map[int32]*correlated

	waited int // points, at the last count
	over   overload
}

// said is an alert, and whether it is the first record of it.
type said struct {
	detect.Alert
	first bool
}

// correlated is one partition's state, and the offset of the next record it expects.
type correlated struct {
	windows *detect.Windows
	decoder detect.SignalDecoder
	next    int64
	last    time.Time // when the last record of the batch was appended, if it has one
	stats   detect.WindowStats
	open    map[string]bool // ids of alerts that fired and have not settled
	// said is what the windows answered to the batch in hand and is not durable yet: a
	// write that is tried again must find it, since windows answer once.
	said []said
	shed map[*detect.Rule]uint64 // and the points that the windows had no room for
	// aloud is set where the rules have changed since the commit: what is rebuilt may then
	// hold alerts that nobody was told. Those that somebody was told are repeats by name.
	aloud bool
}

// first reports whether the alert is said for the first time; Windows say the last time.
func (p *correlated) first(a *detect.Alert) bool {
	if a.Settled {
		delete(p.open, a.ID)
		return false
	}
	if p.open[a.ID] {
		return false
	}
	p.open[a.ID] = true
	return true
}

func (p *correlated) say(alerts []detect.Alert, replay bool) {
	for i := range alerts {
		if first := p.first(&alerts[i]); !replay || p.aloud {
			p.said = append(p.said, said{alerts[i], first && !replay})
		}
	}
}

// Reload puts another rule set in force from the next batch on. It may be called from any
// goroutine.
func (c *Correlator) Reload(rs *detect.RuleSet) { c.next.Store(rs) }

// adopt goes over to the rules that Reload brought.
func (c *Correlator) adopt() {
	rs := c.next.Swap(nil)
	if rs == nil {
		return
	}
	c.Rules = rs
	began := time.Now()
	var parts sync.WaitGroup
	for _, p := range c.parts {
		parts.Go(func() { p.say(p.windows.Reload(nil, rs), false) })
	}
	parts.Wait()
	c.stage("reload", time.Since(began))
}

// Run correlates until the context ends.
func (c *Correlator) Run(ctx context.Context) error {
	c.over.role = c.Name
	return c.run(ctx, c.Consumer, c.work, nil)
}

// Meta is the partition's watermark, where a restart rewinds from, and the rules in force.
func (c *Correlator) Meta(partition int32) string {
	p := c.parts[partition]
	if p == nil || p.windows.Watermark().IsZero() {
		return ""
	}
	return strconv.FormatInt(p.windows.Watermark().UnixMilli(), 10) + " " + c.Rules.Hash()
}

// Assign makes ready for the partitions of a new generation. State of a partition that
// came back where it was stays; any other is rebuilt by reading again, in silence, from
// so far before the recorded watermark that every open window is complete.
func (c *Correlator) Assign(given []kafka.Assignment) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rewind := map[int32]int64{}
	kept := map[int32]*correlated{}
	for _, a := range given {
		if p := c.parts[a.Partition]; p != nil && p.next == a.Committed {
			kept[a.Partition] = p
			continue
		}
		p := &correlated{windows: detect.NewWindows(c.Rules, c.Hasher(), c.Lateness, c.Bounds), open: map[string]bool{}}
		kept[a.Partition] = p
		if a.New {
			continue
		}
		mark, rules, _ := strings.Cut(a.Meta, " ")
		p.aloud = rules != "" && rules != c.Rules.Hash()
		if ms, err := strconv.ParseInt(mark, 10, 64); err == nil {
			watermark := time.UnixMilli(ms)
			p.windows.Restore(watermark)
			from, err := c.OffsetsAt(ctx, watermark.Add(-detect.Rewind(c.Rules, c.Lateness)))
			if err != nil {
				return nil, fmt.Errorf("find where the open windows begin: %w", err)
			}
			rewind[a.Partition] = from[a.Partition]
		} else {
			rewind[a.Partition] = 0 // no watermark yet: everything that the topic still has
		}
		c.Log.Info("rebuilding windows", "role", c.Name, "partition", a.Partition, "from", rewind[a.Partition], "to", a.Committed)
	}
	c.parts = kept // a batch that was given up is its new owner's to tell
	return rewind, nil
}

func (c *Correlator) work(ctx context.Context, b kafka.Batch) error {
	c.adopt()
	var order []*correlated
	ranges := map[*correlated][]*kafka.Range{}
	for i := range b.Ranges {
		r := &b.Ranges[i]
		p := c.parts[r.Partition]
		if p == nil {
			return fmt.Errorf("partition %d of %s came without an assignment", r.Partition, r.Topic)
		}
		if ranges[p] == nil {
			order = append(order, p)
		}
		ranges[p] = append(ranges[p], r)
	}
	var parts sync.WaitGroup // groups of different partitions never meet
	for _, p := range order {
		parts.Go(func() {
			began := time.Now()
			c.hear(p, ranges[p])
			c.stage("windows", time.Since(began))
		})
	}
	parts.Wait()
	var all []said
	for _, id := range slices.Sorted(maps.Keys(c.parts)) {
		all = append(all, c.parts[id].said...)
	}
	if err := c.timed("produce", func() error { return c.tell(ctx, all) }); err != nil {
		return err
	}
	for _, p := range c.parts {
		p.said = p.said[:0]
	}
	var losses []loss
	for i := range b.Ranges {
		r := &b.Ranges[i]
		if p := c.parts[r.Partition]; !p.last.IsZero() && !r.Replay { // a partition has one range in a batch
			losses = append(losses, loss{r.Partition, p.last, p.shed})
			c.over.topic = r.Topic
		}
	}
	if err := c.Loop.shed(ctx, &c.over, losses); err != nil {
		return err
	}
	for _, l := range losses {
		c.parts[l.partition].shed = nil
	}
	return nil
}

// hear gives one partition's records to its windows. The partition is the caller's own.
func (c *Correlator) hear(p *correlated, ranges []*kafka.Range) {
	p.last = time.Time{}
	for _, r := range ranges {
		for rec := range r.All() {
			p.last = rec.Append
			if rec.Offset < p.next {
				continue // taken by the attempt before
			}
			alerts := c.observe(p, rec)
			p.next = rec.Offset + 1
			p.say(alerts, r.Replay)
		}
		p.next = max(p.next, r.End)
		p.windows.TakeShed(func(rule *detect.Rule, n uint64) {
			if r.Replay {
				return
			}
			if p.shed == nil {
				p.shed = map[*detect.Rule]uint64{}
			}
			p.shed[rule] += n
		})
		if r.Replay {
			p.stats = p.windows.Stats() // counted when it was read for the first time
		}
	}
}

func (c *Correlator) observe(part *correlated, rec *kafka.Record) (alerts []detect.Alert) {
	signals, p, err := part.decoder.Decode(rec.Value)
	switch {
	case err != nil:
		c.Log.Error("signal record skipped: not written by this version of Picket",
			"topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "err", err)
		c.Metrics.Dead.WithLabelValues("signal").Inc()
	case p != nil:
		return part.windows.Progress(nil, p)
	}
	for i := range signals {
		alerts = part.windows.Observe(alerts, &signals[i])
	}
	return alerts
}

func (c *Correlator) tell(ctx context.Context, alerts []said) error {
	defer c.count()
	if len(alerts) == 0 {
		return nil
	}
	records := make([]kafka.Record, len(alerts))
	for i := range alerts {
		value, err := json.Marshal(&alerts[i].Alert)
		if err != nil {
			return fmt.Errorf("encode alert %s: %w", alerts[i].ID, err)
		}
		records[i] = kafka.Record{Topic: c.Alerts, Partition: 0, Key: []byte(alerts[i].ID), Value: value}
	}
	if err := c.Producer.Produce(ctx, records); err != nil {
		return fmt.Errorf("write %d alerts to %s: %w", len(alerts), c.Alerts, err)
	}
	for i := range alerts {
		a := &alerts[i]
		if !a.first {
			continue
		}
		c.Metrics.Alerts.WithLabelValues(a.Rule.ID, a.Severity).Inc()
		c.Metrics.Latency.Observe(time.Since(a.FiredAt).Seconds())
	}
	return nil
}

func (c *Correlator) count() {
	groups, waiting := 0, 0
	var marks []time.Time
	for _, p := range c.parts {
		groups += p.windows.Groups()
		waiting += p.windows.WaitingPoints()
		marks = append(marks, p.windows.Watermark())
		now := p.windows.Stats()
		for reason, n := range map[string]uint64{
			"duplicate": now.Duplicates - p.stats.Duplicates, "expired": now.Expired - p.stats.Expired,
			"unknown_rule": now.UnknownRule - p.stats.UnknownRule, "overflow": now.Overflow - p.stats.Overflow,
			"evidence": now.NoEvidence - p.stats.NoEvidence,
		} {
			c.Metrics.Left.WithLabelValues(reason).Add(float64(n))
		}
		p.stats = now
	}
	c.Metrics.Groups.Set(float64(groups))
	c.waiting(waiting)
	if len(marks) == 0 {
		return
	}
	if low := slices.MinFunc(marks, time.Time.Compare); !low.IsZero() {
		c.Metrics.Watermark.Set(float64(low.UnixMilli()) / 1000)
	}
}

// waiting shows how many points wait for rules that this instance does not have, and says
// so when it begins.
func (c *Correlator) waiting(n int) {
	if was := c.waited; n > 0 && was == 0 {
		c.Log.Warn("signals of rules that are not in force here: they wait for a reload, and are given up after 10 minutes",
			"role", c.Name, "points", n, "hash", c.Rules.Hash())
	}
	c.waited = n
	c.Metrics.Waiting.Set(float64(n))
}
