package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

// samples are metrics by name with labels, as Prometheus writes them.
type samples map[string]float64

func parseMetrics(text string) samples {
	out := samples{}
	for line := range strings.Lines(text) {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64); err == nil {
			out[line[:i]] = v
		}
	}
	return out
}

// sum adds up the samples of a metric that have a label.
func (s samples) sum(name, label string) (total float64) {
	for k, v := range s {
		if strings.HasPrefix(k, name+"{") && strings.Contains(k, label) {
			total += v
		}
	}
	return total
}

// stages are the seconds per stage of one role.
func (s samples) stages(role string) map[string]float64 {
	out := map[string]float64{}
	for k, v := range s {
		rest, ok := strings.CutPrefix(k, `picket_stage_seconds_total{role="`+role+`",stage="`)
		if ok {
			out[strings.TrimSuffix(rest, `"}`)] = v
		}
	}
	return out
}

// leftOut is what rules were not shown, by reason.
func (s samples) leftOut() map[string]float64 {
	out := map[string]float64{}
	for k, v := range s {
		if reason, ok := strings.CutPrefix(k, `picket_left_out_total{reason="`); ok && v > 0 {
			out[strings.TrimSuffix(reason, `"}`)] = v
		}
	}
	return out
}

func (w *world) metrics(ctx context.Context) (samples, error) {
	text, err := get(ctx, w.admin+"/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(text), nil
}

// usage is the CPU time of each process, and of the machine.
type usage struct {
	at    time.Time
	procs map[string]time.Duration
	busy  time.Duration // of all processes of the machine
}

func (w *world) usage() (usage, error) {
	u := usage{at: time.Now(), procs: map[string]time.Duration{}}
	for _, p := range []*proc{w.kafka, w.engine, w.run} {
		if p == nil {
			continue
		}
		t, err := p.cpu()
		if err != nil {
			return u, fmt.Errorf("CPU time of %s: %w", p.name, err)
		}
		u.procs[p.name] = t
	}
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	u.busy, err = parseBusy(string(raw))
	return u, err
}

// parseBusy adds up what the first line of /proc/stat says of all CPUs: user, nice, system,
// then, after idle and waiting, interrupts.
func parseBusy(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, fmt.Errorf("read /proc/stat: %q", line)
	}
	var sum time.Duration
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * (time.Second / 100)
	}
	return sum, nil
}

func (u usage) since(before usage) usage {
	out := usage{at: u.at, procs: maps.Clone(u.procs), busy: u.busy - before.busy}
	for name, t := range before.procs {
		out.procs[name] -= t
	}
	return out
}

func (u usage) sum() (t time.Duration) {
	for _, p := range u.procs {
		t += p
	}
	return t
}
