package detect_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"picket/detect"
	"picket/rules"
)

// BenchmarkSignals is what ordinary calls cost between their matches and the alerts, with the
// shipped rules: to collect and write a range of so many events, to read its packs, and to
// observe them in the windows of six partitions.
func BenchmarkSignals(b *testing.B) {
	rs, err := detect.Load(rules.FS())
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{50, 2_000, 10_000} {
		b.Run(fmt.Sprintf("range=%d", size), func(b *testing.B) {
			const partitions = 6
			d := newDecider(b, 1_000)
			m, c := detect.NewMatcher(rs), detect.NewCollector(rs, d.keys)
			var events []*detect.Event
			var matches [][]detect.Match
			matched := 0
			r := rand.New(rand.NewPCG(1, 2))
			for i := range 20_000 {
				ev := detect.BenchCall(r, i)
				ms := m.Match(nil, ev)
				ev.Redact(d.keys, nil) // what the keyring remembers is there
				events, matches, matched = append(events, ev), append(matches, ms), matched+len(ms)
			}
			var windows []*detect.Windows
			for range partitions {
				windows = append(windows, detect.NewWindows(rs, d.keys, 15*time.Minute, detect.WindowOptions{}))
			}
			var steps [4]time.Duration
			var dec detect.SignalDecoder
			bytes, records, signals, done := 0, 0, 0, 0
			turn := func() {
				begin := done
				at := detect.CPUTime()
				lap := func(step int) {
					now := detect.CPUTime()
					steps[step] += now - at
					at = now
				}
				for range size {
					ev := events[done%len(events)]
					ev.Offset = int64(done)
					ev.Append = detect.TestStart.Add(time.Duration(done) * 20 * time.Microsecond) // 50,000 a second
					ev.Time = ev.Append.Add(-time.Duration(done%7) * time.Millisecond)
					detect.BenchUnredact(ev)
					ev.RedactLater(d.keys, nil)
					c.Add(ev, matches[done%len(events)])
					done++
				}
				lap(0)
				packs := c.Packs(0, int64(begin), int64(done), partitions)
				lap(1)
				for _, p := range packs {
					bytes += len(p.Record)
					read, _, err := dec.Decode(p.Record)
					if err != nil {
						b.Fatal(err)
					}
					signals += len(read)
					lap(2)
					for i := range read {
						windows[p.Partition].Observe(nil, &read[i])
					}
					lap(3)
				}
				c.Written()
				records += len(packs)
				passed := detect.TestStart.Add(time.Duration(done) * 20 * time.Microsecond)
				for _, w := range windows {
					w.Progress(nil, &detect.Progress{Sources: 1, Begin: int64(begin), End: int64(done), Passed: passed})
				}
				lap(3)
			}
			for done < 20_000 { // what recurs is known
				turn()
			}
			steps, bytes, records, signals = [4]time.Duration{}, 0, 0, 0
			held := func() (points uint64) {
				for _, w := range windows {
					points += w.Stats().Points
				}
				return points
			}
			before, points := done, held()
			b.ReportAllocs()
			for b.Loop() {
				turn()
			}
			n := float64(done - before)
			sum := time.Duration(0)
			for i, name := range []string{"collect", "write", "read", "observe"} {
				b.ReportMetric(float64(steps[i])/n, name+"-cpu-ns/event")
				sum += steps[i]
			}
			b.ReportMetric(float64(sum)/n, "cpu-ns/event")
			b.ReportMetric(float64(bytes)/n, "B-wire/event")
			b.ReportMetric(float64(records)/n, "records/event")
			b.ReportMetric(float64(signals)/n, "signals/event")
			b.ReportMetric(float64(held()-points)/n, "points/event")
			b.ReportMetric(float64(matched)/float64(len(events)), "matches/event")
		})
	}
}
