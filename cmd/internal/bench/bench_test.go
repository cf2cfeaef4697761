package main

import (
	"testing"
	"time"

	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/detect"
	"picket/ingest"
)

// What is measured must be what it is said to be: events that decode, of about the size that is
// named, with the share of attacks that was asked for, each of which a shipped rule sees.
func TestTrafficIsPlausible(t *testing.T) {
	rules, _, err := app.LoadRules(config.Default(), detect.LoadOptions{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	const share = 0.015
	g := newTraffic(1, share)
	dec := ingest.NewDecoder(ingest.Options{})
	m, scanner := detect.NewMatcher(rules), detect.NewScanner()
	var ev detect.Event
	var matches []detect.Match
	size, hits := 0, 0
	at := time.Now()
	decode := func(value []byte) []string {
		t.Helper()
		if err := dec.Decode(&ev, ingest.Record{Append: at, Value: value}); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		scanner.Scan(&ev)
		matches = m.Match(matches[:0], &ev)
		var out []string
		for _, m := range matches {
			out = append(out, rules.Rules()[m.Rule].Info.ID)
		}
		return out
	}
	special := map[string]bool{"AU-01": true, "AZ-01": true, "IN-01": true, "IN-05": true}
	for range n {
		value := g.event(nil, at)
		size += len(value)
		for _, id := range decode(value) {
			if special[id] {
				hits++
				break
			}
		}
	}
	if mean := size / n; mean < 650 || mean > 780 {
		t.Errorf("%d bytes an event", mean)
	}
	if got := float64(hits) / n; got < share*0.8 || got > share*2 {
		t.Errorf("%.4f of the events are seen as attacks, of %.4f", got, share)
	}
	found := false
	for _, id := range decode(g.probe(nil, at)) {
		found = found || id == "IN-06"
	}
	if !found {
		t.Error("the probe does not fire its rule")
	}
}

func TestParse(t *testing.T) {
	stat := []byte("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 0 0")
	if got, err := parseCPU(stat); err != nil || got != 3*time.Second {
		t.Errorf("CPU time %v, %v", got, err)
	}
	if got, err := parseBusy("cpu  100 50 50 900 7 20 80 0 0 0\ncpu0 1"); err != nil || got != 3*time.Second {
		t.Errorf("busy %v, %v", got, err)
	}
	m := parseMetrics("# HELP x y\npicket_records_total{role=\"store\"} 42\npicket_stage_seconds_total{role=\"store\",stage=\"decode\"} 1.5\n")
	if m[`picket_records_total{role="store"}`] != 42 || m.stages("store")["decode"] != 1.5 || m.sum("picket_records_total", `role="store"`) != 42 {
		t.Errorf("%v", m)
	}
	times := []time.Duration{1, 2, 3, 4}
	if quantile(times, 0.5) != 3 || quantile(times, 0.99) != 4 || quantile(nil, 0.5) != 0 {
		t.Error("quantiles")
	}
}
