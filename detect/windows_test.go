package detect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

func loadLines(text string) (*RuleSet, error) {
	return Load(fstest.MapFS{"rules.yaml": {Data: []byte(strings.TrimSuffix(text, "---\n"))}})
}

// tried counts the cases of something.
type tried struct{ cases, firedCases, alerts int }

// Alerts are a function of the events and the rules alone: over random rules and histories the
// engine tells the alerts, and the final counts, of an evaluator that is too simple to be wrong.
// make oracle runs many.
func TestOracle(t *testing.T) {
	byFeature, census := map[string]*tried{}, map[string]int{}
	for _, f := range features {
		byFeature[f] = &tried{}
	}
	total := 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		o := obvious{}
		for _, part := range w.parts {
			o.events = append(o.events, part...)
		}
		want := o.expected(w.specs, w.sets[0])
		got := w.run()
		for _, id := range slices.Sorted(maps.Keys(want)) { // the same failure every time
			x := want[id]
			a, ok := got[id]
			switch {
			case !ok:
				t.Fatalf("%s: no alert, expected count %d\n%s", x.text, x.count, x.spec.yaml())
			case a.Count != x.count || !a.Settled || a.Mode != x.mode:
				t.Fatalf("%s: count %d, settled %t, %s; expected count %d, settled, %s\n%s", x.text, a.Count, a.Settled, a.Mode, x.count, x.mode, x.spec.yaml())
			case a.Value != x.value:
				t.Fatalf("%s: value %g, expected %g\n%s", x.text, a.Value, x.value, x.spec.yaml())
			case a.Last.UnixMilli() != x.last:
				t.Fatalf("%s: last %s, expected %s\n%s", x.text, a.Last.Format(time.TimeOnly), time.UnixMilli(x.last).UTC().Format(time.TimeOnly), x.spec.yaml())
			case a.First.UnixMilli() != x.first:
				t.Fatalf("%s: began at %s, expected %s\n%s", x.text, a.First.Format(time.TimeOnly), time.UnixMilli(x.first).UTC().Format(time.TimeOnly), x.spec.yaml())
			}
		}
		for _, id := range slices.Sorted(maps.Keys(got)) {
			a := got[id]
			if _, ok := want[id]; !ok && strings.HasPrefix(a.Rule.ID, "TT-") {
				t.Fatalf("%s from %s at %s: alert with count %d that no window explains", a.Rule.ID, groupText(a.Group), a.BucketStart, a.Count)
			}
		}
		total++
		for what := range w.census {
			census[what]++
		}
		count(byFeature, w.specs, want)
	})
	table := fmt.Sprintf("%d random sets of rules and events\n%-16s %7s %7s %7s %9s\n", total, "detector", "cases", "fired", "share", "alerts")
	for _, f := range features {
		n := byFeature[f]
		table += fmt.Sprintf("%-16s %7d %7d %6.0f%% %9d\n", f, n.cases, n.firedCases, 100*float64(n.firedCases)/float64(max(1, n.cases)), n.alerts)
		if n.cases >= 40 && n.firedCases*20 < n.cases || total >= 100 && n.cases == 0 {
			t.Errorf("%s fired in %d of %d cases: the generator does not try it", f, n.firedCases, n.cases)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(census)) {
		table += fmt.Sprintf("%5.0f%% have %s\n", 100*float64(census[what])/float64(total), what)
	}
	t.Log(table)
}

func count(byFeature map[string]*tried, specs []*spec, want map[string]wanted) {
	alerts := map[*spec]int{}
	for _, x := range want {
		alerts[x.spec]++
	}
	in, fired := map[string]bool{}, map[string]bool{}
	for _, s := range specs {
		in[s.feature] = true
		fired[s.feature] = fired[s.feature] || alerts[s] > 0
		byFeature[s.feature].alerts += alerts[s]
	}
	for f := range in {
		byFeature[f].cases++
		if fired[f] {
			byFeature[f].firedCases++
		}
	}
}
