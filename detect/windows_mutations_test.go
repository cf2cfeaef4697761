package detect

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutations", false, "run the oracle on engines with something switched off")

// mutations switch one thing off each. The text to replace must be in the file once, so that a
// mutation cannot outlive what it breaks.
var mutations = []struct{ name, file, old, new string }{
	{"late events are counted", "collect.go", "if ev.Late {", "if false {"},
	{"late events never fire", "collect.go", "if !rule.Detector.single() {", "if true {"},
	{"late events fire at the time they claim", "collect.go", "at = ev.Append //", "at = ev.Time //"},
	{"groups of different tenants meet", "collect_group.go", "hash := c.keys.GroupHash(ev.text[Tenant], c.parts...)", "hash := c.keys.GroupHash(\"\", c.parts...)"},
	{"an event's server is not part of its identity", "collect.go", `"id", ev.text[ServerInstance], ev.text[ID])`, `"id", ev.text[ID])`},
	{"a point enters as often as it comes", "windows_group.go", "from = at\n\t\t}\n\t\tif there {", "from = at\n\t\t}\n\t\tif there = false; there {"},
	{"signals of an older batch are taken", "windows.go", "case s.Begin < src.begin:", "case s.Begin < -1:"},
	{"a batch's signals are taken twice", "windows.go", "if dup := src.seen.add(key); dup {", "if dup := src.seen.add(key); false && dup {"},
	{"a restart does not rewind", "windows.go", "return time.Duration(longest)*time.Millisecond + max(lateness, MaxFuture)", "return 0"},
	{"a restart rewinds by the lateness alone", "windows.go", "return time.Duration(longest)*time.Millisecond + max", "return max"},
	{"what sources settle later does not lengthen the rewind", "detector.go", "r.plan.hold = max(r.plan.hold, f.rule.plan.hold+window)", "_ = f"},
	{"the watermark is that of the fastest source", "windows.go", "low := int64(math.MaxInt64)\n\tfor _, s := range w.sources {\n\t\tlow = min(", "low := int64(math.MinInt64)\n\tfor _, s := range w.sources {\n\t\tlow = max("},
	{"the watermark does not wait for every source", "windows.go", "if len(w.sources) < int(w.expected) {", "if false {"},
	{"the watermark does not wait for the lateness", "windows.go", "w.settle(dst, low-w.lateness)", "w.settle(dst, low)"},
	{"points leave a window by what came last", "windows_judge.go", "c.seek(end, at-span)", "c.seek(end, r.time(n-1)-span)"},
	{"an alert begins with its first completion", "windows_judge.go", "b.completed, b.first = at, g.began(at)", "b.completed, b.first = at, at"},
	{"points never leave the window of a count", "windows_judge.go", "for low.time(lo) <= at-span {", "for low.time(lo) < 0 {"},
	{"a group with just as many points as it takes is not judged", "windows_judge.go", "if n < g.rule.least {", "if n <= g.rule.least {"},
	{"points never leave a window", "windows_judge.go", "c.leave(c.lo)\n\t}\n\tfor ; c.lo > c.base", "_ = c\n\t}\n\tfor ; c.lo > c.base"},
	{"a window is a millisecond too long", "windows_judge.go", "value, ok = c.meter.holds(at - span)", "value, ok = c.meter.holds(at - span - 1)"},
	{"a late event completes only itself", "windows_group.go", "w.judge(g, low, high+max(1, g.rule.window), points)", "w.judge(g, low, high+1, points)"},
	{"going back keeps what came later", "meter_sequence.go", "for ; n > 0 && m.log[n-1].at >= at; n-- {", "for ; false; n-- {"},
	{"a bucket begins a second late", "windows_group.go", "start := at - mod(at, g.rule.bucket)", "start := at - mod(at-1000, g.rule.bucket)"},
	{"points that left a window do not count in its bucket", "windows_gone.go", "\t\t\t\t\tevents++\n", ""},
	{"until events count", "windows_group.go", "return !g.rule.streams[p.stream()].silent", "return true"},
	{"nothing undoes an ordered sequence", "meter_sequence.go", "undone := m.mask&m.untilBit() != 0", "undone := false"},
	{"nothing undoes an unordered sequence", "meter_unordered.go", "if m.mask != steps {", "if false {"},
	{"sequences have no order", "meter.go", "if d.Ordered {", "if false {"},
	{"one event takes several steps", "meter_sequence.go", "for i := m.shared - 1; i >= 0; i-- {", "for i := range m.shared {"},
	{"one event takes several steps without order", "meter_unordered.go", "if m.have[set] < need {", "if set&(set-1) == 0 && m.have[set] < need {"},
	{"a fieldref compares nothing", "collect.go", "parts = append(parts, raw)\n", "_ = raw\n"},
	{"a ratio is judged of too few", "meter.go", " && float64(m.all) >= m.d.Total", ""},
	{"the value of an any rule is that of the first part that holds", "meter.go", "if held == 0 || m.any {", "if held == 0 {"},
	{"of two that share points only one sees what both do", "collect.go", "step = s.with - 1", "_ = s"},
	{"a point without a value has one", "meter.go", "p.stream() == v.also && p.value != 0", "p.stream() == v.also"},
	{"settled rules are judged at once", "windows_group.go", "if !ok || g.rule.plan.settled {", "if !ok {"},
	{"an absence ends a millisecond early", "windows_judge.go", "return f.i == f.n || f.time(f.i) > at+g.rule.window", "return f.i == f.n || f.time(f.i) >= at+g.rule.window"},
	{"only the first completion is handed on", "windows_judge.go", "w.fire(g, at, value, in)\n\t\t\tw.feed(g, &r, i, end, in)", "if b := g.bucketAt(at); b == nil || !b.fired {\n\t\t\t\tw.fire(g, at, value, in)\n\t\t\t\tw.feed(g, &r, i, end, in)\n\t\t\t}"},
	{"what takes from a settled rule does not wait for it", "detector.go", "r.plan.lag = max(r.plan.lag, known)", "_ = known"},
	{"what takes from a rule in panes does not wait for their end", "detector.go", "known += src.Detector.Resolution.Milliseconds()", "known += 0"},
	{"panes are not aligned", "windows_group.go", "at := p.Time - mod(p.Time, g.rule.pane)", "at := p.Time"},
	{"a reload empties all windows", "windows_reload.go", "s := old[r.Hash]", "s := old[[16]byte{}]"},
	{"exceptions never expire", "ruleload_alert.go", "until = end.UnixNano()", "_ = end.UnixNano()"},
}

func mutated(t *testing.T, file, old, new string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), old); n != 1 {
		t.Fatalf("%s has %q %d times, the mutation needs it once", file, old, n)
	}
	return strings.Replace(string(b), old, new, 1)
}

// Each mutation turns the oracle red, or the test of what random rules meet too seldom; without -mutations it is only held to the code that it changes.
func TestMutationsAreFound(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			text := mutated(t, m.file, m.old, m.new)
			if !*mutate {
				return
			}
			tmp := t.TempDir()
			source, overlay := filepath.Join(tmp, m.file), filepath.Join(tmp, "overlay.json")
			replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(dir, m.file): source}})
			if err != nil {
				t.Fatal(err)
			}
			for name, b := range map[string][]byte{source: []byte(text), overlay: replace} {
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-vet=off", "-run", "^(TestOracle|TestWhatTakesFromPanesWaitsForTheirEnd)$", ".",
				"-rapid.checks=2000", "-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=0s").CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("the oracle stays green with %q", m.new)
			case !strings.Contains(string(out), "--- FAIL: Test") && !strings.Contains(string(out), "panic"):
				t.Errorf("the oracle did not run: %v\n%s", err, out)
			}
		})
	}
}
