package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"picket/detect"
)

// AlertFilter chooses alerts. What is empty chooses all.
type AlertFilter struct {
	ID           string // whole, or its first characters
	Since, Until time.Time
	Rules        []string
	Severities   []string
	States       []string
	Modes        []string
	Tenant       string
	Limit        int
}

// AlertState is an alert as it stands.
type AlertState struct {
	detect.Alert
	State   string    `json:"state"`
	StateBy string    `json:"state_by,omitempty"`
	StateAt time.Time `json:"state_at,omitzero"` // zero while nobody did anything
	Note    string    `json:"note,omitempty"`
	Told    []string  `json:"told"`
}

// Action is what somebody did about an alert.
type Action struct {
	Tenant  string    `json:"tenant"`
	AlertID string    `json:"alert_id"`
	At      time.Time `json:"at"` // the server's clock: of several people's the newest must be the last
	State   string    `json:"state"`
	Actor   string    `json:"actor"`
	Note    string    `json:"note,omitempty"`
}

// The states of an alert.
const (
	StateOpen       = "open"
	StateAcked      = "acked"
	StateResolved   = "resolved"
	StateSuppressed = "suppressed"
)

// AlertStates are all of them, in the order in which an alert may go through them.
func AlertStates() []string {
	return []string{StateOpen, StateAcked, StateResolved, StateSuppressed}
}

const stateType = "Enum8('open' = 1, 'acked' = 2, 'resolved' = 3, 'suppressed' = 4)"

// where is the condition, with its arguments.
func (f *AlertFilter) where() (string, []any) {
	conds, args := []string{"1"}, []any{}
	add := func(wanted bool, cond string, arg any) {
		if wanted {
			conds, args = append(conds, cond), append(args, arg)
		}
	}
	add(f.ID != "", "startsWith(alert_id, ?)", f.ID)
	add(!f.Since.IsZero(), "fired_at >= fromUnixTimestamp64Milli(?, 'UTC')", f.Since.UnixMilli())
	add(!f.Until.IsZero(), "fired_at < fromUnixTimestamp64Milli(?, 'UTC')", f.Until.UnixMilli())
	add(len(f.Rules) > 0, "has(?, toString(rule_id))", f.Rules)
	add(len(f.Severities) > 0, "has(?, toString(severity))", f.Severities)
	add(len(f.States) > 0, "has(?, state)", f.States)
	add(len(f.Modes) > 0, "has(?, toString(mode))", f.Modes)
	add(f.Tenant != "", "tenant = ?", f.Tenant)
	return " WHERE " + strings.Join(conds, " AND "), args
}

// Alerts returns what the filter chooses, the newest first.
func (db *DB) Alerts(ctx context.Context, f AlertFilter) ([]AlertState, error) {
	where, args := f.where()
	sql := "SELECT tenant, alert_id, rule_id, rule_name, rule_hash, rule_title, rule_description, rule_tags, rule_runbook, rule_references, rule_window," +
		" mode, toString(severity), group_id, `group.field`, `group.value`, `group.key`, bucket_start, bucket_end, first, last, fired_at, count, value, threshold," +
		" settled, why, title, `evidence.event_id`, `evidence.time`, `evidence.partition`, `evidence.offset`, `evidence.server`, `evidence.type`, `evidence.outcome`," +
		" `evidence.tool`, `evidence.finding`, `evidence.context`, state, state_by, state_at, note, told FROM " + db.table("v_alerts") + where + " ORDER BY fired_at DESC, alert_id"
	if f.Limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	rs, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read the alerts: %w", db.t.explain(err))
	}
	defer rs.Close()
	var out []AlertState
	for rs.Next() {
		var (
			s                                        AlertState
			fields, values, keys                     []string
			ids, servers, types, outcomes, tools, fs []string
			times                                    []time.Time
			partitions                               []uint16
			offsets                                  []uint64
			contexts                                 []map[string]string
		)
		a := &s.Alert
		err := rs.Scan(&a.Tenant, &a.ID, &a.Rule.ID, &a.Rule.Name, &a.Rule.Hash, &a.Rule.Title, &a.Rule.Description, &a.Rule.Tags, &a.Rule.Runbook, &a.Rule.References, &a.Rule.Window,
			&a.Mode, &a.Severity, &a.GroupID, &fields, &values, &keys, &a.BucketStart, &a.BucketEnd, &a.First, &a.Last, &a.FiredAt, &a.Count, &a.Value, &a.Threshold,
			&a.Settled, &a.Why, &a.Title, &ids, &times, &partitions, &offsets, &servers, &types, &outcomes,
			&tools, &fs, &contexts, &s.State, &s.StateBy, &s.StateAt, &s.Note, &s.Told)
		if err != nil {
			return nil, fmt.Errorf("read the alerts: %w", db.t.explain(err))
		}
		a.Schema, a.Group, a.Evidence = detect.AlertSchema, []detect.GroupValue{}, []detect.Evidence{}
		for i := range fields {
			a.Group = append(a.Group, detect.GroupValue{Field: fields[i], Value: values[i], Key: keys[i]})
		}
		for i := range ids {
			e := detect.Evidence{
				EventID: ids[i], Time: times[i], Partition: int32(partitions[i]), Offset: int64(offsets[i]), Server: servers[i], Type: types[i],
				Outcome: outcomes[i], Tool: tools[i], Finding: fs[i],
			}
			for field, value := range contexts[i] {
				e.Context = append(e.Context, detect.GroupValue{Field: field, Value: value})
			}
			slices.SortFunc(e.Context, func(a, b detect.GroupValue) int { return strings.Compare(a.Field, b.Field) })
			a.Evidence = append(a.Evidence, e)
		}
		if s.StateAt.Unix() <= 0 { // what a join without a match gives
			s.StateAt = time.Time{}
		}
		out = append(out, s)
	}
	return out, db.t.explain(rs.Err())
}

// Actions returns what was done about an alert, the oldest first.
func (db *DB) Actions(ctx context.Context, tenant, id string) ([]Action, error) {
	rs, err := db.conn.Query(ctx, "SELECT tenant, alert_id, at, toString(state), actor, note FROM "+db.table("alert_actions")+
		" WHERE tenant = ? AND alert_id = ? ORDER BY at", tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read what was done about alert %s: %w", id, db.t.explain(err))
	}
	defer rs.Close()
	out := []Action{}
	for rs.Next() {
		var a Action
		if err := rs.Scan(&a.Tenant, &a.AlertID, &a.At, &a.State, &a.Actor, &a.Note); err != nil {
			return nil, fmt.Errorf("read what was done about alert %s: %w", id, db.t.explain(err))
		}
		out = append(out, a)
	}
	return out, db.t.explain(rs.Err())
}

// Deliveries returns what was told of an alert, the oldest first.
func (db *DB) Deliveries(ctx context.Context, tenant, id string) ([]Delivery, error) {
	rs, err := db.conn.Query(ctx, "SELECT tenant, alert_id, destination, outcome, at, thread, error FROM "+db.table("deliveries")+
		" WHERE tenant = ? AND alert_id = ? ORDER BY at, destination", tenant, id)
	if err != nil {
		return nil, fmt.Errorf("read what was told of alert %s: %w", id, db.t.explain(err))
	}
	defer rs.Close()
	out := []Delivery{}
	for rs.Next() {
		var d Delivery
		if err := rs.Scan(&d.Tenant, &d.AlertID, &d.Destination, &d.Outcome, &d.At, &d.Thread, &d.Error); err != nil {
			return nil, fmt.Errorf("read what was told of alert %s: %w", id, db.t.explain(err))
		}
		out = append(out, d)
	}
	return out, db.t.explain(rs.Err())
}

// Act writes down what somebody did. The server's clock says when; At is not read.
func (w *AlertWriter) Act(ctx context.Context, actions ...Action) error {
	r := &rows{table: "alert_actions"}
	tenant, id := add(r, "tenant", newLow()), add(r, "alert_id", &text{})
	state := add(r, "state", newFixed(stateType, 1))
	actor, note := add(r, "actor", newLow()), add(r, "note", &text{})
	for _, a := range actions {
		code := slices.Index(AlertStates(), a.State)
		if code < 0 {
			return fmt.Errorf("an alert cannot be %q: it is one of %s", a.State, strings.Join(AlertStates(), ", "))
		}
		tenant.put(a.Tenant)
		id.put(a.AlertID)
		state.put(uint64(code) + 1)
		actor.put(a.Actor)
		note.put(a.Note)
		r.n++
	}
	return w.db.insert(ctx, r, "actions:"+rand.Text()) // the same twice is twice: only a retried request is one
}
