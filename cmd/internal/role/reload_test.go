package role_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest/kafka"
)

// ruleSet has TT-01, which is always the same, and TT-02, which wants that many events.
func ruleSet(t *testing.T, count int) *detect.RuleSet {
	t.Helper()
	rs, err := detect.Load(fstest.MapFS{"r.yaml": {Data: fmt.Appendf(nil, `
{schema: rule/v1, id: TT-01, name: test.same, title: T, severity: high, match: {type: authentication}, threshold: {count: {gte: 3}, window: 2m, group_by: [net.ip]}, suppress: {for: 10m}}
---
{schema: rule/v1, id: TT-02, name: test.other, title: T, severity: high, match: {type: authentication}, threshold: {count: {gte: %d}, window: 2m, group_by: [net.ip]}, suppress: {for: 10m}}
`, count)}})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// reloading is a detector and a correlator whose rules change.
type reloading struct {
	*bench
	next      *detect.RuleSet
	detector  *role.Detector
	correlate *role.Correlator
	stop      func() // the correlator
	sent      int
}

func reload(t *testing.T) *reloading {
	k := &reloading{bench: newBench(t), next: ruleSet(t, 2)}
	k.rules = ruleSet(t, 3)
	k.detector = k.bench.detector(k.b.consumer("events", "d", 5, 0, 1))
	t.Cleanup(k.start(k.detector.Run))
	k.correlate = k.correlator(k.signalsOf("c", 3))
	k.stop = k.start(k.correlate.Run)
	pass(10 * time.Second) // both sources have reported
	return k
}

// fail sends n failures of one address, a second apart.
func (k *reloading) fail(n int) {
	for range n {
		k.sent++
		k.b.put(failure(0, k.sent, "203.0.113.1"))
		pass(time.Second)
	}
}

// counts are the highest count told of each rule and threshold, and whether it settled.
func (k *reloading) counts() map[string]string {
	out := map[string]string{}
	best := map[string]uint64{}
	for _, r := range k.b.all("alerts") {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			k.t.Fatal(err)
		}
		name := fmt.Sprintf("%s>=%g", a.Rule.ID, a.Threshold)
		if a.Count >= best[name] {
			best[name] = a.Count
			out[name] = fmt.Sprintf("%d settled %t", a.Count, a.Settled)
		}
	}
	return out
}

func (k *reloading) expect(when string, want map[string]string) {
	k.t.Helper()
	if got := k.counts(); !maps.Equal(got, want) {
		k.t.Errorf("%s: got %v, want %v", when, got, want)
	}
	if n := k.value(k.metrics.Left.WithLabelValues("unknown_rule")); n != 0 {
		k.t.Errorf("%s: %v points were given up", when, n)
	}
}

func TestDetectorReloadsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := reload(t)
		k.fail(2)
		k.detector.Reload(k.next)
		k.fail(2)
		pass(6 * time.Second)
		k.expect("before the correlator has reloaded", map[string]string{"TT-01>=3": "3 settled false"})
		if n := k.value(k.metrics.Waiting); n != 2 {
			t.Errorf("%v points are shown as waiting", n)
		}
		if n := len(k.log.with("signals of rules that are not in force here")); n != 1 {
			t.Errorf("told %d times that points wait", n)
		}
		k.correlate.Reload(k.next)
		pass(6 * time.Second)
		k.expect("after it has", map[string]string{"TT-01>=3": "3 settled false", "TT-02>=2": "2 settled false"})
		pass(time.Hour)
		k.expect("in the end", map[string]string{"TT-01>=3": "4 settled true", "TT-02>=2": "2 settled true"})
		if n := k.value(k.metrics.Waiting); n != 0 {
			t.Errorf("%v points are shown as waiting", n)
		}
		k.stop()
	})
}

func TestCorrelatorReloadsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := reload(t)
		k.fail(2)
		k.correlate.Reload(k.next)
		k.fail(1) // nothing goes unjudged between two versions of a rule
		k.expect("before the detector has reloaded", map[string]string{"TT-01>=3": "3 settled false", "TT-02>=3": "3 settled false"})
		k.detector.Reload(k.next)
		k.fail(2)
		k.expect("after it has", map[string]string{"TT-01>=3": "3 settled false", "TT-02>=3": "3 settled false", "TT-02>=2": "2 settled false"})
		pass(time.Hour)
		k.expect("in the end", map[string]string{"TT-01>=3": "5 settled true", "TT-02>=3": "3 settled true", "TT-02>=2": "2 settled true"})
		k.stop()
	})
}

// A restart with new rules rebuilds windows that nobody had: what they say is told at once.
func TestCorrelatorRestartsWithNewRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := reload(t)
		k.fail(2)
		k.detector.Reload(k.next)
		k.fail(2)
		pass(6 * time.Second)
		k.stop()
		k.expect("before the restart", map[string]string{"TT-01>=3": "3 settled false"})
		k.rules = k.next
		k.correlate = k.correlator(k.signalsOf("c", 3))
		k.stop = k.start(k.correlate.Run)
		pass(6 * time.Second)
		k.expect("after it", map[string]string{"TT-01>=3": "3 settled false", "TT-02>=2": "2 settled false"})
		if n := k.value(k.metrics.Alerts.WithLabelValues("TT-01", "high")); n != 1 {
			t.Errorf("%v alerts of the unchanged rule are counted", n)
		}
		pass(time.Hour)
		k.stop()
		if got, want := k.counts(), (map[string]string{"TT-01>=3": "4 settled true", "TT-02>=2": "2 settled true"}); !maps.Equal(got, want) {
			t.Errorf("in the end: got %v, want %v", got, want)
		}
		if n := k.value(k.metrics.Left.WithLabelValues("unknown_rule")); n != 2 {
			t.Errorf("%v points were given up, want the two of the rule that left", n)
		}
	})
}

// A write that fails must not lose what the reload itself made known.
func TestAlertsOfAReloadAreToldUntilTheyAreDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := reload(t)
		k.detector.Reload(k.next)
		k.fail(2)
		k.b.setFail(func(rs []kafka.Record) (error, bool) {
			if rs[0].Topic == "alerts" {
				return errDown, false
			}
			return nil, false
		})
		k.correlate.Reload(k.next)
		pass(10 * time.Second)
		k.correlate.Consumer.(*consumer).rebalance()
		pass(10 * time.Second)
		k.b.setFail(nil)
		pass(30 * time.Second)
		k.stop()
		k.expect("when the topic can be written again", map[string]string{"TT-02>=2": "2 settled false"})
	})
}
