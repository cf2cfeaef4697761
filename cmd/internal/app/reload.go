package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/detect"
	"picket/detect/diag"
)

// settleTime is for how long rule files must stay the same before they are taken unasked: an
// editor, a copy or a deployment may be half-way through them.
const settleTime = time.Second

// watcher puts new rules in force: when it is asked to, and when their files have changed.
// The set is taken whole or not at all. One goroutine owns it.
type watcher struct {
	cfg     *config.Config
	log     *slog.Logger
	metrics *role.Metrics
	apply   func(*detect.RuleSet) // hands the set to the roles and counts it

	rules *detect.RuleSet // in force
	tried string          // what the files looked like when they were last read
	sum   [sha256.Size]byte

	refused bool // the last set was
}

// run watches until the context ends.
func (w *watcher) run(ctx context.Context, asked <-chan os.Signal) {
	var tick <-chan time.Time
	if every := w.cfg.Rules.Watch; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			w.log.Info("asked to reload the rules")
			w.reload(ctx, true)
		case <-tick:
			if w.look() != w.tried {
				w.reload(ctx, false)
			}
		}
	}
}

// look says what the files look like, without reading them.
func (w *watcher) look() string {
	var b strings.Builder
	for _, dir := range append([]string{w.cfg.Rules.ListsDir}, w.cfg.Rules.Dirs...) {
		if dir == "" {
			continue
		}
		err := walkRules(os.DirFS(dir), func(name string) error {
			to, err := filepath.EvalSymlinks(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			info, err := os.Stat(to)
			if err == nil {
				fmt.Fprintf(&b, "%q %d %d\n", to, info.Size(), info.ModTime().UnixNano())
			}
			return err
		})
		fmt.Fprintf(&b, "%q %v\n", dir, err)
	}
	return b.String()
}

// settled reads the files until they stay as they are, or the context ends. Whoever asks says
// that they are done: then it is enough that they stay while they are read.
func (w *watcher) settled(ctx context.Context, asked bool) (src *ruleFiles, err error) {
	var was string
	for began := time.Now(); ; {
		w.tried = w.look()
		src, err = readRules(w.cfg)
		now := w.tried
		if err == nil {
			now += fmt.Sprintf("%x", src.sum())
		}
		if now == was || asked && w.look() == w.tried {
			return src, err
		}
		if was = now; time.Since(began) > time.Minute {
			began = time.Now()
			w.log.Warn("rule files keep changing: they are taken when they have not changed for a while", "while", settleTime)
		}
		t := time.NewTimer(settleTime)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
}

// reload takes the rules as they are, if there is something new or it was asked for.
func (w *watcher) reload(ctx context.Context, asked bool) {
	src, err := w.settled(ctx, asked)
	if ctx.Err() != nil {
		return
	}
	var sum [sha256.Size]byte
	if err == nil {
		if sum = src.sum(); sum == w.sum && !asked {
			return // touched, or refused before
		}
	}
	w.sum = sum
	began := time.Now()
	var next *detect.RuleSet
	var warnings diag.Problems
	if err == nil {
		next, warnings, err = src.compile(w.cfg, detect.LoadOptions{Now: began})
	}
	if err != nil {
		w.refuse(err)
		return
	}
	for _, p := range warnings {
		w.log.Warn("rule: " + p.String())
	}
	w.metrics.Reloaded(next.Hash())
	mended := w.refused
	w.refused = false
	c := CompareRules(w.rules, next)
	if c.None() {
		switch {
		case mended:
			w.log.Info("the rules are right again, and the same as those in force", "rules", len(next.Rules()), "hash", next.Hash())
		case asked:
			w.log.Info("rules are the same as before", "rules", len(next.Rules()), "hash", next.Hash())
		}
		return
	}
	w.apply(next)
	w.rules = next
	w.log.Info("rules reloaded", "rules", len(next.Rules()), "hash", next.Hash(), "added", c.Added, "removed", c.Removed,
		"changed", c.Changed, "regraded", c.Regraded, "reworded", c.Reworded, "took", time.Since(began).Round(time.Millisecond))
}

// maxProblems is how many of a set's problems are logged; 'picket check rules' shows all.
const maxProblems = 20

func (w *watcher) refuse(err error) {
	w.refused = true
	w.metrics.ReloadOK.Set(0)
	problems := diag.Problems{{Msg: err.Error()}}
	errors.As(err, &problems)
	w.log.Error("rules not reloaded: the new ones are wrong, and those in force stay", "problems", len(problems),
		"rules", len(w.rules.Rules()), "hash", w.rules.Hash())
	for _, p := range problems[:min(len(problems), maxProblems)] {
		w.log.Error("rule: " + p.String())
	}
}

// RuleChanges are ids of rules. Changed ones begin anew; those of another severity or mode, or with
// other words only, keep their windows.
type RuleChanges struct {
	Added    []string `json:"added"`
	Removed  []string `json:"removed"`
	Changed  []string `json:"changed"`
	Regraded []string `json:"regraded"`
	Reworded []string `json:"reworded"`
}

// None reports whether all rules are as before.
func (c *RuleChanges) None() bool {
	return len(c.Added)+len(c.Removed)+len(c.Changed)+len(c.Regraded)+len(c.Reworded) == 0
}

// CompareRules says what makes the next set another one.
func CompareRules(old, next *detect.RuleSet) RuleChanges {
	c := RuleChanges{[]string{}, []string{}, []string{}, []string{}, []string{}} // as [] in the log, not as null
	for _, r := range next.Rules() {
		switch was := old.ByID(r.Info.ID); {
		case was == nil:
			c.Added = append(c.Added, r.Info.ID)
		case was.Hash != r.Hash:
			c.Changed = append(c.Changed, r.Info.ID)
		case was.Severity != r.Severity || was.Mode != r.Mode:
			c.Regraded = append(c.Regraded, r.Info.ID)
		case !sameWords(was, r):
			c.Reworded = append(c.Reworded, r.Info.ID)
		}
	}
	for _, r := range old.Rules() {
		if next.ByID(r.Info.ID) == nil {
			c.Removed = append(c.Removed, r.Info.ID)
		}
	}
	return c
}

// sameWords reports whether two rules of one meaning also say the same.
func sameWords(a, b *detect.Rule) bool {
	type words struct {
		info             detect.RuleInfo
		status, title    string
		context          []detect.Field
		confidence, risk int
		falsePositives   []string
	}
	of := func(r *detect.Rule) words {
		return words{r.Info, r.Status, r.Title, r.Context, r.Confidence, r.Risk, r.FalsePositives}
	}
	return reflect.DeepEqual(of(a), of(b))
}
