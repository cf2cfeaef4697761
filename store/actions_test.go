package store

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

// several writes alerts of two tenants, rules, severities and modes, an hour apart; the first is the newest.
func several(t *testing.T, db *DB) []detect.Alert {
	t.Helper()
	out := []detect.Alert{alert(5, false), alert(6, true), alert(7, true), alert(8, true)}
	for i := range out {
		a := &out[i]
		a.ID, a.FiredAt = pseudonym(fmt.Sprint("alert", i)), day.Add(-time.Duration(i)*time.Hour)
	}
	out[1].Severity, out[1].Rule.ID = "critical", "IN-01"
	out[2].Tenant = "other"
	out[3].Mode, out[3].Evidence, out[3].Group = "shadow", []detect.Evidence{}, []detect.GroupValue{}
	if err := NewAlertWriter(db).Write(t.Context(), out...); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAlertsAreChosen(t *testing.T) {
	db := migrated(t)
	all := several(t, db)
	acked := all[1]
	if err := NewAlertWriter(db).Act(t.Context(), Action{Tenant: acked.Tenant, AlertID: acked.ID, State: StateAcked, Actor: "ada"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    AlertFilter
		want string // indexes
	}{
		"all, the newest first": {AlertFilter{}, "0123"},
		"the newest two":        {AlertFilter{Limit: 2}, "01"},
		"by rule":               {AlertFilter{Rules: []string{"IN-01", "XX-01"}}, "1"},
		"by severity":           {AlertFilter{Severities: []string{"critical", "low"}}, "1"},
		"by tenant":             {AlertFilter{Tenant: "other"}, "2"},
		"by mode":               {AlertFilter{Modes: []string{"shadow"}}, "3"},
		"by state":              {AlertFilter{States: []string{StateOpen}}, "023"},
		"since":                 {AlertFilter{Since: day.Add(-time.Hour)}, "01"},
		"until":                 {AlertFilter{Until: day.Add(-time.Hour)}, "23"},
		"by the whole id":       {AlertFilter{ID: all[2].ID}, "2"},
		"by its beginning":      {AlertFilter{ID: all[2].ID[:8]}, "2"},
		"none of both":          {AlertFilter{Rules: []string{"IN-01"}, Severities: []string{"high"}}, ""},
		"text that is SQL":      {AlertFilter{Tenant: `other' OR '1'='1`, Rules: []string{`\'`, hostile[0]}}, ""},
	} {
		got, err := db.Alerts(t.Context(), c.f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		which := ""
		for _, a := range got {
			for i := range all {
				if all[i].ID == a.ID {
					which += fmt.Sprint(i)
				}
			}
		}
		if which != c.want {
			t.Errorf("%s: %q, want %q", name, which, c.want)
		}
	}
	got, err := db.Alerts(t.Context(), AlertFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if s := got[1]; s.State != StateAcked || s.StateBy != "ada" || time.Since(s.StateAt) > time.Hour {
		t.Errorf("the acked one: %+v", s)
	}
	if s := got[0]; s.State != StateOpen || s.StateBy != "" || !s.StateAt.IsZero() || len(s.Told) != 0 {
		t.Errorf("an open one: %+v", s)
	}
	for i, s := range got { // what the topic said is what the store says
		want := all[i]
		for n := range want.Evidence {
			if want.Evidence[n].Context == nil {
				want.Evidence[n].Context = s.Evidence[n].Context // none is none, as nil or empty
			}
		}
		if !reflect.DeepEqual(utc(s.Alert), utc(want)) {
			t.Errorf("alert %d came back as\n%+v\nwant\n%+v", i, s.Alert, want)
		}
	}
}

// utc makes times comparable.
func utc(a detect.Alert) detect.Alert {
	for _, at := range []*time.Time{&a.BucketStart, &a.BucketEnd, &a.First, &a.Last, &a.FiredAt} {
		*at = at.UTC().Truncate(time.Millisecond)
	}
	ev := append([]detect.Evidence{}, a.Evidence...)
	for i := range ev {
		ev[i].Time = ev[i].Time.UTC().Truncate(time.Millisecond)
	}
	a.Evidence = ev
	return a
}

func TestTheLastActionCounts(t *testing.T) {
	for name, columnar := range map[string]bool{"native body": false, "driver's columns": true} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t)
			db.columnar = columnar
			w, all := NewAlertWriter(db), several(t, db)
			act := func(a *detect.Alert, state, note string) {
				t.Helper()
				if err := w.Act(t.Context(), Action{Tenant: a.Tenant, AlertID: a.ID, State: state, Actor: "ada", Note: note}); err != nil {
					t.Fatal(err)
				}
			}
			for _, state := range []string{StateAcked, StateAcked, StateSuppressed, StateOpen, StateResolved} {
				act(&all[0], state, "note of "+state+" "+hostile[0])
			}
			act(&all[2], StateAcked, "")
			done, err := db.Actions(t.Context(), all[0].Tenant, all[0].ID)
			if err != nil || len(done) != 5 || done[4].State != StateResolved || done[4].Note != "note of resolved "+hostile[0] || done[0].Actor != "ada" {
				t.Errorf("%v: %+v", err, done)
			}
			got, err := db.Alerts(t.Context(), AlertFilter{ID: all[0].ID})
			if err != nil || len(got) != 1 || got[0].State != StateResolved || !got[0].StateAt.Equal(done[4].At) {
				t.Errorf("%v: %+v", err, got)
			}
			if done, err := db.Actions(t.Context(), "other", all[0].ID); err != nil || len(done) != 0 {
				t.Errorf("of another tenant: %v, %+v", err, done)
			}
			if err := w.Act(t.Context(), Action{AlertID: "x", State: "closed"}); err == nil || !strings.Contains(err.Error(), "one of open, acked, resolved, suppressed") {
				t.Errorf("a state that is none: %v", err)
			}
			wantNumber(t, db, 6, "SELECT count() FROM {db}.alert_actions WHERE at > now() - INTERVAL 1 HOUR AND at <= now64(3)")
		})
	}
}
