package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestStop presses Ctrl-C while what a run needs is away: it must end with code 0 within
// 5 s, and the next run must go on where it was.
func TestStop(t *testing.T) {
	short(t)
	t.Parallel()
	w := newWorld(t, false)
	tr := w.traffic()
	a := w.run("a")
	a.ready(30 * time.Second)
	w.zeros(a)

	w.slack.HangNext(1)
	requests := w.slack.Requests()
	tr.burst("203.0.113.1")
	eventually(t, 30*time.Second, "a message is on its way to Slack", func() bool { return w.slack.Requests() > requests })
	a.interrupt()

	a = w.run("a")
	eventually(t, 30*time.Second, "Slack hears of it after all", func() bool { return len(w.slack.Roots()) == 1 })
	w.click.kill()
	eventually(t, 30*time.Second, "the store role is parked", func() bool { return strings.Contains(a.roles()["store"], "ClickHouse") })
	a.interrupt()

	a = w.run("a") // ClickHouse is still down: the others work
	tr.burst("203.0.113.2")
	eventually(t, 30*time.Second, "Slack hears of the next one", func() bool { return len(w.slack.Roots()) == 2 })
	a.interrupt()
	w.startClickHouse()

	a = w.run("a")
	w.stored(30 * time.Second)
	w.killKafka()
	eventually(t, 40*time.Second, "the run knows that the broker is down", func() bool { return a.roles()["store"] != "" && a.roles()["detect"] != "" })
	a.interrupt()

	w.startKafka()
	a = w.run("a")
	a.ready(30 * time.Second)
	w.killKafka() // and now at once, before any role has noticed
	a.interrupt()

	w.startKafka()
	a = w.run("a")
	tr.stop()
	w.exact(tr)
	w.judged(60 * time.Second)
	a.interrupt()
}

// zeros checks that the labels which are known exist before anything happened to them.
func (w *world) zeros(r *run) {
	w.t.Helper()
	for _, m := range []string{
		`picket_batches_total{result="fenced",role="store"}`, `picket_batches_total{result="failed",role="notify slack"}`,
		`picket_parked{role="notify clickhouse deliveries"}`, `picket_lost_offsets_total{role="correlate"}`,
		`picket_left_out_total{reason="late"}`, `picket_dead_letters_total{class="unreadable"}`,
		`picket_rule_matches_total{rule="EE-01"}`, `picket_alerts_total{rule="EE-01",severity="high"}`,
		`picket_deliveries_total{destination="slack",outcome="sent"}`, `picket_deliveries_total{destination="slack",outcome="failed"}`,
	} {
		if r.metric(m) != 0 {
			w.t.Errorf("%s is %v, want 0", m, r.metric(m))
		}
	}
}
