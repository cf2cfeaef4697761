package detect

import (
	"testing"
	"time"
)

// BenchmarkPruned is the promise that ten times as many rules cost at most 1.3 times as much
// where an atom prunes them. Both packs take turns on the same events, so that what else the
// machine does meets them alike.
func BenchmarkPruned(b *testing.B) {
	type side struct {
		m      *Matcher
		events []*Event
		cpu    time.Duration
	}
	var sides []*side
	for _, rules := range []int{1_000, 10_000} {
		rs := BenchPack(b, rules)
		sides = append(sides, &side{m: NewMatcher(rs), events: benchDecodedEvents(b, rs, 0)})
	}
	var dst []Match
	rounds := 0
	b.ReportAllocs()
	for b.Loop() {
		for _, s := range sides {
			begin := CPUTime()
			for range 20 {
				for _, ev := range s.events {
					dst = s.m.Match(dst[:0], ev)
				}
			}
			s.cpu += CPUTime() - begin
		}
		rounds++
	}
	per := func(s *side) float64 { return float64(s.cpu.Nanoseconds()) / float64(rounds*20*len(s.events)) }
	b.ReportMetric(per(sides[0]), "ns/event@1000")
	b.ReportMetric(per(sides[1]), "ns/event@10000")
	b.ReportMetric(per(sides[1])/per(sides[0]), "times")
}
