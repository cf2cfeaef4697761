package role

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
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

	parts map[int32]*correlated
	// said is what the windows answered to the batch in hand and is not durable yet: a
	// write that is tried again must find it, since windows answer once.
	said []said
}

// said is an alert, and whether it is the first record of it.
type said struct {
	detect.Alert
	first bool
}

// correlated is one partition's state, and the offset of the next record it expects.
type correlated struct {
	windows *detect.Windows
	next    int64
	stats   detect.WindowStats
	open    map[string]bool // ids of alerts that fired and have not settled
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

// Run correlates until the context ends.
func (c *Correlator) Run(ctx context.Context) error {
	return c.run(ctx, c.Consumer, c.work, nil)
}

// Meta is the partition's watermark, kept with the commit: where a restart rewinds from.
func (c *Correlator) Meta(partition int32) string {
	p := c.parts[partition]
	if p == nil || p.windows.Watermark().IsZero() {
		return ""
	}
	return strconv.FormatInt(p.windows.Watermark().UnixMilli(), 10)
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
		if ms, err := strconv.ParseInt(a.Meta, 10, 64); err == nil {
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
	c.parts, c.said = kept, nil // a batch that was given up is its new owner's to tell
	return rewind, nil
}

func (c *Correlator) work(ctx context.Context, b kafka.Batch) error {
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
	heard := make([][]said, len(order))
	var parts sync.WaitGroup // groups of different partitions never meet
	for i, p := range order {
		parts.Go(func() { heard[i] = c.hear(p, ranges[p]) })
	}
	parts.Wait()
	for _, h := range heard {
		c.said = append(c.said, h...)
	}
	if err := c.tell(ctx, c.said); err != nil {
		return err
	}
	c.said = c.said[:0]
	return nil
}

// hear gives one partition's records to its windows. The partition is the caller's own.
func (c *Correlator) hear(p *correlated, ranges []*kafka.Range) []said {
	var out []said
	for _, r := range ranges {
		for j := range r.Records {
			rec := &r.Records[j]
			if rec.Offset < p.next {
				continue // taken by the attempt before
			}
			alerts := c.observe(p.windows, rec)
			p.next = rec.Offset + 1
			for i := range alerts {
				if first := p.first(&alerts[i]); !r.Replay {
					out = append(out, said{alerts[i], first})
				}
			}
		}
		p.next = max(p.next, r.End)
		if r.Replay {
			p.stats = p.windows.Stats() // counted when it was read for the first time
		}
	}
	return out
}

func (c *Correlator) observe(w *detect.Windows, rec *kafka.Record) []detect.Alert {
	s, p, err := detect.DecodeSignal(rec.Value)
	switch {
	case err != nil:
		c.Log.Error("signal record skipped: not written by this version of Picket",
			"topic", rec.Topic, "partition", rec.Partition, "offset", rec.Offset, "err", err)
		c.Metrics.Dead.WithLabelValues("signal").Inc()
		return nil
	case p != nil:
		return w.Progress(nil, p)
	}
	return w.Observe(nil, s)
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
	groups := 0
	var marks []time.Time
	for _, p := range c.parts {
		groups += p.windows.Groups()
		marks = append(marks, p.windows.Watermark())
		now := p.windows.Stats()
		for reason, n := range map[string]uint64{
			"duplicate": now.Duplicates - p.stats.Duplicates, "expired": now.Expired - p.stats.Expired,
			"unknown_rule": now.UnknownRule - p.stats.UnknownRule, "overflow": now.Overflow - p.stats.Overflow,
		} {
			c.Metrics.Left.WithLabelValues(reason).Add(float64(n))
		}
		p.stats = now
	}
	c.Metrics.Groups.Set(float64(groups))
	if len(marks) == 0 {
		return
	}
	if low := slices.MinFunc(marks, time.Time.Compare); !low.IsZero() {
		c.Metrics.Watermark.Set(float64(low.UnixMilli()) / 1000)
	}
}
