package role_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest/kafka"
)

const floodRules = `
{schema: rule/v1, id: TT-01, name: test.flood, title: T, severity: low, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 1m, group_by: [net.ip]}, suppress: {for: 2m}}
---
{schema: rule/v1, id: TT-02, name: test.flood.two, title: T, severity: medium, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 1m, group_by: [actor.client_id]}, suppress: {for: 2m}}
---
{schema: rule/v1, id: TT-03, name: test.critical, title: T, severity: critical, match: {type: authorization, outcome: denied}, group_by: [net.ip], suppress: {for: 2m}}
`

// flooded has two mild rules that a flood matches with a group of its own for each event,
// and a critical one.
func flooded(t *testing.T) *bench {
	k := newBench(t)
	var err error
	if k.rules, err = detect.Load(fstest.MapFS{"r.yaml": {Data: []byte(floodRules)}}); err != nil {
		t.Fatal(err)
	}
	return k
}

// flood puts n events on one partition, the last of which is critical.
func (k *bench) flood(n, from int) {
	for i := range n {
		kind, outcome := "tool_call", "success"
		if i == n-1 {
			kind, outcome = "authorization", "denied"
		}
		k.b.put(kafka.Record{Topic: "events", Partition: 0, Value: fmt.Appendf(nil,
			`{"schema":"picket.event/1","id":"e-%d","time":%q,"type":%q,"outcome":%q,"server":{"name":"s","instance":"i"},"net":{"ip":"198.51.%d.%d"},"actor":{"client_id":"c-%d"}}`,
			from+i, time.Now().UTC().Format(time.RFC3339Nano), kind, outcome, (from+i)/250, (from+i)%250, from+i)})
	}
}

func (k *bench) shed(loop, rule, severity string) float64 {
	return k.value(k.metrics.Shed.WithLabelValues(loop, rule, severity))
}

// told are the records of one rule on the topic of alerts.
func (k *bench) told(rule string) (out []detect.Alert) {
	for _, r := range k.b.all("alerts") {
		var a detect.Alert
		if err := json.Unmarshal(r.Value, &a); err != nil {
			k.t.Fatal(err)
		}
		if a.Rule.ID == rule {
			out = append(out, a)
		}
	}
	return out
}

func (k *bench) notices() *role.Notices {
	return &role.Notices{Topic: "alerts", Metrics: k.metrics, Producer: k.b}
}

// A flood of mild matches must neither keep a critical one back nor take its place, and what
// is left out adds up.
func TestDetectorShedsTheMildest(t *testing.T) {
	for _, perEvent := range []int{0, 1} {
		t.Run(fmt.Sprintf("matches per event %d", perEvent), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := flooded(t)
				k.flood(1000, 0)
				d := k.detector(k.b.consumer("events", "g", 1000, 0))
				d.MatchesPerEvent, d.Notices = perEvent, k.notices()
				down := true
				first := ""
				d.Producer = producerFunc(func(rs []kafka.Record) error {
					if s, _, _ := detect.DecodeSignals(rs[0].Value); s != nil && first == "" {
						first = k.rules.ByHash(s[0].Rules[0].Rule).Info.ID
					}
					if down && isMark(rs[0]) {
						down = false
						return errDown // the batch is done again: to be told and counted once
					}
					k.b.put(rs...)
					return nil
				})
				stop := k.start(d.Run)
				pass(3 * time.Second)
				stop()
				if first != "TT-03" {
					t.Errorf("a signal of %s was written first", first)
				}
				carried := map[string]map[uint64]bool{} // by rule, the events: the batch was written twice
				signals, _ := k.written()
				for _, b := range signals {
					all, _, err := detect.DecodeSignals(b)
					if err != nil {
						t.Fatal(err)
					}
					for _, s := range all {
						for _, rp := range s.Rules {
							id := k.rules.ByHash(rp.Rule).Info.ID
							if carried[id] == nil {
								carried[id] = map[uint64]bool{}
							}
							for _, p := range rp.Points {
								carried[id][s.Events[p.Event].Identity] = true
							}
						}
					}
				}
				for id, severity := range map[string]string{"TT-01": "low", "TT-02": "medium", "TT-03": "critical"} {
					matched := k.value(k.metrics.Matches.WithLabelValues(id))
					if shed := k.shed("detect", id, severity); float64(len(carried[id]))+shed != matched {
						t.Errorf("%s: %d carried and %v shed of %v", id, len(carried[id]), shed, matched)
					}
				}
				if perEvent == 0 {
					if len(carried["TT-01"]) != 999 || len(k.told(role.RuleOverload)) != 0 {
						t.Errorf("without a limit %d are carried", len(carried["TT-01"]))
					}
					return
				}
				if low, medium, critical := len(carried["TT-01"]), len(carried["TT-02"]), len(carried["TT-03"]); low > 50 || medium < 900 || critical != 1 {
					t.Errorf("carried: %d low, %d medium, %d critical", low, medium, critical)
				}
				all := k.told(role.RuleOverload)
				if len(all) != 1 || all[0].Count != uint64(k.shed("detect", "TT-01", "low")+k.shed("detect", "TT-02", "medium")) ||
					!strings.Contains(all[0].Why, "events/0") || !strings.Contains(all[0].Title, "TT-01") {
					t.Fatalf("told %+v", all)
				}
				if n := k.value(k.metrics.Alerts.WithLabelValues(role.RuleOverload, "high")); n != 1 {
					t.Errorf("%v alerts are counted", n)
				}
			})
		})
	}
}

// A flood that makes up groups must not fill the windows for all.
func TestCorrelatorLeavesRoomForCriticalRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := flooded(t)
		stopDetect := k.start(k.detector(k.b.consumer("events", "d", 100, 0)).Run)
		c := k.correlator(k.signalsOf("c", 50))
		c.Bounds, c.Notices = detect.WindowOptions{MaxGroups: 40}, k.notices()
		stop := k.start(c.Run)
		began := time.Now()
		for i := range 5 {
			k.flood(200, i*200)
			pass(2 * time.Second)
		}
		if n := len(k.told("TT-03")); n != 5 {
			t.Errorf("%d of 5 critical alerts were told within %s", n, time.Since(began))
		}
		low, medium := k.shed("correlate", "TT-01", "low"), k.shed("correlate", "TT-02", "medium")
		if k.shed("correlate", "TT-03", "critical") != 0 {
			t.Error("critical matches were shed")
		}
		var entered float64
		for _, rule := range []string{"TT-01", "TT-02"} {
			entered += k.value(k.metrics.Matches.WithLabelValues(rule))
		}
		if held := k.value(k.metrics.Groups) - 5; low == 0 || medium == 0 || low+medium+held != entered {
			t.Errorf("%v low and %v medium were shed, %v groups of one event are held: of %v", low, medium, held, entered)
		}
		pass(30 * time.Minute)
		k.flood(1, 5000)
		pass(10 * time.Second)
		stop()
		stopDetect()
		ids, last, final := map[string]bool{}, map[string]uint64{}, map[string]uint64{}
		for _, a := range k.told(role.RuleOverload) {
			ids[a.ID] = true
			if a.Count < last[a.ID] {
				t.Errorf("the count of %s went down to %d", a.ID, a.Count)
			}
			if last[a.ID] = a.Count; a.Settled {
				final[a.ID] = a.Count
			}
		}
		sum := uint64(0)
		for _, n := range final {
			sum += n
		}
		if len(ids) != signalParts || len(final) != signalParts || float64(sum) != low+medium {
			t.Errorf("%d alerts, %d of them settled with %d in all: want %v of %d partitions", len(ids), len(final), sum, low+medium, signalParts)
		}
		if n := len(k.told(role.RuleOverload)); n > 20 {
			t.Errorf("%d records tell of one flood", n)
		}
	})
}
