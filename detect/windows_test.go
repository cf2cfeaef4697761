package detect

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

const testLateness = 2 * time.Minute

// windowRules have one rule for each detector that windows evaluate.
const windowRules = `
schema: rule/v1
id: TT-01
name: test.count
title: count
severity: high
description: d
match: {type: authentication}
threshold: {count: {gte: 3}, window: 60s, group_by: [net.ip]}
suppress: {for: 2m}
---
schema: rule/v1
id: TT-02
name: test.single
title: single
severity: high
description: d
match: {type: authentication, outcome: denied}
group_by: [net.ip]
suppress: {for: 5m}
---
schema: rule/v1
id: TT-03
name: test.distinct
title: distinct
severity: high
description: d
match: {type: authentication}
distinct: {field: actor.client_id, count: {gte: 3}, window: 90s, group_by: [net.ip]}
suppress: {for: 3m}
---
schema: rule/v1
id: TT-04
name: test.sum
title: sum
severity: high
description: d
match: {type: authentication}
sum: {field: io.result_bytes, gte: 250, window: 45s, group_by: [server.name]}
suppress: {for: 1m}
`

func loadText(t testing.TB, text string) *RuleSet {
	t.Helper()
	rs, err := Load(fstest.MapFS{"rules.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// entry is one record of the signals topic, as simulated.
type entry struct {
	at    time.Time // its append time
	value []byte
}

// scenario is a random history of events, and the log of signals that detect makes of it.
type scenario struct {
	rs     *RuleSet
	events []*Event // every distinct event once, as first appended
	log    []entry
	end    time.Time
}

// drawScenario makes events with disorder and lateness on both sides of the limit,
// duplicates of producer and pipeline, in batches of any size over some partitions.
func drawScenario(t *rapid.T, rs *RuleSet) *scenario {
	s := &scenario{rs: rs, end: TestStart}
	parts := rapid.IntRange(1, 3).Draw(t, "partitions")
	logs := make([][]*Event, parts)
	n := rapid.IntRange(1, 60).Draw(t, "events")
	clock := TestStart
	for i := range n {
		most := rapid.SampledFrom([]int{1_000, 20_000, 120_000}).Draw(t, "pace")
		clock = clock.Add(time.Duration(rapid.IntRange(0, most).Draw(t, "step")) * time.Millisecond)
		delay := time.Duration(0)
		switch rapid.IntRange(0, 5).Draw(t, "lateness") {
		case 0, 1:
			delay = time.Duration(rapid.IntRange(0, int(testLateness/time.Millisecond)).Draw(t, "delay")) * time.Millisecond
		case 2:
			delay = testLateness + time.Duration(rapid.IntRange(-1, 1).Draw(t, "edge"))*time.Millisecond
		case 3:
			delay = testLateness + time.Duration(rapid.IntRange(0, 300).Draw(t, "late"))*time.Second
		}
		ev := &Event{Claimed: clock.Add(-delay), Append: clock}
		ev.Set(ID, fmt.Sprint("e", i))
		ev.Set(Type, "authentication")
		ev.Set(Outcome, rapid.SampledFrom([]string{"failure", "failure", "denied"}).Draw(t, "outcome"))
		ev.Set(ServerName, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "server"))
		ev.Set(NetIP, rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "ip"))
		ev.Set(ActorClientID, rapid.SampledFrom([]string{"c1", "c2", "c3", "c4"}).Draw(t, "client"))
		ev.SetNum(IOResultBytes, float64(rapid.IntRange(1, 200).Draw(t, "bytes")))
		s.events = append(s.events, ev)
		p := rapid.IntRange(0, parts-1).Draw(t, "partition")
		logs[p] = append(logs[p], ev)
		if rapid.IntRange(0, 9).Draw(t, "duplicate") == 0 {
			again := *ev // the producer sent it twice; the copy comes a little later, anywhere
			again.Append = clock.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "again")) * time.Millisecond)
			p = rapid.IntRange(0, parts-1).Draw(t, "again_partition")
			logs[p] = append(logs[p], &again)
			s.events = append(s.events, &again)
		}
	}
	for p := range logs {
		slices.SortStableFunc(logs[p], func(a, b *Event) int { return a.Append.Compare(b.Append) })
		for i, ev := range logs[p] {
			ev.Partition, ev.Offset = int32(p), int64(i)
			ev.Stamp(testLateness)
			ev.Redact(plainHasher{}, nil)
		}
	}
	s.detect(t, logs)
	return s
}

// detect reads the partitions in batches, in any order, and does some batches twice.
func (s *scenario) detect(t *rapid.T, logs [][]*Event) {
	m, c := NewMatcher(s.rs), NewCollector(s.rs, plainHasher{})
	next := make([]int, len(logs))
	now := TestStart
	var zombie []entry // signals of an older batch, whose owner does not know that it is over
	for {
		var open []int
		for p := range logs {
			if next[p] < len(logs[p]) {
				open = append(open, p)
			}
		}
		if len(open) == 0 {
			break
		}
		p := rapid.SampledFrom(open).Draw(t, "read")
		size := rapid.IntRange(1, min(20, len(logs[p])-next[p])).Draw(t, "batch")
		batch := logs[p][next[p] : next[p]+size]
		begin, end := int64(next[p]), int64(next[p]+size)
		next[p] += size
		passed := batch[size-1].Append
		if passed.After(now) {
			now = passed
		}
		var records []entry
		for _, ev := range batch {
			c.Add(ev, m.Match(nil, ev))
		}
		for _, sig := range c.Flush(int32(p), begin, end) {
			records = append(records, entry{now, AppendSignal(nil, sig)})
		}
		// A producer that failed half-way, or a crash before the commit: some of the
		// records are there twice.
		if rapid.IntRange(0, 4).Draw(t, "redo") == 0 {
			records = append(slices.Clone(records[:rapid.IntRange(0, len(records)).Draw(t, "part")]), records...)
		}
		records = append(records, entry{now, AppendProgress(nil, Progress{
			Source: int32(p), Sources: int32(len(logs)), Begin: begin, End: end, Passed: passed,
		})})
		s.log = append(s.log, records...)
		// A crash after the marker and before the commit: all of it again.
		if rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			s.log = append(s.log, records...)
		}
		if zombie == nil && rapid.IntRange(0, 3).Draw(t, "sleeps") == 0 {
			zombie = slices.Clone(records[:len(records)-1])
		} else if zombie != nil && rapid.IntRange(0, 3).Draw(t, "wakes") == 0 {
			for _, z := range zombie {
				s.log = append(s.log, entry{now, z.value})
			}
			zombie = nil
		}
	}
	s.end = now
}

// outcome is what must not depend on anything but the events: final counts by alert.
type outcome map[string]uint64

func (o outcome) take(alerts []Alert) {
	for _, a := range alerts {
		o[a.Rule.ID+" "+groupText(a.Group)+" "+a.BucketStart.Format(time.RFC3339)] = a.Count
	}
}

// correlate runs the log through windows that crash and rebuild at some offsets.
func (s *scenario) correlate(t *rapid.T, crashes []int) outcome {
	out := outcome{}
	w := NewWindows(s.rs, plainHasher{}, testLateness, WindowOptions{})
	for i, e := range s.log {
		if slices.Contains(crashes, i) {
			mark := w.Watermark()
			w = NewWindows(s.rs, plainHasher{}, testLateness, WindowOptions{})
			from := 0
			if !mark.IsZero() {
				w.Restore(mark)
				start := mark.Add(-Rewind(s.rs, testLateness))
				from, _ = slices.BinarySearchFunc(s.log, start, func(e entry, at time.Time) int { return e.at.Compare(at) })
			}
			for _, old := range s.log[min(from, i):i] {
				s.feed(t, w, old)
			}
		}
		out.take(s.feed(t, w, e))
	}
	out.take(w.Settle(nil, s.end.Add(24*time.Hour)))
	if w.Groups() != 0 {
		t.Fatalf("%d groups are held after everything settled", w.Groups())
	}
	return out
}

func (s *scenario) feed(t *rapid.T, w *Windows, e entry) []Alert {
	sig, p, err := DecodeSignal(e.value)
	if err != nil {
		t.Fatal(err)
	}
	if p != nil {
		return w.Progress(nil, p)
	}
	return w.Observe(nil, sig)
}

// expected is the slow, obvious evaluator: for every event, look at its whole window.
func (s *scenario) expected() outcome {
	type point struct {
		at    time.Time
		id    string
		value string
		add   float64
	}
	out := outcome{}
	m := NewMatcher(s.rs)
	for _, r := range s.rs.Rules() {
		groups := map[string][]point{}
		names := map[string]string{}
		for _, ev := range s.events {
			if !slices.ContainsFunc(m.Match(nil, ev), func(x Match) bool { return x.Rule == r.Index }) {
				continue
			}
			p := point{at: ev.Time, id: ev.text[ID], value: ev.text[ActorClientID], add: 1}
			if ev.Late {
				if r.Detector.Threshold > 1 || r.Detector.Kind != DetectCount {
					continue
				}
				p.at = ev.Append
			}
			if r.Detector.Kind == DetectSum {
				p.add = ev.num[IOResultBytes-firstNumber]
			}
			name, raw, _ := ev.groupRaw(r.GroupBy[0])
			if slices.ContainsFunc(groups[raw], func(q point) bool { return q.id == p.id && q.at.Equal(p.at) }) {
				continue
			}
			groups[raw] = append(groups[raw], p)
			names[raw] = groupText([]GroupValue{{Field: name, Value: raw}})
		}
		for raw, points := range groups {
			slices.SortFunc(points, func(a, b point) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
			for _, e := range points {
				var measured float64
				values := map[string]bool{}
				for _, p := range points {
					// Points of one time are ordered by identity, which the engine hashes: with all of
					// them in, the last of them completes whenever any order would.
					if p.at.After(e.at) || r.Detector.Window > 0 && !p.at.After(e.at.Add(-r.Detector.Window)) {
						continue
					}
					if r.Detector.Window == 0 && p.id != e.id {
						continue
					}
					measured += p.add
					values[p.value] = true
				}
				if r.Detector.Kind == DetectDistinct {
					measured = float64(len(values))
				}
				if measured < r.Detector.Threshold {
					continue
				}
				bucket := e.at.Truncate(r.Suppress)
				count := uint64(0)
				for _, p := range points {
					if p.at.Truncate(r.Suppress).Equal(bucket) {
						count++
					}
				}
				out[r.Info.ID+" "+names[raw]+" "+bucket.Format(time.RFC3339)] = count
			}
		}
	}
	return out
}

// Alerts are a function of the events and the rules alone.
func TestWindowsAgreeWithTheObviousEvaluator(t *testing.T) {
	rs := loadText(t, windowRules)
	fired := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, rs)
		want := s.expected()
		var crashes []int
		for range rapid.IntRange(0, 3).Draw(t, "crashes") {
			crashes = append(crashes, rapid.IntRange(0, max(0, len(s.log)-1)).Draw(t, "crash"))
		}
		got := s.correlate(t, crashes)
		for k, n := range want {
			if got[k] != n {
				t.Fatalf("%s: expected count %d, got %d (crashes at %v of %d)", k, n, got[k], crashes, len(s.log))
			}
			fired[k[:5]]++
		}
		for k := range got {
			if _, ok := want[k]; !ok {
				t.Fatalf("%s: alert with count %d that no window explains (crashes at %v of %d)", k, got[k], crashes, len(s.log))
			}
		}
	})
	t.Logf("alerts by rule: %v", fired)
	for _, r := range rs.Rules() {
		if fired[r.Info.ID] < 10 && !testing.Short() {
			t.Errorf("%s fired %d times: the generator does not try it", r.Info.ID, fired[r.Info.ID])
		}
	}
}
