package detect

import "testing"

// BenchmarkReload is what a change of 1,000 rules costs: to load and to compile them, which
// happens beside the stream, and to go over to them, for which the stream waits: once for
// each partition, with 100,000 groups held, half of the rules being others than before.
func BenchmarkReload(b *testing.B) {
	b.Run("compile", func(b *testing.B) {
		cpu := CPUTime()
		for b.Loop() {
			NewCollector(BenchPack(b, 1000), plainHasher{})
		}
		b.ReportMetric(float64((CPUTime()-cpu).Milliseconds())/float64(b.N), "cpu-ms/op")
	})
	b.Run("matcher", func(b *testing.B) {
		rs := BenchPack(b, 1000)
		for b.Loop() {
			NewMatcher(rs)
		}
	})
	b.Run("swap", func(b *testing.B) {
		sets := []*RuleSet{BenchPack(b, 1000), BenchPack(b, 500)}
		w := NewWindows(sets[0], plainHasher{}, 0, WindowOptions{})
		s := &Signal{Events: make([]SignalEvent, 1), Rules: []RulePoints{{Points: make([]Point, 1)}}}
		for i := range 100_000 {
			s.Rules[0].Rule = sets[0].Rules()[i%1000].Hash
			s.Group = [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}
			s.Begin, s.Events[0] = int64(i), SignalEvent{Time: TestStart.UnixMilli(), Append: TestStart.UnixMilli()}
			w.Observe(nil, s)
		}
		if w.Groups() != 100_000 {
			b.Fatalf("%d groups", w.Groups())
		}
		cpu := CPUTime()
		for i := 0; b.Loop(); i++ {
			w.Reload(nil, sets[(i+1)%2])
		}
		b.ReportMetric(float64((CPUTime()-cpu).Microseconds())/float64(b.N), "cpu-us/op")
	})
}
