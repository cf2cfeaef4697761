package role_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"picket/alerting"
	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest/kafka"
)

// pager is a destination.
type pager struct {
	name string
	send func(context.Context, alerting.Incident) error

	mu   sync.Mutex
	got  []alerting.Incident
	told []string // alert ids, in order
}

func (p *pager) Name() string { return p.name }

func (p *pager) Send(ctx context.Context, i alerting.Incident) (alerting.Receipt, error) {
	p.mu.Lock()
	p.got = append(p.got, i)
	send := p.send
	p.mu.Unlock()
	if send != nil {
		if err := send(ctx, i); err != nil {
			return alerting.Receipt{}, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, i.Alert.ID)
	return alerting.Receipt{Thread: "thread", ID: "1"}, nil
}

func (p *pager) set(send func(context.Context, alerting.Incident) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.send = send
}

func (p *pager) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

func (k *bench) teller(p *pager, c *consumer) *role.Teller {
	t := &role.Teller{
		Loop: k.loop("notify " + p.name), Consumer: c, Producer: k.b, Destination: p, Deliveries: "deliveries",
		Options: alerting.NotifierOptions{HoldSetup: true}, Scan: k.b.scan,
	}
	c.assign = t.Assign
	return t
}

func (k *bench) alertsFor(p *pager) *consumer { return k.b.consumer("alerts", p.name, 2, 0) }

// alert puts an alert of a group of its own.
func (k *bench) alert(id string) {
	now := time.Now()
	v, err := json.Marshal(detect.Alert{
		Schema: detect.AlertSchema, ID: id, Rule: detect.RuleInfo{ID: "TT-01", Title: "Failures"}, Mode: "alert", Severity: "high", GroupID: id,
		BucketStart: now, BucketEnd: now.Add(time.Minute), First: now, Last: now, FiredAt: now, Count: 3, Threshold: 3, Title: "Failures",
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.b.put(kafka.Record{Topic: "alerts", Key: []byte(id), Value: v})
}

// recorded are the deliveries of a destination: alert and outcome.
func (k *bench) recorded(dest string) (out []string) {
	for _, r := range k.b.all("deliveries") {
		var d alerting.Delivery
		if err := json.Unmarshal(r.Value, &d); err != nil {
			k.t.Fatal(err)
		}
		if d.Destination == dest {
			out = append(out, d.AlertID+" "+d.Outcome)
		}
	}
	return out
}

func TestNotifyDownDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		down, up := &pager{name: "down"}, &pager{name: "up"}
		down.set(func(context.Context, alerting.Incident) error {
			return &alerting.RetryError{Err: errors.New("HTTP 503")}
		})
		stop1 := k.start(k.teller(down, k.alertsFor(down)).Run)
		stop2 := k.start(k.teller(up, k.alertsFor(up)).Run)
		ids := []string{"a", "b", "c", "d", "e"}
		for _, id := range ids {
			k.alert(id)
		}
		pass(2 * time.Second)
		if !slices.Equal(up.heard(), ids) || len(down.heard()) != 0 {
			t.Errorf("up heard %v, down %v", up.heard(), down.heard())
		}
		pass(2 * time.Minute)
		for _, s := range k.health.States() {
			if isDown := s.Name == "notify down"; s.Ready == isDown || isDown != strings.Contains(s.Why, "HTTP 503") {
				t.Errorf("%+v", s)
			}
		}
		if k.value(k.metrics.Parked.WithLabelValues("notify down")) != 1 || k.value(k.metrics.Parked.WithLabelValues("notify up")) != 0 {
			t.Error("the metric does not say which destination is down")
		}
		down.set(nil)
		pass(10 * time.Minute)
		if !slices.Equal(down.heard(), ids) {
			t.Errorf("heard %v after it was back: nothing may be lost, and the order stays", down.heard())
		}
		stop1()
		stop2()
		if got := k.recorded("down"); len(got) != len(ids) || k.value(k.metrics.Parked.WithLabelValues("notify down")) != 0 {
			t.Errorf("recorded %v", got)
		}
	})
}

func TestNotifyRestartsBetweenTheSendAndItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		p := &pager{name: "pager"}
		k.b.setFail(func([]kafka.Record) (error, bool) { return errDown, false })
		stop := k.start(k.teller(p, k.alertsFor(p)).Run)
		k.alert("a")
		pass(time.Second)
		stop()
		k.b.setFail(nil)
		stop = k.start(k.teller(p, k.alertsFor(p)).Run)
		k.alert("b")
		pass(time.Second)
		stop()
		if len(p.got) != 3 || p.got[0].Unsure || !p.got[1].Unsure || p.got[1].Alert.ID != "a" || p.got[2].Unsure {
			t.Errorf("sends %+v: the first after a crash, and no other, may repeat one and must say so", p.got)
		}
		if got := k.recorded("pager"); !slices.Equal(got, []string{"a sent", "b sent"}) {
			t.Errorf("recorded %v", got)
		}
		stop = k.start(k.teller(p, k.alertsFor(p)).Run)
		pass(time.Second)
		stop()
		if len(p.got) != 3 {
			t.Error("an alert that was told and recorded was told again")
		}
		stop = k.start(k.teller(p, k.alertsFor(p)).Run)
		k.alert("c")
		pass(time.Second)
		stop()
		if len(p.got) != 4 || p.got[3].Unsure {
			t.Errorf("the first alert after a restart in order: %+v", p.got[3:])
		}
	})
}

func TestNotifyKeepsTheRecordOfASendThroughARebalance(t *testing.T) {
	for name, persisted := range map[string]bool{"failed": false, "failed but persisted": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBench(t)
				p := &pager{name: "pager"}
				n := 0
				k.b.setFail(func([]kafka.Record) (error, bool) { n++; return errDown, persisted && n == 1 })
				c := k.alertsFor(p)
				stop := k.start(k.teller(p, c).Run)
				k.alert("a")
				pass(3 * time.Second)
				c.rebalance()
				k.b.setFail(nil)
				pass(10 * time.Second)
				stop()
				if len(p.got) != 1 {
					t.Errorf("told %d times", len(p.got))
				}
				if got := k.recorded("pager"); !slices.Equal(got, []string{"a sent"}) {
					t.Errorf("recorded %v", got)
				}
			})
		})
	}
}

func TestNotifyRecordsASendThatEndsAfterTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		p := &pager{name: "pager"}
		p.set(func(ctx context.Context, _ alerting.Incident) error {
			select {
			case <-time.After(2900 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return &alerting.RetryError{Err: ctx.Err(), Unsure: true}
			}
		})
		// Writing takes its time too.
		slow := producerFunc(func(rs []kafka.Record) error { pass(400 * time.Millisecond); k.b.put(rs...); return nil })
		tl := k.teller(p, k.alertsFor(p))
		tl.Producer = slow
		stop := k.start(tl.Run)
		k.alert("a")
		k.alert("b")
		pass(200 * time.Millisecond)
		asked := time.Now()
		stop()
		if took := time.Since(asked); took > 4500*time.Millisecond {
			t.Errorf("stopping took %s", took)
		}
		if got := k.recorded("pager"); !slices.Equal(got, []string{"a sent"}) {
			t.Errorf("recorded %v", got)
		}
		p.set(nil)
		stop = k.start(k.teller(p, k.alertsFor(p)).Run)
		pass(time.Second)
		stop()
		if got := fmt.Sprint(p.heard()); got != "[a b]" {
			t.Errorf("heard %s", got)
		}
	})
}

func TestNotifySkipsWhatIsNoAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		p := &pager{name: "pager"}
		k.b.put(kafka.Record{Topic: "alerts", Value: []byte("{")}, kafka.Record{Topic: "alerts", Value: []byte(`{"schema":"picket.alert/9"}`)})
		k.alert("a")
		stop := k.start(k.teller(p, k.alertsFor(p)).Run)
		pass(time.Second)
		stop()
		if len(p.heard()) != 1 || k.value(k.metrics.Dead.WithLabelValues("alert")) != 2 || len(k.log.with("alert record skipped")) != 2 {
			t.Errorf("heard %v", p.heard())
		}
	})
}
