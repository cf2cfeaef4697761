package detect

import (
	"fmt"
	"testing"
)

// BenchmarkDecoded is the promise for decoded events: one matcher, one goroutine. events/s is by
// the clock, events/cpu-s by the processor time that the process used, which other work on
// the machine disturbs less.
func BenchmarkDecoded(b *testing.B) {
	for _, rules := range []int{1_000, 10_000} {
		rs := BenchPack(b, rules)
		for _, hits := range []int{0, 20} {
			b.Run(fmt.Sprintf("rules=%d/matching=%d%%", rules, hits/10), func(b *testing.B) {
				benchDecoded(b, rs, benchDecodedEvents(b, rs, hits))
			})
		}
	}
}

// BenchmarkUnpruned is the other case: no rule has an atom rarer than an event type and an outcome.
func BenchmarkUnpruned(b *testing.B) {
	for _, rules := range []int{1_000, 10_000} {
		bodies := make([]string, rules)
		for i := range bodies {
			bodies[i] = fmt.Sprintf("match: {type: [tool_call, resource_read], io.duration_ms|gte: %d}", 100_000+i)
		}
		rs := ruleSet(b, bodies...)
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) { benchDecoded(b, rs, benchDecodedEvents(b, rs, 0)) })
	}
}

// benchDecodedEvents are 500 events, which stay in the cache as one just decoded does, of which hits in a thousand match, checked.
func benchDecodedEvents(b *testing.B, rs *RuleSet, hits int) []*Event {
	b.Helper()
	m := NewMatcher(rs)
	var events []*Event
	scanned, matched := 0, 0
	for _, e := range BenchEvents(500, hits, len(rs.Rules())) {
		ev := e.Event()
		events = append(events, ev)
		scanned += BenchScanned(rs, ev)
		if len(m.Match(nil, ev)) > 0 {
			matched++
		}
	}
	if want := len(events) * hits / 1000; matched < want || matched > want+want/10 {
		b.Fatalf("%d of %d events match, want %d", matched, len(events), want)
	}
	b.Logf("%d rules, %d events of mixed types, %d match, %.0f bytes of scanned text each", len(rs.Rules()), len(events), matched, float64(scanned)/float64(len(events)))
	return events
}

func benchDecoded(b *testing.B, rs *RuleSet, events []*Event) {
	m := NewMatcher(rs)
	dst := make([]Match, 0, 64)
	for _, ev := range events {
		dst = m.Match(dst[:0], ev)
	}
	b.ReportAllocs()
	cpu, i := CPUTime(), 0
	before := m.Stats()
	for b.Loop() {
		dst = m.Match(dst[:0], events[i])
		if i++; i == len(events) {
			i = 0
		}
	}
	after := m.Stats()
	BenchReport(b, cpu)
	b.ReportMetric(float64(after.Candidates-before.Candidates)/float64(b.N), "candidates/op")
}
