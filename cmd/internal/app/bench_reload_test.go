package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest/kafka"
)

const (
	reloadRules  = 1000
	reloadGroups = 100_000 // in the windows while the rules change
	reloadRate   = 2000    // events a second meanwhile
)

// BenchmarkReload changes half of 1,000 rules, a file each, while events stream through the loops
// of detect and correlate and 100,000 groups are held. It says how long it takes from the signal
// until both judge by the new set, how long each of them stopped to go over to it, and for how
// long one of them finished no record meanwhile. The last has its batches in it, of which one
// begins in 10 ms, and what else the machine does: the same without a reload stands beside it.
// Each figure is the median, and the worst, of all reloads (-benchtime 20x).
func BenchmarkReload(b *testing.B) {
	x := newReloadBench(b)
	defer x.stop()
	all := map[string][]time.Duration{}
	note := func(name string, d time.Duration) { all[name] = append(all[name], d) }
	for b.Loop() {
		b.StopTimer()
		x.write()
		x.fill()
		runtime.GC() // what that left is not the reload's
		until := time.Now().Add(time.Second)
		note("quiet-ms-without", x.quiet(func() bool { return time.Now().After(until) }))
		d, c := x.stage(role.Detect), x.stage(role.Correlate)
		b.StartTimer()
		began, force := time.Now(), time.Duration(0)
		x.asked <- os.Interrupt
		note("quiet-ms", x.quiet(func() bool {
			switch {
			case force > 0:
				return time.Since(began) > force+100*time.Millisecond
			case x.stage(role.Detect) > d && x.stage(role.Correlate) > c:
				force = time.Since(began)
			case time.Since(began) > 30*time.Second:
				b.Fatal("the new rules are not in force")
			}
			return false
		}))
		note("in-force-ms", force)
		note("detect-stop-ms", x.stage(role.Detect)-d)
		note("correlate-stop-ms", x.stage(role.Correlate)-c)
	}
	b.ReportMetric(0, "ns/op") // has the wait for the next record in it
	for name, ds := range all {
		slices.Sort(ds)
		b.ReportMetric(float64(ds[len(ds)/2].Microseconds())/1000, name)
		b.ReportMetric(float64(ds[len(ds)-1].Microseconds())/1000, name+"-max")
	}
}

type reloadBench struct {
	*onBroker
	dir   string
	round int
	asked chan os.Signal
	app   *App
	stop  func()
	mu    sync.Mutex // sends
}

func newReloadBench(b *testing.B) *reloadBench {
	x := &reloadBench{onBroker: newOnBroker(b), dir: b.TempDir(), asked: make(chan os.Signal, 1)}
	x.cfg.Roles = []string{role.Detect, role.Correlate}
	x.cfg.Rules = config.Rules{Dirs: []string{x.dir}}
	x.write()
	rs, _, err := LoadRules(x.cfg, detect.LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	x.opt.Rules, x.opt.Reload = rs, x.asked
	x.opt.Log = quiet(x.opt.Log) // its lines name 500 rules
	if x.app, err = Start(b.Context(), x.cfg, x.opt); err != nil {
		b.Fatal(err)
	}
	x.fill()
	ctx, cancel := context.WithCancel(b.Context())
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for ctx.Err() == nil {
			x.failures(reloadRate / 100)
			wait(ctx, 10*time.Millisecond)
		}
	}()
	x.stop = func() {
		cancel()
		<-sent
		if err := x.app.Stop(); err != nil {
			b.Error(err)
		}
	}
	return x
}

// write changes every other rule: 70 % match a text or an expression, 20 % count, 10 % add up.
func (x *reloadBench) write() {
	x.round++
	for i := range reloadRules {
		n := 3 + x.round*((i/20+i)%2)
		body := fmt.Sprintf("match: {type: tool_call, io.args|contains: [drop_%d, exec-%d-%d]}", i, i, n)
		switch k := i % 20; {
		case k == 0:
			body = fmt.Sprintf("match: {type: authentication, outcome: failure, server.name: s-%d}\nthreshold: {count: {gte: %d}, window: 30m, group_by: [net.ip]}", i, n)
		case k < 4:
			body = fmt.Sprintf("match: {type: tool_call, mcp.tool: export.%d}\ndistinct: {field: mcp.resource, count: {gte: %d}, window: 5m, group_by: [net.ip]}", i, n)
		case k < 6:
			body = fmt.Sprintf("match: {type: tool_call, mcp.tool: dump.%d}\nsum: {field: io.rows, gte: %d, window: 5m, group_by: [net.ip]}", i, 1000*n)
		case k < 12:
			body = fmt.Sprintf(`match: {type: tool_call, io.args|re: '(?i)select_%d\s+\w{2,%d}[;=]'}`, i, n)
		}
		text := fmt.Sprintf("schema: rule/v1\nid: BP-%05d\nname: bench.n%d\ntitle: T\nseverity: medium\n%s\n", i, i, body)
		if err := os.WriteFile(filepath.Join(x.dir, fmt.Sprintf("%d.yaml", i)), []byte(text), 0o600); err != nil {
			x.t.Fatal(err)
		}
	}
}

// fill sends until so many groups are held: those of changed rules are gone.
func (x *reloadBench) fill() {
	for {
		n := reloadGroups - int(value(x.t, x.app.metrics.Groups))
		if n <= 0 {
			return
		}
		x.failures(min(n, 10_000))
		if err := x.app.Drain(x.t.Context()); err != nil {
			x.t.Fatal(err)
		}
	}
}

// failures sends events of which each begins a group of one of the counting rules.
func (x *reloadBench) failures(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	p, err := kafka.NewProducer(KafkaConfig(x.cfg), kafka.ProducerOptions{})
	if err != nil {
		x.t.Fatal(err)
	}
	defer p.Close()
	records := make([]kafka.Record, n)
	for i := range records {
		x.sent++
		records[i] = kafka.Record{Topic: "mcp.events", Value: fmt.Appendf(nil,
			`{"schema":"picket.event/1","id":"e-%d","time":%q,"type":"authentication","outcome":"failure","server":{"name":"s-%d","instance":"i"},"net":{"ip":"10.%d.%d.%d"}}`,
			x.sent, time.Now().UTC().Format(time.RFC3339Nano), x.sent%(reloadRules/20)*20, x.sent>>16, x.sent>>8&255, x.sent&255)}
	}
	if err := p.Produce(context.Background(), records); err != nil {
		x.t.Error(err)
	}
}

// quiet is the longest time for which a loop finished no record, until done.
func (x *reloadBench) quiet(done func() bool) (longest time.Duration) {
	type loop struct {
		records float64
		since   time.Time
	}
	loops := map[string]loop{}
	for {
		for _, name := range []string{role.Detect, role.Correlate} {
			l, now := loops[name], time.Now()
			if !l.since.IsZero() {
				longest = max(longest, now.Sub(l.since))
			}
			if n := value(x.t, x.app.metrics.Records.WithLabelValues(name)); n != l.records {
				loops[name] = loop{n, now}
			}
		}
		if done() {
			return longest
		}
		wait(x.t.Context(), 200*time.Microsecond)
	}
}

// stage is the time that a loop has spent in going over to other rules.
func (x *reloadBench) stage(name string) time.Duration {
	return time.Duration(value(x.t, x.app.metrics.Stages.WithLabelValues(name, "reload")) * float64(time.Second))
}

func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetGauge().GetValue() + out.GetCounter().GetValue()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
