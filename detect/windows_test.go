package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

const testLateness = 2 * time.Minute

// windowRules have one rule for each detector that windows evaluate, and for each way in
// which they depend on each other.
const windowRules = `
{id: TT-01, name: t.count, match: {type: authentication}, threshold: {count: {gte: 3}, window: 60s, group_by: [net.ip]}, suppress: {for: 2m}}
{id: TT-02, name: t.single, match: {outcome: denied}, group_by: [net.ip], suppress: {for: 5m}}
{id: TT-03, name: t.distinct, match: {type: authentication}, distinct: {field: actor.client_id, count: {gte: 3}, window: 90s, group_by: [net.ip]}, suppress: {for: 3m}}
{id: TT-04, name: t.sum, match: {type: authentication}, sum: {field: io.result_bytes, gte: 250, window: 45s, group_by: [server.name]}, suppress: {for: 1m}}
{id: TT-05, name: t.score, match: {type: authentication}, score: {gte: 3, of: [{name: a, add: 2, match: {outcome: denied}}, {name: b, add: 2, match: {server.name: a}}]}, group_by: [net.ip], suppress: {for: 1m}}
{id: TT-06, name: t.ordered, sequence: {window: 90s, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 2m}}
{id: TT-07, name: t.until, sequence: {window: 2m, group_by: [net.ip], steps: [{name: failed, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 100}}, {name: refused, match: {outcome: denied}}], until: {outcome: success}}, suppress: {for: 1m}}
{id: TT-08, name: t.unordered, sequence: {window: 60s, ordered: false, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 100}}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 1m}}
{id: TT-09, name: t.unordered.until, sequence: {window: 2m, ordered: false, group_by: [net.ip], steps: [{name: failed, count: {gte: 2}, match: {outcome: failure}}, {name: large, match: {io.result_bytes|gt: 50}}], until: {outcome: [denied, success], io.result_bytes|gt: 20}}, suppress: {for: 1m}}
{id: TT-10, name: t.fieldref, sequence: {window: 3m, group_by: [net.ip], steps: [{name: large, match: {io.result_bytes|gt: 80}}, {name: failed, match: {outcome: failure}}, {name: refused, match: {outcome: denied, actor.client_id|fieldref: failed.actor.client_id}}]}, suppress: {for: 2m}}
{id: TT-11, name: t.fieldref.first, sequence: {window: 4m, group_by: [server.name], steps: [{name: failed, match: {outcome: failure}}, {name: refused, match: {net.ip|fieldref: failed.net.ip, outcome: [denied, failure], actor.client_id|fieldref: failed.actor.client_id}}], until: {io.result_bytes|lt: 10}}, suppress: {for: 2m}}
{id: TT-12, name: t.from, sequence: {window: 2m, group_by: [net.ip], steps: [{name: many, from: TT-01}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 1m}}
{id: TT-13, name: t.from.chain, sequence: {window: 90s, ordered: false, group_by: [net.ip], steps: [{name: a, from: TT-12}, {name: b, count: {gte: 2}, from: TT-03}, {name: c, match: {outcome: success}}]}, suppress: {for: 3m}}
{id: TT-14, name: t.ratio, match: {type: authentication}, ratio: {of: {outcome: denied}, gte: 0.4, count: {gte: 2}, total: {gte: 3}, window: 60s, group_by: [net.ip]}, suppress: {for: 1m}}
{id: TT-15, name: t.absence, match: {outcome: [success, denied]}, absence: {window: 90s, group_by: [net.ip]}, suppress: {for: 2m}}
{id: TT-16, name: t.absence.after, match: {outcome: success}, absence: {after: {outcome: failure}, window: 45s, group_by: [net.ip]}, suppress: {for: 1m}}
{id: TT-17, name: t.from.absence, sequence: {window: 2m, group_by: [net.ip], steps: [{name: quiet, from: TT-16}, {name: refused, match: {outcome: denied}}]}, suppress: {for: 1m}}
{id: TT-18, name: t.from.settled, sequence: {window: 2m, group_by: [net.ip], steps: [{name: share, from: TT-14}, {name: late, from: TT-17}], until: {io.result_bytes|gt: 190}}, suppress: {for: 1m}}
{id: TT-19, name: t.all, match: {type: authentication}, all: [{threshold: {count: {gte: 3}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 2}}}, {sum: {field: io.result_bytes, gte: 200}}], window: 60s, group_by: [server.name], suppress: {for: 1m}}
{id: TT-20, name: t.any, any: [{match: {outcome: denied}, threshold: {count: {gte: 4}}}, {match: {outcome: failure}, distinct: {field: actor.client_id, count: {gte: 3}}}], window: 2m, group_by: [net.ip], suppress: {for: 1m}}
{id: TT-21, name: t.all.settled, match: {type: authentication}, all: [{ratio: {of: {outcome: failure}, gte: 0.5}}, {sequence: {steps: [{name: a, match: {outcome: denied}}, {name: b, match: {outcome: failure}}]}}], window: 90s, group_by: [net.ip], suppress: {for: 1m}}
{id: TT-22, name: t.panes, match: {type: authentication}, threshold: {count: {gte: 3}, window: 60s, resolution: 20s, group_by: [server.name]}, suppress: {for: 1m}}
`

// otherRules come and go by reloads, before and behind the others; some take from them.
const otherRules = `
{id: AA-01, name: a.one, match: {outcome: denied}, group_by: [actor.client_id]}
{id: TT-12-X, name: a.two, sequence: {window: 30m, group_by: [net.ip], steps: [{name: many, from: TT-01}, {name: quiet, from: TT-16}]}}
{id: ZZ-01, name: a.three, match: {type: authentication}, absence: {window: 10m, group_by: [server.name]}}
`

// ruleLines makes documents of lines that leave out what every rule has.
func ruleLines(lines string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		fmt.Fprintf(&b, "{schema: rule/v1, title: t, severity: high, %s\n---\n", line[1:])
	}
	return strings.TrimSuffix(b.String(), "---\n")
}

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
	sets   []*RuleSet // the checked rules, and the checked with others
	rs     *RuleSet
	events []*Event  // every distinct event once, as first appended
	logs   [][]entry // a log for each partition of the signals
	end    time.Time
	opts   WindowOptions
}

// drawScenario makes events with disorder and lateness on both sides of the limit,
// duplicates of producer and pipeline, in batches of any size over some partitions.
func drawScenario(t *rapid.T, sets ...*RuleSet) *scenario {
	s := &scenario{rs: sets[0], sets: sets, end: TestStart, logs: make([][]entry, rapid.IntRange(1, 4).Draw(t, "signals"))}
	parts := rapid.IntRange(1, 3).Draw(t, "partitions")
	logs := make([][]*Event, parts)
	s.opts.many = rapid.SampledFrom([]int{1, 4, 16, 1000}).Draw(t, "many")
	n := rapid.IntRange(1, 60).Draw(t, "events")
	clock := TestStart
	for i := range n {
		most := rapid.SampledFrom([]int{1_000, 20_000, 120_000}).Draw(t, "pace")
		step := rapid.IntRange(0, most).Draw(t, "step")
		if rapid.Bool().Draw(t, "aligned") { // times that lie exactly on the edges of windows
			step -= step % 15_000
			clock = clock.Truncate(15 * time.Second)
		}
		clock = clock.Add(time.Duration(step) * time.Millisecond)
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
		ev.Set(Outcome, rapid.SampledFrom([]string{"failure", "failure", "denied", "success"}).Draw(t, "outcome"))
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
	type stage struct {
		m *Matcher
		c *Collector
	}
	stages := make([]stage, len(s.sets))
	for i, rs := range s.sets {
		stages[i] = stage{NewMatcher(rs), NewCollector(rs, plainHasher{})}
	}
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
		st := rapid.SampledFrom(stages).Draw(t, "rules")
		for _, ev := range batch {
			st.c.Add(ev, st.m.Match(nil, ev))
		}
		for _, sig := range st.c.Flush(int32(p), begin, end) {
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
		s.append(t, records...)
		// A crash after the marker and before the commit: all of it again.
		if rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			s.append(t, records...)
		}
		if zombie == nil && rapid.IntRange(0, 3).Draw(t, "sleeps") == 0 {
			zombie = slices.Clone(records[:len(records)-1])
		} else if zombie != nil && rapid.IntRange(0, 3).Draw(t, "wakes") == 0 {
			for _, z := range zombie {
				s.append(t, entry{now, z.value})
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

// append deals signals by their group, and markers to every partition.
func (s *scenario) append(t *rapid.T, records ...entry) {
	for _, e := range records {
		sig, _, err := DecodeSignal(e.value)
		if err != nil {
			t.Fatal(err)
		}
		for p := range s.logs {
			if sig == nil || int(sig.Group[0])%len(s.logs) == p {
				s.logs[p] = append(s.logs[p], e)
			}
		}
	}
}

// correlate runs each log through windows that move to another instance at some offsets:
// it drops them, and the next one rebuilds them in silence. Some reload their rules.
func (s *scenario) correlate(t *rapid.T, moves, reloads []int) outcome {
	out := outcome{}
	for _, log := range s.logs {
		set := 0
		w := NewWindows(s.sets[set], plainHasher{}, testLateness, s.opts)
		for i, e := range log {
			if slices.Contains(moves, i) {
				w = s.rebuild(t, w, s.sets[set], log[:i])
			}
			if slices.Contains(reloads, i) {
				set = 1 - set
				out.take(w.Reload(nil, s.sets[set]))
			}
			out.take(s.feed(t, w, e))
		}
		out.take(w.Settle(nil, s.end.Add(24*time.Hour)))
		if w.Groups() != 0 {
			t.Fatalf("%d groups are held after everything settled", w.Groups())
		}
	}
	return out
}

func (s *scenario) rebuild(t *rapid.T, old *Windows, rs *RuleSet, log []entry) *Windows {
	mark := old.Watermark()
	w := NewWindows(rs, plainHasher{}, testLateness, s.opts)
	from := 0
	if !mark.IsZero() {
		w.Restore(mark)
		start := mark.Add(-Rewind(rs, testLateness))
		from, _ = slices.BinarySearchFunc(log, start, func(e entry, at time.Time) int { return e.at.Compare(at) })
	}
	for _, e := range log[from:] {
		s.feed(t, w, e)
	}
	return w
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

// Alerts are a function of the events and the rules alone.
func TestWindowsAgreeWithTheObviousEvaluator(t *testing.T) {
	rs, more := loadText(t, ruleLines(windowRules)), loadText(t, ruleLines(windowRules+strings.TrimSpace(otherRules)))
	fired, cases := map[string]int{}, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := drawScenario(t, rs, more)
		want := s.expected()
		most := 0
		for _, log := range s.logs {
			most = max(most, len(log)-1)
		}
		offsets := rapid.SliceOfN(rapid.IntRange(0, most), 0, 3)
		moves, reloads := offsets.Draw(t, "moves"), offsets.Draw(t, "reloads")
		got := s.correlate(t, moves, reloads)
		in := map[string]bool{}
		for k, n := range want {
			if got[k] != n {
				t.Fatalf("%s: expected count %d, got %d (moves at %v, reloads at %v)", k, n, got[k], moves, reloads)
			}
			fired[k[:5]]++
			in[k[:5]] = true
		}
		for id := range in {
			cases[id]++
		}
		for k := range got {
			if _, ok := want[k]; !ok && rs.ByID(strings.Fields(k)[0]) != nil {
				t.Fatalf("%s: alert with count %d that no window explains (moves at %v, reloads at %v)", k, got[k], moves, reloads)
			}
		}
	})
	for _, r := range rs.Rules() {
		t.Logf("%s %-17s fired in %d cases, %d alerts", r.Info.ID, r.Info.Name, cases[r.Info.ID], fired[r.Info.ID])
		if cases[r.Info.ID] < 10 && !testing.Short() {
			t.Errorf("%s fired in %d cases: the generator does not try it", r.Info.ID, cases[r.Info.ID])
		}
	}
}
