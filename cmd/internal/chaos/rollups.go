//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"picket/detect"
)

// sums is what a roll-up keeps of one key.
type sums struct {
	events, failures, denied, in, out uint64
	worst                             int // severity
	ms                                float64
	first, last                       time.Time
}

func (s *sums) add(e event) {
	if s.events == 0 || e.time.Before(s.first) {
		s.first = e.time
	}
	if s.events == 0 || e.time.After(s.last) {
		s.last = e.time
	}
	s.events++
	s.in, s.out, s.ms = s.in+e.in, s.out+e.out, max(s.ms, e.ms)
	if e.outcome != "success" {
		s.failures++
	}
	if e.outcome == "denied" {
		s.denied++
	}
	s.worst = max(s.worst, map[string]int{"info": 2, "low": 3, "high": 5}[e.severity])
}

// minute and entity are the lines that the queries below print.
func (s *sums) minute() string {
	return fmt.Sprintf("%d\t%d\t%d\t%s\t%s\t%s", s.events, s.in, s.out, float(s.ms), stamp(s.first), stamp(s.last))
}

func (s *sums) entity() string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%s\t%d\t%s\t%s", s.events, s.failures, s.denied, s.in, s.out, float(s.ms), s.worst, stamp(s.first), stamp(s.last))
}

func float(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func stamp(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// checkRollups makes both roll-ups again from the events of the log.
func (w *world) checkRollups(ctx context.Context, v *verdict, numbers []uint64) (bool, error) {
	minutes, entities := map[string]*sums{}, map[string]*sums{}
	add := func(to map[string]*sums, e event, key ...string) {
		k := strings.Join(key, "\t")
		if to[k] == nil {
			to[k] = &sums{}
		}
		to[k].add(e)
	}
	h := w.keys.Hasher()
	for _, n := range numbers {
		e := w.traffic.src.event(n)
		add(minutes, e, e.tenant, strconv.FormatInt(e.time.Truncate(time.Minute).Unix(), 10), e.server, e.tool, e.outcome, e.severity)
		hour := strconv.FormatInt(e.time.Truncate(time.Hour).Unix(), 10)
		for _, who := range []struct {
			kind, value string
			field       detect.Field
		}{{"client", e.client, detect.ActorClientID}, {"source", e.ip, detect.NetIP}, {"session", e.session, detect.MCPSession}} {
			name, _ := h.Pseudonym(e.tenant, who.field.Class(), who.value, e.time)
			add(entities, e, e.tenant, who.kind, name, hour)
		}
	}
	a, err := w.compare(ctx, v, "events_1m", minutes, (*sums).minute, 6, `SELECT tenant, toUnixTimestamp(minute), server_name, mcp_tool, outcome, severity,
		sum(events), sum(bytes_in), sum(bytes_out), max(max_ms), toUnixTimestamp64Milli(min(first_seen)), toUnixTimestamp64Milli(max(last_seen))
		FROM picket.events_1m GROUP BY tenant, minute, server_name, mcp_tool, outcome, severity`)
	if err != nil {
		return false, err
	}
	b, err := w.compare(ctx, v, "entity_1h", entities, (*sums).entity, 4, `SELECT tenant, kind, entity, toUnixTimestamp(hour),
		sum(events), sum(failures), sum(denied), sum(bytes_in), sum(bytes_out), max(max_ms), max(worst), toUnixTimestamp64Milli(min(first_seen)), toUnixTimestamp64Milli(max(last_seen))
		FROM picket.entity_1h GROUP BY tenant, kind, entity, hour`)
	return a && b, err
}

func (w *world) compare(ctx context.Context, v *verdict, table string, want map[string]*sums, text func(*sums) string, keys int, sql string) (bool, error) {
	got := map[string]string{}
	err := w.query(ctx, sql, func(c []string) error {
		got[strings.Join(c[:keys], "\t")] = strings.Join(c[keys:], "\t")
		return nil
	})
	if err != nil {
		return false, err
	}
	wrong := 0
	say := func(key, format string, args ...any) {
		if wrong++; wrong <= 2 {
			v.wrong("%s: %s: %s", table, strings.ReplaceAll(key, "\t", " "), fmt.Sprintf(format, args...))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if line := text(want[key]); got[key] != line {
			say(key, "has %q, want %q", got[key], line)
		}
	}
	for key, line := range got {
		if want[key] == nil {
			say(key, "has %q, and the log nothing", line)
		}
	}
	if wrong > 0 {
		v.wrong("%s: %d of %d rows are wrong", table, wrong, len(want))
	}
	return wrong == 0, nil
}
