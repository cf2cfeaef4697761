package detect

import (
	"encoding/binary"
	"fmt"
	"runtime"
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
	{"ratio", "match: {type: tool_call}, ratio: {of: {outcome: error}, gte: 0.9, window: 10m, group_by: [net.ip]}"},
	{"absence", "match: {type: heartbeat}, absence: {window: 10m, group_by: [net.ip]}"},
	{"all", "match: {type: tool_call}, all: [{threshold: {count: {gte: 90000}}}, {distinct: {field: net.asn, count: {gte: 2}}}], window: 10m, group_by: [net.ip]"},
}

func benchRule1(b *testing.B, text string) *RuleSet {
	return loadText(b, "{schema: rule/v1, id: BB-01, name: b.one, title: t, severity: high, "+text+"}")
}

// BenchmarkObserve is one signal of one point, in order and with one point in sixteen late by
// a hundredth of the window, for groups that hold so many points.
func BenchmarkObserve(b *testing.B) {
	for _, d := range benchDetectors {
		for _, disorder := range []bool{false, true} {
			for _, occupancy := range []int{10, 1_000, 50_000} {
				b.Run(fmt.Sprintf("%s/disorder=%t/points=%d", d.name, disorder, occupancy), func(b *testing.B) {
					rs := benchRule1(b, d.text)
					w := NewWindows(rs, plainHasher{}, 0, WindowOptions{MaxPoints: 180_000})
					s := &Signal{Rules: []RulePoints{{Rule: rs.Rules()[0].Hash, Points: make([]Point, 1)}}}
					gap := benchSpan.Milliseconds() / int64(occupancy)
					at := TestStart.UnixMilli()
					observe := func(i int) {
						p := &s.Rules[0].Points[0]
						at += gap
						*p = Point{Time: at, Append: at, Value: uint64(i%(occupancy/2+1)) * 0x9e3779b97f4a7c15}
						if disorder && i%16 == 0 {
							p.Time -= benchSpan.Milliseconds() / 100
						}
						binary.BigEndian.PutUint64(p.Identity[:], uint64(i)*0x9e3779b97f4a7c15)
						s.Begin, s.End = int64(i), int64(i)+1
						w.Observe(nil, s)
						if i%64 == 0 {
							w.settle(nil, at-benchSpan.Milliseconds()/50)
						}
					}
					n := 0
					for ; n < occupancy; n++ {
						observe(n)
					}
					b.ReportAllocs()
					b.ResetTimer()
					for b.Loop() {
						n++
						observe(n)
					}
				})
			}
		}
	}
}

// BenchmarkGroups holds a million live groups of a threshold rule, as they come from the topic.
func BenchmarkGroups(b *testing.B) {
	for _, points := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("points=%d", points), func(b *testing.B) {
			rs := benchRule1(b, "match: {type: authentication}, threshold: {count: {gte: 5}, window: 5m, group_by: [net.ip]}")
			for b.Loop() {
				before := heapNow()
				w := manyGroups(b, rs, 1_000_000, points)
				b.ReportMetric(float64(heapNow()-before)/1e6, "B/group")
				b.ReportMetric(float64(heapNow()-before)/(1<<20), "MiB")
				if w.Groups() != 1_000_000 {
					b.Fatal(w.Groups())
				}
				runtime.KeepAlive(w)
			}
		})
	}
}

func manyGroups(tb testing.TB, rs *RuleSet, groups, points int) *Windows {
	w := NewWindows(rs, plainHasher{}, time.Minute, WindowOptions{})
	hash := rs.Rules()[0].Hash
	var record []byte
	n := 0
	for round := range points {
		for i := range groups {
			n++
			at := TestStart.Add(time.Duration(round*groups+i) * 10 * time.Microsecond)
			s := Signal{Begin: int64(n), End: int64(n) + 1, Tenant: "default", Values: []GroupValue{{Field: "net.ip", Value: "abcdefghijklmnopqrstuvwxyz", Key: "k1"}}}
			binary.BigEndian.PutUint64(s.Group[:], uint64(i)*0x9e3779b97f4a7c15)
			binary.BigEndian.PutUint64(s.Group[8:], uint64(i))
			p := Point{Time: at.UnixMilli(), Append: at.UnixMilli()}
			binary.BigEndian.PutUint64(p.Identity[:], uint64(n)*0x9e3779b97f4a7c15)
			s.Rules = []RulePoints{{Rule: hash, Points: []Point{p}}}
			s.Evidence = []SignalEvidence{{Rule: hash, Evidence: Evidence{EventID: "0192f0c1-7b2e-7c3a-9d4e-5f6a7b8c9d0e", Time: at, Server: "crm", Type: "authentication", Outcome: "failure"}}}
			record = AppendSignal(record[:0], &s)
			in, _, err := DecodeSignal(record)
			if err != nil {
				tb.Fatal(err)
			}
			w.Observe(nil, in)
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
