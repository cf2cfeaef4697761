package e2e

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOutages kills everything in turn while events come in, on each kind of broker.
func TestOutages(t *testing.T) {
	short(t)
	t.Parallel()
	t.Run("kafka", func(t *testing.T) { t.Parallel(); needsJava(t); outages(t, true) }) // it takes longest
	t.Run("embedded", func(t *testing.T) { t.Parallel(); outages(t, false) })
}

func outages(t *testing.T, real bool) {
	w := newWorld(t, real)
	w.slack.SetDown(true)
	a := w.run("a")
	eventually(t, 30*time.Second, "roles have started", func() bool { return a.roles()["store"] == "" && len(a.roles()) >= 6 })
	tr := w.traffic()
	for _, ip := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"} {
		tr.burst(ip)
	}
	eventually(t, 30*time.Second, "readyz says that Slack is down", func() bool { return strings.Contains(a.roles()["notify slack"], "503") })
	w.stored(20 * time.Second)
	w.slack.SetDown(false)
	eventually(t, 30*time.Second, "Slack hears of three incidents", func() bool { return len(w.slack.Roots()) == 3 })

	w.clickhouseOutage(a, tr)
	w.brokerOutage(a, tr)
	a = w.killed(a, tr)
	w.zombie(a, tr)

	w.judged(60 * time.Second) // events go on coming in: they move time
	tr.stop()
	w.exact(tr)
	w.metrics(a)
	eventually(t, 30*time.Second, "no lag is left", func() bool { return a.metric("picket_lag_records") == 0 })
	a.interrupt()
}

func (w *world) clickhouseOutage(a *run, tr *traffic) {
	w.t.Helper()
	parked := len(a.said("parked: will try again, nothing is skipped", "store"))
	w.click.kill()
	tr.burst("203.0.113.10")
	eventually(w.t, 20*time.Second, "readyz says that ClickHouse is down", func() bool {
		return strings.Contains(a.roles()["store"], "ClickHouse") && strings.Contains(a.roles()["notify clickhouse alerts"], "ClickHouse")
	})
	eventually(w.t, 30*time.Second, "the store role waits longer each time", func() bool {
		lines := a.said("parked: will try again, nothing is skipped", "store")[parked:]
		if len(lines) < 4 {
			return false
		}
		for i, l := range lines[1:4] {
			if l.Wait <= lines[i].Wait || l.Attempt != lines[i].Attempt+1 {
				w.t.Fatalf("waits do not grow: %+v", lines)
			}
		}
		return true
	})
	if a.metric(`picket_parked{role="store"}`) != 1 {
		w.t.Error("the metric does not say that the store role is parked")
	}
	eventually(w.t, 30*time.Second, "Slack hears of the incident meanwhile", func() bool { return len(w.slack.Roots()) == 4 })
	w.startClickHouse()
	w.stored(60 * time.Second)
	a.ready(30 * time.Second)
	if len(a.said("goes on", "store")) == 0 {
		w.t.Error("no line says that the store role goes on")
	}
	if a.metric(`picket_parked{role="store"}`) != 0 || a.metric(`picket_batches_total{result="failed",role="store"}`) < 4 {
		w.t.Error("the metrics do not show the outage and its end")
	}
}

func (w *world) brokerOutage(a *run, tr *traffic) {
	w.t.Helper()
	before := tr.acknowledged()
	w.killKafka()
	eventually(w.t, 40*time.Second, "readyz says that the broker is down", func() bool {
		return strings.Contains(a.roles()["store"], "connect") && a.roles()["detect"] != ""
	})
	w.startKafka()
	eventually(w.t, 40*time.Second, "the producer goes on", func() bool { return tr.acknowledged() > before+100 })
	tr.burst("203.0.113.20")
	eventually(w.t, 60*time.Second, "Slack hears of the next incident", func() bool { return len(w.slack.Roots()) == 5 })
	w.stored(60 * time.Second)
	a.ready(30 * time.Second)
}

func (w *world) killed(a *run, tr *traffic) *run {
	w.t.Helper()
	for i, ip := range []string{"203.0.113.31", "203.0.113.32", "203.0.113.33"} {
		before := tr.acknowledged()
		tr.burst(ip)
		// Not at the same point of its work each time.
		eventually(w.t, 20*time.Second, "the burst is in the log", func() bool { return tr.acknowledged() > before+12+40*i })
		a.kill()
		a = w.run("a")
		eventually(w.t, 60*time.Second, "Slack hears of the incident", func() bool { return len(w.slack.Roots()) == 6+i })
	}
	w.stored(60 * time.Second)
	return a
}

// zombie stops one of two instances past its session, and lets it go on when the other
// has taken its partitions over.
func (w *world) zombie(a *run, tr *traffic) {
	w.t.Helper()
	b := w.run("b")
	eventually(w.t, 60*time.Second, "both share the events", func() bool {
		return shares(a, b)
	})
	tr.burst("203.0.113.41")
	eventually(w.t, 60*time.Second, "Slack hears of the incident", func() bool { return len(w.slack.Roots()) == 9 })
	b.signal(syscall.SIGSTOP)
	eventually(w.t, 60*time.Second, "the other has all partitions", func() bool {
		return partitions(a, "store") == 3 && partitions(a, "detect") == 3 && partitions(a, "correlate") == 2
	})
	tr.burst("203.0.113.42")
	eventually(w.t, 60*time.Second, "Slack hears of the incident from the one that is left", func() bool { return len(w.slack.Roots()) == 10 })
	w.stored(60 * time.Second)
	b.signal(syscall.SIGCONT)
	tr.burst("203.0.113.43")
	eventually(w.t, 60*time.Second, "both share the events again", func() bool { return shares(a, b) })
	eventually(w.t, 60*time.Second, "Slack hears of the incident", func() bool { return len(w.slack.Roots()) == 11 })
	b.interrupt()
}

// metrics checks what an instance shows that has done some work and has no more to do.
func (w *world) metrics(r *run) {
	w.t.Helper()
	for _, m := range []string{
		`picket_records_total{role="store"}`, `picket_records_total{role="detect"}`, `picket_records_total{role="correlate"}`,
		`picket_records_total{role="notify slack"}`, `picket_records_total{role="notify clickhouse alerts"}`,
		`picket_records_total{role="notify clickhouse deliveries"}`, `picket_batches_total{result="done",role="detect"}`,
		`picket_batch_seconds_count{role="store"}`, "picket_events_stored_total", `picket_dead_letters_total`,
		`picket_rule_matches_total{rule="EE-01"}`, `picket_alerts_total{rule="EE-01",severity="high"}`, "picket_alert_latency_seconds_count",
		`picket_deliveries_total{destination="slack",outcome="sent"}`, `picket_delivery_seconds_count{destination="slack"}`,
		"picket_watermark_seconds", "picket_rules",
	} {
		if r.metric(m) <= 0 {
			w.t.Errorf("%s is %v", m, r.metric(m))
		}
	}
	for _, m := range []string{`picket_lost_offsets_total`, `picket_parked`, `picket_left_out_total{reason="overflow"}`} {
		if r.metric(m) != 0 {
			w.t.Errorf("%s is %v, want 0", m, r.metric(m))
		}
	}
}

// shares reports whether the three partitions of events are dealt to both, for each role.
func shares(a, b *run) bool {
	for _, role := range []string{"store", "detect"} {
		x, y := partitions(a, role), partitions(b, role)
		if x == 0 || y == 0 || x+y != 3 {
			return false
		}
	}
	return true
}

// partitions is how many partitions of a role's topic the instance shows the lag of.
func partitions(r *run, role string) int {
	n := 0
	for line := range strings.Lines(get(r.url + "/metrics")) {
		if strings.HasPrefix(line, "picket_lag_records{") && strings.Contains(line, `role="`+role+`"`) {
			n++
		}
	}
	return n
}

func needsJava(t *testing.T) {
	for _, tool := range []string{"bash", "java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed; in CI that is a failure", tool)
			}
			t.Skipf("the real Kafka needs %s, which is not installed here", tool)
		}
	}
}
