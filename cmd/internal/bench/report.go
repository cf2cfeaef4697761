package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what was measured; it is the JSON of the last line.
type report struct {
	Events      int     `json:"events"`
	Bytes       float64 `json:"bytes_per_event"`
	Roles       string  `json:"roles"`
	Compression string  `json:"compression"`

	StoreRate  float64 `json:"store_events_per_s"`  // by the clock
	DetectRate float64 `json:"detect_events_per_s"` // by the clock
	Rate       float64 `json:"events_per_s"`        // by the clock, until all roles are done
	Elapsed    float64 `json:"elapsed_s"`

	BrokerCPU    float64 `json:"broker_cpu_us_per_event"`
	EngineCPU    float64 `json:"engine_cpu_us_per_event"`
	PicketCPU    float64 `json:"picket_cpu_us_per_event"`
	TotalCPU     float64 `json:"cpu_us_per_event"`
	EngineMerged float64 `json:"engine_cpu_us_per_event_merged"` // with the merges that were left
	IdleCores    float64 `json:"idle_cores"`                     // that all three use without events
	NetCPU       float64 `json:"net_cpu_us_per_event"`           // merges included, without what idling takes
	Cores        float64 `json:"cores_used"`
	OtherCores   float64 `json:"cores_used_by_others"`
	TwoCores     float64 `json:"two_cores_events_per_s"` // computed from CPU time

	Matches float64 `json:"matches_per_event"` // of rules, most of which only count

	LeftOut map[string]float64 `json:"left_out"` // points by reason: "overflow" means that counts are too low

	PeakBacklog float64 `json:"peak_rss_mib_backlog"`
	PeakRSS     float64 `json:"peak_rss_mib"`

	LiveRate   float64            `json:"live_events_per_s"`
	LiveCores  float64            `json:"live_cores_used"`
	LiveOthers float64            `json:"live_cores_used_by_others"`
	LiveParts  map[string]float64 `json:"live_cores_by_process"`
	LiveRuns   map[string]float64 `json:"live_batches_per_s"` // by role
	Alerts     int                `json:"live_alerts"`
	AlertP50   float64            `json:"alert_p50_ms"`
	AlertP99   float64            `json:"alert_p99_ms"`
	AlertMax   float64            `json:"alert_max_ms"`
	QueryP50   float64            `json:"queryable_p50_s"`
	QueryMax   float64            `json:"queryable_max_s"`

	Stages map[string]map[string]float64 `json:"stage_us_per_event"` // role, stage

	samples samples
	done    map[string]time.Time
}

// took takes down the backlog's part.
func (r *report) took(before, after, merged, idle usage, began time.Time, done map[string]time.Time) {
	n := float64(r.Events)
	rate := func(end time.Time) float64 {
		if end.IsZero() {
			return 0
		}
		return n / end.Sub(began).Seconds()
	}
	us := func(d time.Duration) float64 { return d.Seconds() * 1e6 / n }
	r.done = done
	r.StoreRate, r.DetectRate, r.Rate = rate(done["store"]), rate(done["detect"]), rate(after.at)
	r.Elapsed = after.at.Sub(began).Seconds()
	u := after.since(before)
	r.BrokerCPU, r.EngineCPU, r.PicketCPU = us(u.procs["kafka"]), us(u.procs["engine"]), us(u.procs["picket"])
	r.TotalCPU = us(u.sum())
	wall := after.at.Sub(before.at).Seconds()
	r.Cores, r.OtherCores = u.sum().Seconds()/wall, (u.busy-u.sum()).Seconds()/wall
	r.EngineMerged = us(merged.since(before).procs["engine"])
	r.IdleCores = idle.sum().Seconds()
	r.NetCPU = r.TotalCPU + r.EngineMerged - r.EngineCPU -
		(idle.sum().Seconds()*wall+idle.procs["engine"].Seconds()*merged.at.Sub(after.at).Seconds())*1e6/n
	r.TwoCores = (2 - r.IdleCores) * 1e6 / r.NetCPU
	r.Matches = r.samples.sum("picket_rule_matches_total", "") / n
	r.LeftOut = r.samples.leftOut()
	r.Stages = map[string]map[string]float64{}
	for _, role := range strings.Split(r.Roles, ",") {
		stages := r.samples.stages(role)
		for s := range stages {
			stages[s] *= 1e6 / n
		}
		r.Stages[role] = stages
	}
}

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }
	line("")
	line("Backlog of %d events, %.0f bytes each (%s), all on this machine", r.Events, r.Bytes, r.Compression)
	line("by the clock\t%.0f events/s in %.1f s (store %.0f, detect %.0f)", r.Rate, r.Elapsed, r.StoreRate, r.DetectRate)
	line("cores used meanwhile\t%.2f, and by other programs %.2f", r.Cores, r.OtherCores)
	line("CPU per event\t%.1f us: broker %.1f, engine %.1f (%.1f with the merges that were left), picket %.1f",
		r.TotalCPU, r.BrokerCPU, r.EngineCPU, r.EngineMerged, r.PicketCPU)
	line("without what idling takes\t%.1f us an event, merges included; %.2f cores idling", r.NetCPU, r.IdleCores)
	line("two free cores, computed\t%.0f events/s at that CPU time", r.TwoCores)
	line("peak memory of picket\t%.0f MiB", r.PeakBacklog)
	line("rules that an event matches\t%.2f", r.Matches)
	for _, reason := range slices.Sorted(maps.Keys(r.LeftOut)) {
		line("left out, %s\t%.0f", reason, r.LeftOut[reason])
	}
	for _, role := range slices.Sorted(maps.Keys(r.Stages)) {
		line("")
		line("%s, wall time per event", role)
		for _, stage := range slices.Sorted(maps.Keys(r.Stages[role])) {
			line("  %s\t%.2f us", stage, r.Stages[role][stage])
		}
	}
	if r.Alerts > 0 {
		line("")
		line("Live load\t%.0f events/s; %.2f cores, others %.2f", r.LiveRate, r.LiveCores, r.LiveOthers)
		line("of that\tbroker %.2f, engine %.2f, picket %.2f", r.LiveParts["kafka"], r.LiveParts["engine"], r.LiveParts["picket"])
		line("batches a second\tstore %.1f, detect %.1f, correlate %.1f", r.LiveRuns["store"], r.LiveRuns["detect"], r.LiveRuns["correlate"])
		line("append to alert\tp50 %.0f ms, p99 %.0f ms, at most %.0f ms, of %d alerts", r.AlertP50, r.AlertP99, r.AlertMax, r.Alerts)
		line("low load, until it can be queried\tmedian %.2f s, at most %.2f s", r.QueryP50, r.QueryMax)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(r)
}
