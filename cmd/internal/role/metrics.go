package role

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what every loop counts. Label values exist from zero where their
// set is known. The label role is the loop's name, since each loop reads on its own.
type Metrics struct {
	Records   *prometheus.CounterVec // role
	Batches   *prometheus.CounterVec // role, result: done, redone, replayed, failed, fenced
	Seconds   *prometheus.HistogramVec
	Stages    *prometheus.CounterVec // role, stage
	Lag       *prometheus.GaugeVec   // role, partition
	Parked    *prometheus.GaugeVec   // role: 1 while it retries
	Lost      *prometheus.CounterVec // role: offsets that expired unread
	Stored    prometheus.Counter
	Dead      *prometheus.CounterVec // class
	Matches   *prometheus.CounterVec // rule
	Alerts    *prometheus.CounterVec // rule, severity
	Left      *prometheus.CounterVec // reason: what correlate or detect left out
	Shed      *prometheus.CounterVec // role, rule, severity
	Groups    prometheus.Gauge
	Waiting   prometheus.Gauge       // points whose rule is not in force here yet
	Latency   prometheus.Histogram   // broker append to alert written
	Told      *prometheus.CounterVec // destination, outcome
	TellTime  *prometheus.HistogramVec
	Watermark prometheus.Gauge
	Rules     prometheus.Gauge

	TLSRead *prometheus.GaugeVec // section: kafka.tls, clickhouse.tls

	ReloadOK   prometheus.Gauge
	ReloadTime prometheus.Gauge
	RulesInfo  *prometheus.GaugeVec // hash
}

// Names of the loops.
const (
	Store     = "store"
	Detect    = "detect"
	Correlate = "correlate"
	Notify    = "notify"
)

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "picket", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "picket", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Records: counter("records_total", "Records that a role has finished with.", "role"),
		Batches: counter("batches_total", "Batches by result: done, redone (declared by an earlier owner), replayed (read again to rebuild windows), failed (tried again), fenced (left to the new owner).", "role", "result"),
		Seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "picket", Name: "batch_seconds", Help: "Time from a batch's poll to its commit.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"role"}),
		Stages: counter("stage_seconds_total", "Time that a role spent in a stage of its work, waiting included; goroutines at work side by side add up.", "role", "stage"),
		Lag:    gauge("lag_records", "Records of a partition that a role has not read yet.", "role", "partition"),
		Parked: gauge("parked", "1 while a role cannot finish its batch and retries.", "role"),
		Lost:   counter("lost_offsets_total", "Offsets that were gone from the topic before a role read them.", "role"),
		Stored: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "picket", Name: "events_stored_total", Help: "Events that ClickHouse has taken, repeats included."}),
		Dead:   counter("dead_letters_total", "Records that could not be read, by class.", "class"),
		Matches: counter("rule_matches_total",
			"Events that a rule's match selected.", "rule"),
		Alerts: counter("alerts_total", "Alerts at their first completion.", "rule", "severity"),
		Left: counter("left_out_total", "What detection left out: late, ungrouped, expired, overflow, unknown_rule, duplicate, evidence.",
			"reason"),
		Shed:   counter("shed_total", "Matches that were more than a role can carry: the mildest rules go first.", "role", "rule", "severity"),
		Groups: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "picket", Name: "window_groups", Help: "Groups that windows hold."}),
		Waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "picket", Name: "waiting_points", Help: "Points of rules that the detectors have and this instance does not have yet.",
		}),
		Latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "picket", Name: "alert_latency_seconds", Help: "Time from the completing event's append to the alert record.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
		Told: counter("deliveries_total", "Messages by destination and outcome.", "destination", "outcome"),
		TellTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "picket", Name: "delivery_seconds", Help: "Time of one attempt to tell a destination.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
		}, []string{"destination"}),
		Watermark: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "picket", Name: "watermark_seconds", Help: "Unix time up to which windows have settled."}),
		Rules:     prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "picket", Name: "rules", Help: "Rules in force."}),
	}
	m.TLSRead = gauge("tls_files_read", "1 if the certificate files of a section could be read at its newest connection; 0 while they could not, and those of before are in use.", "section")
	m.ReloadOK = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "picket", Name: "rules_last_reload_successful", Help: "1 if the rule files as they are now are in force; 0 while they are refused, and older rules run.",
	})
	m.ReloadTime = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "picket", Name: "rules_last_reload_success_timestamp_seconds", Help: "Unix time at which rules were last read without an error.",
	})
	m.RulesInfo = gauge("rules_info", "1, with a hash of what the rules in force mean: equal for instances that run the same.", "hash")
	for _, reason := range []string{"late", "ungrouped", "expired", "overflow", "unknown_rule", "duplicate", "evidence"} {
		m.Left.WithLabelValues(reason)
	}
	for _, rule := range []string{RuleGap, RuleMoved, RuleOverload} {
		m.Alerts.WithLabelValues(rule, ownSeverity)
	}
	reg.MustRegister(m.Records, m.Batches, m.Seconds, m.Stages, m.Lag, m.Parked, m.Lost, m.Stored, m.Dead, m.Matches, m.Alerts,
		m.Left, m.Shed, m.Groups, m.Waiting, m.Latency, m.Told, m.TellTime, m.Watermark, m.Rules,
		m.TLSRead, m.ReloadOK, m.ReloadTime, m.RulesInfo)
	return m
}

// Reloaded says that the rules as they are now are in force.
func (m *Metrics) Reloaded(hash string) {
	m.ReloadOK.Set(1)
	m.ReloadTime.SetToCurrentTime()
	m.RulesInfo.Reset()
	m.RulesInfo.WithLabelValues(hash).Set(1)
}

// Loop makes the label values of one loop.
func (m *Metrics) Loop(name string) {
	m.Records.WithLabelValues(name)
	m.Parked.WithLabelValues(name)
	m.Lost.WithLabelValues(name)
	m.Seconds.WithLabelValues(name)
	for _, result := range []string{"done", "redone", "replayed", "failed", "fenced"} {
		m.Batches.WithLabelValues(name, result)
	}
}
