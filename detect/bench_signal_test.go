package detect_test

import (
	"testing"
	"time"

	"picket/detect"
	"picket/rules"
)

// BenchmarkSignals is what ordinary calls cost between their matches and the windows, with the
// shipped rules: collecting a batch of so many events, and writing and reading its signals.
func BenchmarkSignals(b *testing.B) {
	rs, err := detect.Load(rules.FS())
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name  string
		batch int
	}{{"batch=200", 200}, {"batch=4000", 4000}} {
		b.Run(bench.name, func(b *testing.B) {
			d := newDecider(b, 1_000)
			m, c := detect.NewMatcher(rs), detect.NewCollector(rs, d.keys)
			var events []*detect.Event
			var matches [][]detect.Match
			matched := 0
			for _, e := range detect.BenchEvents(2*bench.batch, 0, 1_000) {
				ev := e.Event()
				if ev.Enum(detect.Type) != "tool_call" || len(events) == bench.batch {
					continue
				}
				ev.Offset = 37_000_000 + int64(len(events))
				ms := m.Match(nil, ev)
				ev.Redact(d.keys, nil)
				events, matches, matched = append(events, ev), append(matches, ms), matched+len(ms)
			}
			var steps [3]time.Duration
			var dec detect.SignalDecoder
			var text []byte
			var ends []int
			size, signals, done := 0, 0, 0
			b.ReportAllocs()
			for b.Loop() {
				start := detect.CPUTime()
				for i, ev := range events {
					c.Add(ev, matches[i])
				}
				out := c.Flush(0, 37_000_000, 37_000_000+int64(len(events)))
				collected := detect.CPUTime()
				text, ends = text[:0], ends[:0]
				for _, s := range out {
					text = detect.AppendSignal(text, s)
					ends = append(ends, len(text))
				}
				written, from := detect.CPUTime(), 0
				for _, end := range ends {
					if _, _, err := dec.Decode(text[from:end]); err != nil {
						b.Fatal(err)
					}
					from = end
				}
				read := detect.CPUTime()
				steps[0], steps[1], steps[2] = steps[0]+collected-start, steps[1]+written-collected, steps[2]+read-written
				size, signals, done = len(text), len(ends), done+len(events)
			}
			n := float64(len(events))
			for i, name := range []string{"collect-cpu-ns/event", "write-cpu-ns/event", "read-cpu-ns/event"} {
				b.ReportMetric(float64(steps[i])/float64(done), name)
			}
			b.ReportMetric(float64(size)/n, "B-wire/event")
			b.ReportMetric(float64(signals)/n, "signals/event")
			b.ReportMetric(float64(matched)/n, "matches/event")
		})
	}
}
