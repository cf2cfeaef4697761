package detect

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

const benchSpan = 10 * time.Minute

// benchDetectors never fire at the occupancies below, which is what most groups do.
var benchDetectors = []struct{ name, text string }{
	{"count", "match: {type: tool_call}, threshold: {count: {gte: 90000}, window: 10m, group_by: [net.ip]}"},
	{"distinct", "match: {type: tool_call}, distinct: {field: actor.client_id, count: {gte: 90000}, window: 10m, group_by: [net.ip]}"},
	{"sum", "match: {type: tool_call}, sum: {field: io.rows, gte: 1e12, window: 10m, group_by: [net.ip]}"},
	{"sequence", "sequence: {window: 10m, group_by: [net.ip], steps: [{name: a, count: {gte: 5}, match: {outcome: failure}}, {name: b, match: {outcome: success}}]}"},
	{"fieldref", "sequence: {window: 10m, group_by: [net.ip], steps: [{name: a, match: {outcome: failure}}, {name: b, match: {outcome: success, mcp.tool|fieldref: a.mcp.tool}}]}"},
	{"unordered", "sequence: {window: 10m, group_by: [net.ip], ordered: false, steps: [{name: a, count: {gte: 5}, match: {outcome: failure}}, {name: b, match: {outcome: success}}]}"},
	{"ratio", "match: {type: tool_call}, ratio: {of: {outcome: error}, gte: 0.9, window: 10m, group_by: [net.ip]}"},
	{"absence", "match: {type: heartbeat}, absence: {window: 10m, group_by: [net.ip]}"},
	{"all", "match: {type: tool_call}, all: [{threshold: {count: {gte: 90000}}}, {distinct: {field: net.asn, count: {gte: 2}}}], window: 10m, group_by: [net.ip]"},
}

func benchRule1(b testing.TB, text string) *RuleSet {
	return loadText(b, "{schema: rule/v1, id: BB-01, name: b.one, title: t, severity: high, "+text+"}")
}

// busy is one group that holds so many points, and takes signals of one point.
type busy struct {
	w        *Windows
	s        *Signal
	points   int
	disorder bool // one point in sixteen is late by a hundredth of the window
	at       int64
	n        int
}

func newBusy(b testing.TB, text string, points int, disorder bool) *busy {
	rs := benchRule1(b, text)
	g := &busy{
		w: NewWindows(rs, plainHasher{}, 0, WindowOptions{MaxPoints: 180_000}), points: points, disorder: disorder, at: TestStart.UnixMilli(),
		s: &Signal{Events: make([]SignalEvent, 1), Rules: []RulePoints{{Rule: rs.Rules()[0].Hash, Points: make([]Point, 1)}}},
	}
	for range points {
		g.observe()
	}
	return g
}

func (g *busy) observe() {
	g.n++
	p := &g.s.Events[0]
	g.at += benchSpan.Milliseconds() / int64(g.points)
	*p = SignalEvent{Time: g.at, Append: g.at, Identity: uint64(g.n) * 0x9e3779b97f4a7c15}
	g.s.Rules[0].Points[0].Value = uint64(g.n%(g.points/2+1)) * 0x9e3779b97f4a7c15
	if g.disorder && g.n%16 == 0 {
		p.Time -= benchSpan.Milliseconds() / 100
	}
	g.s.Begin, g.s.End = int64(g.n), int64(g.n)+1
	g.w.Observe(nil, g.s)
	if g.n%64 == 0 {
		g.w.settle(nil, g.at-benchSpan.Milliseconds()/50)
	}
}

// BenchmarkObserve is one signal of one point for a group that holds so many, in order and not.
func BenchmarkObserve(b *testing.B) {
	for _, d := range benchDetectors {
		for _, disorder := range []bool{false, true} {
			for _, points := range []int{10, 1_000, 50_000} {
				b.Run(fmt.Sprintf("%s/disorder=%t/points=%d", d.name, disorder, points), func(b *testing.B) {
					g := newBusy(b, d.text, points, disorder)
					b.ReportAllocs()
					b.ResetTimer()
					cpu := CPUTime()
					for b.Loop() {
						g.observe()
					}
					b.ReportMetric(float64(CPUTime()-cpu)/float64(b.N), "cpu-ns/op")
				})
			}
		}
	}
}

// BenchmarkDistinctToCount says what distinct costs compared with count: both in turns, and of
// each the best turn, since the machine may be shared.
func BenchmarkDistinctToCount(b *testing.B) {
	for _, points := range []int{1, 10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("points=%d", points), func(b *testing.B) {
			groups := [2]*busy{newBusy(b, benchDetectors[0].text, points, false), newBusy(b, benchDetectors[1].text, points, false)}
			var best [2]time.Duration
			const turn = 20_000
			for b.Loop() {
				for i, g := range groups {
					cpu := CPUTime()
					for range turn {
						g.observe()
					}
					if took := CPUTime() - cpu; best[i] == 0 || took < best[i] {
						best[i] = took
					}
				}
			}
			b.ReportMetric(float64(best[0])/turn, "count-ns")
			b.ReportMetric(float64(best[1])/turn, "distinct-ns")
			b.ReportMetric(float64(best[1])/float64(best[0]), "distinct/count")
		})
	}
}

// BenchmarkCores correlates eight partitions, each in a goroutine as the role does, on one core and
// on two in turns, and compares the best turns. Where other things run on the machine, the processor
// time says more: cores that did not wait for each other used no more of it together than one alone.
func BenchmarkCores(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Skip("needs two cores")
	}
	text := ""
	for i, d := range benchDetectors[:4] {
		text += fmt.Sprintf("{schema: rule/v1, id: BB-%02d, name: b.%s, title: t, severity: high, %s}\n---\n", i, d.name, d.text)
	}
	rs, err := loadLines(text)
	if err != nil {
		b.Fatal(err)
	}
	logs := make([][][]byte, 8)
	for p := range logs {
		logs[p] = benchLog(rs, p, 100, 1_500)
	}
	turn := func(cores int) (wall, cpu time.Duration) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		runtime.GC()
		began, used := time.Now(), CPUTime()
		var parts sync.WaitGroup
		for _, log := range logs {
			parts.Go(func() {
				w := NewWindows(rs, plainHasher{}, 0, WindowOptions{})
				var d SignalDecoder
				for _, record := range log {
					if signals, _, err := d.Decode(record); err == nil {
						w.Observe(nil, &signals[0])
					}
				}
			})
		}
		parts.Wait()
		return time.Since(began), CPUTime() - used
	}
	var wall, cpu [3]time.Duration
	for b.Loop() {
		for _, cores := range []int{1, 2} {
			t, c := turn(cores)
			if wall[cores] == 0 || t < wall[cores] {
				wall[cores] = t
			}
			if cpu[cores] == 0 || c < cpu[cores] {
				cpu[cores] = c
			}
		}
	}
	n := float64(len(logs) * len(logs[0]))
	b.ReportMetric(n/wall[1].Seconds()/1e6, "Msignals/s-1core")
	b.ReportMetric(n/wall[2].Seconds()/1e6, "Msignals/s-2cores")
	b.ReportMetric(float64(wall[1])/float64(wall[2]), "speedup")
	b.ReportMetric(2*float64(cpu[1])/float64(cpu[2]), "cpu-speedup")
}

// benchLog are records of one partition: a point of every rule each.
func benchLog(rs *RuleSet, partition, groups, n int) [][]byte {
	var log [][]byte
	for i := range n {
		at := TestStart.Add(time.Duration(i) * 10 * time.Millisecond).UnixMilli()
		s := Signal{Begin: int64(i), End: int64(i) + 1, Tenant: "default", Values: []GroupValue{{Field: "net.ip", Value: "abcdefghijklmnopqrstuvwxyz", Key: "k1"}}}
		binary.BigEndian.PutUint64(s.Group[:], uint64(i%groups)*0x9e3779b97f4a7c15)
		s.Group[8] = byte(partition)
		s.Events = []SignalEvent{{Time: at, Append: at, Identity: uint64(i) * 0x9e3779b97f4a7c15}}
		for j, r := range rs.Rules() {
			p := Point{Step: uint8(i / groups % len(r.streams)), Value: uint64(i%7+j) * 0x9e3779b97f4a7c15}
			s.Rules = append(s.Rules, RulePoints{Rule: r.Hash, Points: []Point{p}})
		}
		log = append(log, AppendSignal(nil, &s))
	}
	return log
}

// BenchmarkGroups holds a million live groups of a threshold rule, as they come from the topic.
func BenchmarkGroups(b *testing.B) {
	for _, points := range []int{1, 4} {
		b.Run(fmt.Sprintf("points=%d", points), func(b *testing.B) {
			rs := benchRule1(b, "match: {type: authentication}, threshold: {count: {gte: 5}, window: 5m, group_by: [net.ip]}")
			for b.Loop() {
				before, cpu := heapNow(), CPUTime()
				w := manyGroups(rs, 1_000_000, points)
				b.ReportMetric(float64(CPUTime()-cpu)/1e6/float64(points), "cpu-ns/point")
				after := heapNow()
				b.ReportMetric(float64(after-before)/1e6, "B/group")
				b.ReportMetric(float64(after-before)/(1<<20), "MiB")
				b.ReportMetric(float64(heapObjects())/1e6, "objects/group")
				if w.Groups() != 1_000_000 {
					b.Fatal(w.Groups())
				}
				runtime.KeepAlive(w)
			}
		})
	}
}

func manyGroups(rs *RuleSet, groups, points int) *Windows {
	w := NewWindows(rs, plainHasher{}, time.Minute, WindowOptions{MaxGroups: 4 * groups})
	s := Signal{
		Tenant: "default", Values: []GroupValue{{Field: "net.ip", Value: "abcdefghijklmnopqrstuvwxyz", Key: "k1"}}, Events: make([]SignalEvent, 1),
		Rules:    []RulePoints{{Rule: rs.Rules()[0].Hash, Points: make([]Point, 1), Evidence: make([]EvidenceRule, 1)}},
		Evidence: []SignalEvidence{{EventID: "0192f0c1-7b2e-7c3a-9d4e-5f6a7b8c9d0e", Server: "crm", Type: "authentication", Outcome: "failure"}},
	}
	n := 0
	for round := range points {
		for i := range groups {
			n++
			s.Begin, s.End = int64(n), int64(n)+1
			at := TestStart.Add(time.Duration(round*groups+i) * 10 * time.Microsecond).UnixMilli()
			s.Events[0] = SignalEvent{Time: at, Append: at, Identity: uint64(n) * 0x9e3779b97f4a7c15}
			binary.BigEndian.PutUint64(s.Group[:], uint64(i)*0x9e3779b97f4a7c15)
			binary.BigEndian.PutUint64(s.Group[8:], uint64(i))
			w.Observe(nil, &s)
		}
	}
	return w
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func heapObjects() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapObjects
}
