package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"picket/detect"
)

// sameAlerts compares how alerts settled with what an undisturbed engine says: ids, counts and all else
// that is a function of the events. Evidence is that where a group had few events; see sameEvidence.
func (w *world) sameAlerts(got, want map[string]detect.Alert) {
	w.t.Helper()
	var wrong []string
	for id, a := range want {
		b, ok := got[id]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("missing: %s", said(a)))
		case said(a) != said(b):
			wrong = append(wrong, fmt.Sprintf("got:     %s\n    want:    %s", said(b), said(a)))
		default:
			if why := differentEvidence(a, b); why != "" {
				wrong = append(wrong, fmt.Sprintf("%s\n    %s", said(b), why))
			}
		}
	}
	for id, b := range got {
		if _, ok := want[id]; !ok {
			wrong = append(wrong, fmt.Sprintf("nothing explains: %s", said(b)))
		}
	}
	if len(wrong) == 0 {
		return
	}
	slices.Sort(wrong)
	w.t.Errorf("%d of %d alerts are not what an undisturbed engine says:\n    %s", len(wrong), len(want), strings.Join(wrong[:min(len(wrong), 20)], "\n    "))
}

// said is what must not depend on anything but the events and the rules.
func said(a detect.Alert) string {
	at := func(t time.Time) string { return t.Format("15:04:05.000") }
	var group []string
	for _, g := range a.Group {
		group = append(group, g.Field+"="+g.Value)
	}
	return fmt.Sprintf("%s %s %v bucket %s first %s last %s count %d value %g: %s; %s", a.ID, a.Rule.ID, group, at(a.BucketStart), at(a.First), at(a.Last),
		a.Count, a.Value, a.Why, a.Title)
}

// differentEvidence compares events by name. A group that had more events than an alert can show may show
// others of them, and so may a rule that takes steps from another rule.
func differentEvidence(want, got detect.Alert) string {
	names := func(a detect.Alert) []string {
		set := map[string]bool{}
		for _, e := range a.Evidence {
			set[e.EventID] = true
		}
		return slices.SortedFunc(maps.Keys(set), cmp.Compare)
	}
	x, y := names(want), names(got)
	if len(y) == 0 {
		return "has no evidence"
	}
	few := !slices.ContainsFunc(append(x, y...), func(id string) bool { return !strings.HasPrefix(id, fewPrefix) })
	if few && !slices.Contains(takers, got.Rule.ID) && !slices.Equal(x, y) {
		return fmt.Sprintf("evidence %v, want %v", y, x)
	}
	return ""
}
