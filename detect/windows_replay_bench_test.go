package detect

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// BenchmarkReplay gives ordinary events to the windows of the shipped rules, as signals of their
// batches: as they come live, and as they come when six partitions catch up side by side, each with
// batches that span minutes. What a point costs is the processor time of Observe, what it takes of
// memory while nothing has settled, and what one cycle of the collector takes for it.
func BenchmarkReplay(b *testing.B) {
	const events = 120_000
	rs := pack(b)
	for _, bench := range []struct {
		name  string
		batch int
	}{{"live", 50}, {"catching-up", 8_000}} {
		b.Run(bench.name, func(b *testing.B) {
			log, points := replayLog(b, rs, events, bench.batch)
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			var observe, collect, allocated least
			var alive uint64
			for b.Loop() {
				before := heapNow()
				empty := timed(runtime.GC)
				w := NewWindows(rs, plainHasher{}, 15*time.Minute, WindowOptions{MaxEvidence: 6 * 20_000})
				alerts := 0
				observe.take(timed(func() {
					for _, s := range log {
						alerts += len(w.Observe(nil, s))
					}
				}))
				allocated.take(heapUsed() - before)
				alive = heapNow() - before
				collect.take(max(1, timed(runtime.GC)-empty))
				if st := w.Stats(); st.Points+st.Duplicates != uint64(points) {
					b.Fatalf("%+v of %d points", st, points)
				}
				if alerts == 0 {
					b.Fatal("no alerts")
				}
				b.Logf("%d signals, %d points, %d groups, %d alerts, %d evidence", len(log), points, w.Groups(), alerts, w.evidence)
			}
			for unit, x := range map[string]uint64{
				"cpu-ns/point": uint64(observe), "gc-ns/point": uint64(collect), "B/point": alive, "B-allocated/point": uint64(allocated),
			} {
				b.ReportMetric(float64(x)/float64(points), unit)
			}
			b.ReportMetric(float64(points)/events, "points/event")
		})
	}
}

// least is the least of what was taken: other work on the machine only adds.
type least uint64

func (l *least) take(x uint64) {
	if *l == 0 || x < uint64(*l) {
		*l = least(x)
	}
}

func timed(f func()) uint64 {
	start := CPUTime()
	f()
	return uint64(CPUTime() - start)
}

func heapUsed() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// replayLog are the signals of events that spread over ten minutes and six partitions.
func replayLog(tb testing.TB, rs *RuleSet, events, batch int) (log []*Signal, points int) {
	const parts = 6
	m, c := NewMatcher(rs), NewCollector(rs, plainHasher{})
	r := rand.New(rand.NewPCG(3, 4))
	var in [parts][]*Event
	for i := range events {
		ev := benchEvent(r, i).Event()
		ev.Claimed = TestStart.Add(time.Duration(i) * 10 * time.Minute / time.Duration(events))
		ev.Append = ev.Claimed
		ev.Set(SrcProducer, fmt.Sprint("edge-", i%2))
		who := i * 7919 % 1000
		ev.Set(ActorSubject, fmt.Sprint("person ", who))
		ev.Set(ActorClientID, fmt.Sprint("client-", who%300))
		ev.Set(MCPSession, fmt.Sprint("session ", who))
		ev.Set(NetIP, fmt.Sprintf("203.0.%d.%d", who%4, who/4))
		ev.Set(IOArgsDigest, fmt.Sprint("digest", i))
		if i%50 != 0 {
			ev.Set(Outcome, "success")
		}
		ev.Stamp(15 * time.Minute)
		ev.Offset = int64(len(in[i%parts]))
		in[i%parts] = append(in[i%parts], ev)
	}
	for from := 0; from < len(in[0]); from += batch {
		for p := range in {
			to := min(from+batch, len(in[p]))
			if from >= to {
				continue
			}
			for _, ev := range in[p][from:to] {
				ms := m.Match(nil, ev)
				ev.Redact(plainHasher{}, nil)
				c.Add(ev, ms)
			}
			for _, s := range signalsIn(tb, c.Packs(int32(p), int64(from), int64(to), 1)) {
				for i := range s.Rules {
					points += len(s.Rules[i].Points)
				}
				log = append(log, s)
			}
		}
	}
	return log, points
}
