package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	stormFor  = flag.Duration("storm", 10*time.Second, "how long TestDetectorsUnderKills sends events and kills")
	stormSeed = flag.Uint64("storm-seed", 0, "seed of TestDetectorsUnderKills; 0 takes the clock")
)

// TestDetectorsUnderKills sends events for every detector through a real broker to instances of detect and
// correlate that are killed, stopped, joined and frozen at random. Every alert must settle as in one engine
// that nothing ever happened to. A longer run: go test ./cmd/internal/e2e -run DetectorsUnderKills -storm 5m
func TestDetectorsUnderKills(t *testing.T) {
	short(t)
	needsJava(t)
	t.Parallel()
	seed := *stormSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (-storm-seed %d -storm %s)", seed, seed, *stormFor)
	w := newFiles(t, true, ruleLines(stormRules), 2*time.Second)
	w.startKafka()
	w.topics()
	m := &mob{w: w, r: rand.New(rand.NewPCG(seed, 1)), runs: map[string]*run{}, did: map[string]int{}}
	for _, role := range []string{"detect", "correlate"} {
		m.join(role)
		m.join(role)
	}
	s := &storm{r: rand.New(rand.NewPCG(seed, 2)), lateness: w.lateness}
	events, noMore := context.WithTimeout(t.Context(), *stormFor)
	defer noMore()
	after, end := context.WithCancel(t.Context())
	defer end()
	blown, blowing := s.blow(events, after, w)
	m.rage(events)
	<-blown
	t.Logf("%d events; %v", s.n, m.did)

	want := w.reference()
	fired := map[string]int{}
	for _, a := range want {
		fired[a.Rule.ID]++
	}
	t.Logf("%d alerts: %v", len(want), fired)
	for line := range strings.Lines(strings.TrimSpace(stormRules)) {
		if id := line[5:10]; fired[id] == 0 {
			t.Errorf("%s did not fire: the events do not try it", id)
		}
	}
	eventually(t, 60*time.Second, "alerts have settled", func() bool {
		got, _ := w.alerts()
		return len(got) >= len(want)
	})
	end()
	blowing.Wait()
	got, _ := w.alerts()
	w.sameAlerts(got, want)
	m.check()
}

// ruleLines makes documents of lines that leave out what every rule has.
func ruleLines(lines string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		fmt.Fprintf(&b, "{schema: rule/v1, title: t, severity: high, %s\n---\n", line[1:])
	}
	return strings.TrimSuffix(b.String(), "---\n")
}

// mob is instances that are killed and started again.
type mob struct {
	w     *world
	r     *rand.Rand
	names int
	runs  map[string]*run // by instance, which begins with its role
	all   []*run
	did   map[string]int
}

func (m *mob) join(role string) {
	m.names++
	m.start(fmt.Sprintf("%s-%d", role, m.names))
}

func (m *mob) start(name string) {
	role, _, _ := strings.Cut(name, "-")
	r := m.w.run(name, "--roles", role)
	m.runs[name] = r
	m.all = append(m.all, r)
}

// rage does something to somebody every now and then. Two of each role are left at the end.
func (m *mob) rage(ctx context.Context) {
	m.w.t.Helper()
	for {
		pause := time.NewTimer(time.Duration(200+m.r.IntN(800)) * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		for _, r := range m.runs {
			if !r.alive() {
				m.w.t.Fatalf("%s has ended by itself: %v", r.name, r.err)
			}
		}
		role := []string{"detect", "correlate"}[m.r.IntN(2)]
		var names []string
		for name := range m.runs {
			if strings.HasPrefix(name, role) {
				names = append(names, name)
			}
		}
		name := names[m.r.IntN(len(names))]
		r := m.runs[name]
		switch n := m.r.IntN(20); {
		case n < 10:
			m.did["kills"]++
			r.kill()
			m.start(name)
		case n < 13 && len(names) < 3:
			m.did["joins"]++
			m.join(role)
		case n < 15 && len(names) > 2:
			m.did["kills for good"]++
			r.kill()
			delete(m.runs, name)
		case n < 17 && len(r.said("picket is running", "")) > 0:
			m.did["leaves"]++
			r.signal(syscall.SIGCONT) // it may be frozen
			r.interrupt()
			m.start(name)
		default:
			m.did["freezes"]++
			r.signal(syscall.SIGSTOP)
			pause := time.Duration(m.r.IntN(2000)) * time.Millisecond
			if m.r.IntN(3) == 0 && *stormFor > time.Minute {
				m.did["zombies"]++
				pause = 12 * time.Second // past its session
			}
			time.AfterFunc(pause, func() { r.signal(syscall.SIGCONT) })
		}
	}
}

// check says what the instances saw, so that a run that tried nothing is noticed.
func (m *mob) check() {
	seen := map[string]int{}
	for _, r := range m.all {
		seen["windows rebuilt"] += len(r.said("rebuilding windows", "correlate"))
		for _, l := range r.log() {
			if strings.Contains(l, "panic") || strings.Contains(l, "DATA RACE") {
				m.w.t.Errorf("%s: %s", r.name, l)
			}
		}
	}
	m.w.t.Logf("%v", maps.Clone(seen))
	if seen["windows rebuilt"] == 0 {
		m.w.t.Error("no instance had to rebuild its windows: the test shows nothing")
	}
}
