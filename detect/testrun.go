package detect

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TestResult is the outcome of one rule test.
type TestResult struct {
	Rule   *Rule
	Case   TestCase
	Failed string // what differs from the expectation; empty when it passed
	Took   time.Duration
	Alerts []Alert // final state of each, by bucket
}

// RunTests runs the tests of every rule that keep accepts; nil keeps all. Each
// test has the whole set before it, through the same engine that runs live, and
// looks at the alerts of its own rule.
func (rs *RuleSet) RunTests(keep func(*Rule, TestCase) bool) []TestResult {
	var out []TestResult
	for _, r := range rs.Rules() {
		for _, c := range r.Tests() {
			if keep == nil || keep(r, c) {
				out = append(out, rs.RunTest(r, c))
			}
		}
	}
	return out
}

// Outcome says what came of a test, apart from what it expects.
func (res TestResult) Outcome() string {
	if len(res.Alerts) == 0 {
		return "no alert"
	}
	counts := make([]string, len(res.Alerts))
	for i := range res.Alerts {
		counts[i] = strconv.FormatUint(res.Alerts[i].Count, 10)
	}
	s := "1 alert"
	if n := len(res.Alerts); n > 1 {
		s = strconv.Itoa(n) + " alerts"
	}
	return s + " of " + strings.Join(counts, ", ")
}

// RunTest runs one test, which uses its events up, and looks at the alerts of r. The test may be
// of another set's rule with that id.
func (rs *RuleSet) RunTest(r *Rule, c TestCase) TestResult {
	start := time.Now()
	res := TestResult{Rule: r, Case: c}
	e := NewEngine(rs, plainHasher{}, 15*time.Minute, WindowOptions{})
	var said []Alert
	last := TestStart
	for _, te := range c.Events {
		said = e.Observe(said, te.Event, func(string) bool { return true })
		if te.Event.Append.After(last) {
			last = te.Event.Append
		}
	}
	said = e.Settle(said, last.Add(Rewind(rs, 15*time.Minute)))
	final := map[string]Alert{}
	for _, a := range said {
		if a.Rule.ID == r.Info.ID {
			final[a.ID] = a
		}
	}
	res.Alerts = slices.SortedFunc(maps.Values(final), func(a, b Alert) int {
		return cmp.Or(a.BucketStart.Compare(b.BucketStart), strings.Compare(a.ID, b.ID))
	})
	res.Failed = c.Expect.differs(res.Alerts)
	if res.Failed != "" && len(res.Alerts) == 0 {
		res.Failed += ungrouped(r, c)
	}
	res.Took = time.Since(start)
	return res
}

// ungrouped says when events could not be grouped: the commonest reason for silence.
func ungrouped(r *Rule, c TestCase) string {
	for _, te := range c.Events {
		for _, t := range r.GroupBy {
			if _, _, _, ok := te.Event.groupRaw(t); !ok {
				return fmt.Sprintf(" (an event has no %s, which the rule groups by: such events are skipped)", t)
			}
		}
	}
	return ""
}

func (x Expect) differs(alerts []Alert) string {
	if len(alerts) != x.Alerts {
		return fmt.Sprintf("expected %d alerts, got %d", x.Alerts, len(alerts))
	}
	for _, a := range alerts {
		for field, want := range x.Group {
			got, ok := groupValue(a, field)
			switch {
			case !ok:
				return fmt.Sprintf("expected the group to have %s, it has %s", field, groupText(a.Group))
			case got != want:
				return fmt.Sprintf("expected %s %q in the group, got %q", field, want, got)
			}
		}
	}
	if x.Count != nil && len(alerts) > 0 {
		if got := alerts[len(alerts)-1].Count; got != uint64(*x.Count) {
			return fmt.Sprintf("expected count %d, got %d", *x.Count, got)
		}
	}
	return ""
}

func groupValue(a Alert, field string) (string, bool) {
	for _, v := range a.Group {
		if v.Field == field {
			if _, raw, ok := strings.Cut(v.Value, "#"); ok && v.Key == "" {
				return raw, true // a reduced value, with what would be its pseudonym
			}
			return v.Value, true
		}
	}
	return "", false
}

// plainHasher keeps values readable, so that tests can name them.
type plainHasher struct{}

func (plainHasher) Pseudonym(_, _, value string, _ time.Time) (string, string) { return value, "test" }

func (plainHasher) KeyAt(time.Time) string { return "test" }

func (plainHasher) GroupHash(tenant string, parts ...string) (out [16]byte) {
	h := sha256.New()
	for _, p := range append([]string{tenant}, parts...) {
		_, _ = io.WriteString(h, fmt.Sprintf("%d:%s", len(p), p)) // a hash takes everything
	}
	copy(out[:], h.Sum(nil))
	return out
}
