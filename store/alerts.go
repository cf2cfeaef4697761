package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"picket/detect"
)

// AlertWriter stores alerts and what was told of them. It may be used from several goroutines.
type AlertWriter struct{ db *DB }

// NewAlertWriter makes a writer on a database that Verify accepted.
func NewAlertWriter(db *DB) *AlertWriter { return &AlertWriter{db: db} }

// Write stores alerts. It may be repeated, in any order and mixture: of the versions of
// one alert the view shows the one with the highest count, and the settled one of equals.
func (w *AlertWriter) Write(ctx context.Context, alerts ...detect.Alert) error {
	for _, of := range monthly(alerts, func(a *detect.Alert) time.Time { return a.BucketStart }) {
		if err := w.write(ctx, of); err != nil {
			return err
		}
	}
	return nil
}

// monthly are items apart by the month of a time, which is a partition of their table: what an insert
// brings for one is stored whole or not at all, so that one row tells whether all are there.
func monthly[T any](items []T, at func(*T) time.Time) (out [][]T) {
	months := map[int64]int{}
	for i := range items {
		m := month(seconds(millis(at(&items[i]))))
		n, ok := months[m]
		if !ok {
			n = len(out)
			months[m], out = n, append(out, nil)
		}
		out[n] = append(out[n], items[i])
	}
	return out
}

func (w *AlertWriter) write(ctx context.Context, alerts []detect.Alert) error {
	r, h := newAlertRows(), sha256.New()
	for i := range alerts {
		r.append(&alerts[i])
		fmt.Fprintf(h, "%q %d %t\n", alerts[i].ID, alerts[i].Count, alerts[i].Settled)
	}
	a := &alerts[0] // of which a merge may have left a later version only
	return w.db.keep(ctx, &r.rows, "alerts:"+hex.EncodeToString(h.Sum(nil)), seen,
		"tenant = ? AND bucket_start = fromUnixTimestamp64Milli(?, 'UTC') AND alert_id = ? AND version >= ?", a.Tenant, millis(a.BucketStart), a.ID, version(a))
}

// Delivery is one attempt to tell an alert.
type Delivery struct {
	Tenant      string    `json:"tenant"`
	AlertID     string    `json:"alert_id"`
	Destination string    `json:"destination"`
	Outcome     string    `json:"outcome"` // sent, failed, skipped
	At          time.Time `json:"at"`
	Thread      string    `json:"thread,omitempty"` // where the destination keeps it: a thread or a dedup key
	Error       string    `json:"error,omitempty"`
}

// WriteDeliveries records deliveries. Repeating the same ones adds nothing.
func (w *AlertWriter) WriteDeliveries(ctx context.Context, ds ...Delivery) error {
	for _, of := range monthly(ds, func(d *Delivery) time.Time { return d.At }) {
		if err := w.writeDeliveries(ctx, of); err != nil {
			return err
		}
	}
	return nil
}

func (w *AlertWriter) writeDeliveries(ctx context.Context, ds []Delivery) error {
	r := &rows{table: "deliveries"}
	at := add(r, "at", newTime())
	tenant, id := add(r, "tenant", newLow()), add(r, "alert_id", &text{})
	dest, outcome := add(r, "destination", newLow()), add(r, "outcome", newLow())
	thread, errText := add(r, "thread", &text{}), add(r, "error", &text{})
	h := sha256.New()
	for _, d := range ds {
		at.putTime(d.At)
		tenant.put(d.Tenant)
		id.put(d.AlertID)
		dest.put(d.Destination)
		outcome.put(d.Outcome)
		thread.put(d.Thread)
		errText.put(d.Error)
		r.n++
		fmt.Fprintf(h, "%q %q %q %d\n", d.AlertID, d.Destination, d.Outcome, d.At.UnixNano())
	}
	return w.db.keep(ctx, r, "deliveries:"+hex.EncodeToString(h.Sum(nil)), seen,
		"tenant = ? AND alert_id = ? AND destination = ? AND at = fromUnixTimestamp64Milli(?, 'UTC')", ds[0].Tenant, ds[0].AlertID, ds[0].Destination, millis(ds[0].At))
}

// version orders the states of one alert: it only grows.
func version(a *detect.Alert) uint64 {
	v := min(a.Count, math.MaxUint64>>1) << 1
	if a.Settled {
		v++
	}
	return v
}

// alertRows is a block of the table alerts.
type alertRows struct {
	rows
	id, groupID, why, title                                              *text
	tenant, rule, name, hash, ruleTitle, description, runbook, win, mode *low
	tags, references                                                     *array[*low]
	severity, start, end, first, last, fired                             *fixed
	count, value, threshold, settled, version                            *fixed
	groupField, groupKey                                                 *array[*low]
	groupValue                                                           *array[*text]
	evidence                                                             evidenceColumns
}

type evidenceColumns struct {
	id                                  *array[*text]
	time, partition, offset             *array[*fixed]
	server, typ, outcome, tool, finding *array[*low]
	context                             *array[*pairs[*text]]
}

func newAlertRows() *alertRows {
	r := &alertRows{rows: rows{table: "alerts"}}
	b := &r.rows
	r.tenant, r.id = add(b, "tenant", newLow()), add(b, "alert_id", &text{})
	r.rule, r.name, r.hash = add(b, "rule_id", newLow()), add(b, "rule_name", newLow()), add(b, "rule_hash", newLow())
	r.ruleTitle, r.description = add(b, "rule_title", newLow()), add(b, "rule_description", newLow())
	r.tags, r.references = add(b, "rule_tags", newArray(newLow())), add(b, "rule_references", newArray(newLow()))
	r.runbook, r.win = add(b, "rule_runbook", newLow()), add(b, "rule_window", newLow())
	r.mode, r.severity = add(b, "mode", newLow()), add(b, "severity", newFixed(severityType, 1))
	r.groupID = add(b, "group_id", &text{})
	r.groupField = add(b, "group.field", newArray(newLow()))
	r.groupValue = add(b, "group.value", newArray(&text{}))
	r.groupKey = add(b, "group.key", newArray(newLow()))
	r.start, r.end = add(b, "bucket_start", newTime()), add(b, "bucket_end", newTime())
	r.first, r.last, r.fired = add(b, "first", newTime()), add(b, "last", newTime()), add(b, "fired_at", newTime())
	r.count = add(b, "count", newFixed("UInt64", 8))
	r.value, r.threshold = add(b, "value", newFixed("Float64", 8)), add(b, "threshold", newFixed("Float64", 8))
	r.settled = add(b, "settled", newFixed("Bool", 1))
	r.why, r.title = add(b, "why", &text{}), add(b, "title", &text{})
	r.evidence = evidenceColumns{
		id:        add(b, "evidence.event_id", newArray(&text{})),
		time:      add(b, "evidence.time", newArray(newTime())),
		partition: add(b, "evidence.partition", newArray(newFixed("UInt16", 2))),
		offset:    add(b, "evidence.offset", newArray(newFixed("UInt64", 8))),
		server:    add(b, "evidence.server", newArray(newLow())),
		typ:       add(b, "evidence.type", newArray(newLow())),
		outcome:   add(b, "evidence.outcome", newArray(newLow())),
		tool:      add(b, "evidence.tool", newArray(newLow())),
		finding:   add(b, "evidence.finding", newArray(newLow())),
		context:   add(b, "evidence.context", newArray(newPairs(&text{}))),
	}
	r.version = add(b, "version", newFixed("UInt64", 8))
	return r
}

func (r *alertRows) append(a *detect.Alert) {
	r.tenant.put(a.Tenant)
	r.id.put(a.ID)
	r.rule.put(a.Rule.ID)
	r.name.put(a.Rule.Name)
	r.hash.put(a.Rule.Hash)
	r.ruleTitle.put(a.Rule.Title)
	r.description.put(a.Rule.Description)
	r.putList(r.tags, a.Rule.Tags)
	r.putList(r.references, a.Rule.References)
	r.runbook.put(a.Rule.Runbook)
	r.win.put(a.Rule.Window)
	r.mode.put(a.Mode)
	r.severity.put(severityCode(a.Severity))
	r.groupID.put(a.GroupID)
	for _, g := range a.Group {
		r.groupField.of.put(g.Field)
		r.groupValue.of.put(g.Value)
		r.groupKey.of.put(g.Key)
	}
	r.groupField.end()
	r.groupValue.end()
	r.groupKey.end()
	r.start.putTime(a.BucketStart)
	r.end.putTime(a.BucketEnd)
	r.first.putTime(a.First)
	r.last.putTime(a.Last)
	r.fired.putTime(a.FiredAt)
	r.count.put(a.Count)
	r.value.put(math.Float64bits(a.Value))
	r.threshold.put(math.Float64bits(a.Threshold))
	r.settled.putBool(a.Settled)
	r.why.put(a.Why)
	r.title.put(a.Title)
	r.evidence.append(a.Evidence)
	r.version.put(version(a))
	r.n++
}

func (c *evidenceColumns) append(es []detect.Evidence) {
	for i := range es {
		e := &es[i]
		c.id.of.put(e.EventID)
		c.time.of.putTime(e.Time)
		c.partition.of.put(uint64(e.Partition))
		c.offset.of.put(uint64(e.Offset))
		c.server.of.put(e.Server)
		c.typ.of.put(e.Type)
		c.outcome.of.put(e.Outcome)
		c.tool.of.put(e.Tool)
		c.finding.of.put(e.Finding)
		for _, g := range e.Context {
			c.context.of.keys.of.put(g.Field)
			c.context.of.vals.put(g.Value)
		}
		c.context.of.end()
	}
	c.id.end()
	c.time.end()
	c.partition.end()
	c.offset.end()
	c.server.end()
	c.typ.end()
	c.outcome.end()
	c.tool.end()
	c.finding.end()
	c.context.end()
}
