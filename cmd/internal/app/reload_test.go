package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/detect"
)

// ruleText is a small rule.
func ruleText(id string, count int) string {
	return fmt.Sprintf("{schema: rule/v1, id: %s, name: t.%s, title: T, severity: high, match: {type: authentication, reason|list: why}, "+
		"threshold: {count: {gte: %d}, window: 1m, group_by: [net.ip]}}\n", id, strings.ToLower(strings.ReplaceAll(id, "-", "")), count)
}

// watched is a watcher over folders of its own, in a bubble of fake time.
type watched struct {
	t          *testing.T
	dir, lists string
	asked      chan os.Signal
	w          *watcher

	mu      sync.Mutex
	applied []string // hashes
	log     strings.Builder
}

func (x *watched) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.log.Write(b)
}

// said is what was logged since the last call.
func (x *watched) said() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.log.String()
	x.log.Reset()
	return s
}

func watch(t *testing.T, prepare func(x *watched)) *watched {
	t.Helper()
	x := &watched{t: t, dir: t.TempDir(), lists: t.TempDir(), asked: make(chan os.Signal, 1)}
	x.write(filepath.Join(x.lists, "l.yaml"), "why: [expired]\n")
	prepare(x)
	cfg := &config.Config{Rules: config.Rules{Dirs: []string{x.dir}, ListsDir: x.lists, Watch: 5 * time.Second}}
	rs, _, err := LoadRules(cfg, detect.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x.w = &watcher{
		cfg: cfg, log: slog.New(slog.NewTextHandler(x, nil)), metrics: role.NewMetrics(prometheus.NewRegistry()), rules: rs,
		apply: func(rs *detect.RuleSet) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.applied = append(x.applied, rs.Hash())
		},
	}
	x.w.metrics.Reloaded(rs.Hash())
	go x.w.run(t.Context(), x.asked)
	return x
}

func (x *watched) write(name, text string) {
	x.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// after lets time go by and counts the sets that came into force.
func (x *watched) after(d time.Duration) int {
	<-time.After(d) // of the bubble
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.applied)
}

func (x *watched) successful() float64 {
	var m dto.Metric
	if err := x.w.metrics.ReloadOK.Write(&m); err != nil {
		x.t.Fatal(err)
	}
	return m.GetGauge().GetValue()
}

func TestReloadTakesWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := ""
		x := watch(t, func(x *watched) {
			file = filepath.Join(x.dir, "a.yaml")
			x.write(file, ruleText("TT-01", 3)+"---\n"+ruleText("TT-02", 3))
		})
		if n := x.after(time.Minute); n != 0 || x.said() != "" {
			t.Fatalf("%d sets came into force though nothing changed", n)
		}
		x.write(file, ruleText("TT-01", 5)+"---\n"+ruleText("TT-03", 3))
		if n := x.after(10 * time.Second); n != 1 {
			t.Fatalf("%d sets came into force", n)
		}
		if s := x.said(); !strings.Contains(s, "added=[TT-03] removed=[TT-02] changed=[TT-01]") {
			t.Errorf("said %s", s)
		}
		x.write(filepath.Join(x.lists, "l.yaml"), "why: [expired, revoked]\n") // part of what the rules mean
		if n := x.after(10 * time.Second); n != 2 || !strings.Contains(x.said(), "changed=\"[TT-01 TT-03]\"") {
			t.Fatalf("a list changed: %d sets came into force", n)
		}
		x.write(file, strings.ReplaceAll(ruleText("TT-01", 5)+"---\n"+ruleText("TT-03", 3), "title: T", "title: U"))
		if n := x.after(10 * time.Second); n != 3 || !strings.Contains(x.said(), "reworded=\"[TT-01 TT-03]\"") {
			t.Fatalf("a title changed: %d sets came into force", n)
		}
		x.write(file, "# a comment\n"+strings.ReplaceAll(ruleText("TT-01", 5)+"---\n"+ruleText("TT-03", 3), "title: T", "title: U"))
		if n := x.after(10 * time.Second); n != 3 || x.said() != "" {
			t.Errorf("a comment changed: %d sets came into force", n)
		}
		x.write(file, strings.ReplaceAll(strings.Replace(ruleText("TT-01", 5), "high", "critical", 1)+"---\n"+ruleText("TT-03", 3), "title: T", "title: U"))
		if n := x.after(10 * time.Second); n != 4 || !strings.Contains(x.said(), "regraded=[TT-01] reworded=[]") {
			t.Errorf("a severity changed: %d sets came into force", n)
		}
		x.asked <- os.Interrupt
		if n := x.after(2 * time.Second); n != 4 || !strings.Contains(x.said(), "the same as before") {
			t.Errorf("asked without a change: %d sets came into force", n)
		}
	})
}

func TestReloadRefusesABadSetWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := watch(t, func(x *watched) { x.write(filepath.Join(x.dir, "a.yaml"), ruleText("TT-01", 3)) })
		bad := filepath.Join(x.dir, "b.yaml")
		for what, damage := range map[string]func(){
			"a wrong rule":   func() { x.write(bad, strings.Replace(ruleText("TT-02", 3), "threshold", "treshold", 1)) },
			"the same id":    func() { x.write(bad, ruleText("TT-01", 4)) },
			"a list is gone": func() { _ = os.Remove(filepath.Join(x.lists, "l.yaml")); x.write(bad, ruleText("TT-02", 3)) },
			"all are gone":   func() { _ = os.Rename(x.dir, x.dir+"-old") },
		} {
			damage()
			if n := x.after(time.Minute); n != 0 || x.successful() != 0 {
				t.Errorf("%s: %d sets came into force, successful is %v", what, n, x.successful())
			}
			s := x.said()
			if n := strings.Count(s, "not reloaded"); n != 1 {
				t.Errorf("%s: told %d times, want once: %s", what, n, s)
			}
			if what == "a wrong rule" && (!strings.Contains(s, "b.yaml:1:") || !strings.Contains(s, "threshold")) {
				t.Errorf("%s: no place or suggestion in %s", what, s)
			}
			x.asked <- os.Interrupt
			if x.after(5 * time.Second); !strings.Contains(x.said(), "not reloaded") {
				t.Errorf("%s: asked again, and not told again", what)
			}
			_ = os.Rename(x.dir+"-old", x.dir)
			_ = os.Remove(bad)
			x.write(filepath.Join(x.lists, "l.yaml"), "why: [expired]\n")
			if n := x.after(time.Minute); n != 0 || x.successful() != 1 {
				t.Errorf("%s, and mended: %d sets came into force, successful is %v", what, n, x.successful())
			}
			if s := x.said(); strings.Count(s, "right again") != 1 {
				t.Errorf("%s, and mended: said %q", what, s)
			}
		}
	})
}

// Whoever asks has written the files: nothing is waited for.
func TestReloadIsAtOnceWhenAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := ""
		x := watch(t, func(x *watched) {
			file = filepath.Join(x.dir, "a.yaml")
			x.write(file, ruleText("TT-01", 3))
		})
		x.after(time.Second) // between two looks of its own
		x.write(file, ruleText("TT-01", 5))
		x.asked <- os.Interrupt
		if n := x.after(0); n != 1 || !strings.Contains(x.said(), "changed=[TT-01]") {
			t.Errorf("%d sets came into force", n)
		}
		if n := x.after(time.Minute); n != 1 || x.said() != "" {
			t.Errorf("%d sets came into force, the last without a change", n)
		}
	})
}

// An editor or a copy that is not done yet must not be taken for the new rules.
func TestReloadWaitsForHalfWrittenFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := ""
		x := watch(t, func(x *watched) {
			file = filepath.Join(x.dir, "a.yaml")
			x.write(file, ruleText("TT-01", 3))
		})
		x.after(10 * time.Second)
		text := ruleText("TT-01", 3)
		for i := range 40 { // each state of the file is a valid set, a little longer than the one before
			text += "---\n" + ruleText(fmt.Sprintf("TT-%d", 10+i), 3)
			x.write(file, text)
			if n := x.after(settleTime / 2); n != 0 {
				t.Fatalf("a set came into force while the file was being written: %s", x.said())
			}
		}
		if n := x.after(10 * time.Second); n != 1 || !strings.Contains(x.said(), "rules=41") {
			t.Errorf("%d sets came into force after the file was done", n)
		}
	})
}

// Kubernetes mounts a ConfigMap as links through ..data, which it swaps in one step.
func TestReloadFollowsAConfigMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := func(x *watched, n, count int) {
			dir := fmt.Sprintf("..2026_%d", n)
			if err := os.Mkdir(filepath.Join(x.dir, dir), 0o700); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(x.dir, dir, "a.yaml")
			x.write(name, ruleText("TT-01", count))
			at := time.Unix(1_700_000_000, 0) // as long, and as old: only what the link leads to differs
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(dir, filepath.Join(x.dir, "..tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(x.dir, "..tmp"), filepath.Join(x.dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		x := watch(t, func(x *watched) {
			version(x, 1, 3)
			if err := os.Symlink("..data/a.yaml", filepath.Join(x.dir, "a.yaml")); err != nil {
				t.Fatal(err)
			}
		})
		x.after(10 * time.Second)
		version(x, 2, 5)
		_ = os.RemoveAll(filepath.Join(x.dir, "..2026_1"))
		if n := x.after(10 * time.Second); n != 1 || !strings.Contains(x.said(), "changed=[TT-01]") {
			t.Errorf("%d sets came into force", n)
		}
	})
}
