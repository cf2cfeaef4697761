//go:build unix

package main

import (
	"bytes"
	"testing"
	"time"

	"picket/detect"
	"picket/ingest"
)

// What the run takes for an event must be one, and what it takes for damaged must not.
func TestRecordsAreWhatTheRunTakesThemFor(t *testing.T) {
	src := source{seed: 7, base: time.Now().Truncate(time.Second)}
	dec := ingest.NewDecoder(ingest.Options{Lateness: 15 * time.Minute})
	kinds := map[bool]int{}
	for n := range uint64(5000) {
		value := src.value(n)
		if !bytes.Equal(value, src.value(n)) {
			t.Fatalf("record %d is not the same twice", n)
		}
		var ev detect.Event
		err := dec.Decode(&ev, ingest.Record{Topic: topic, Offset: int64(n), Append: time.Now(), Value: value})
		if (err != nil) != src.hostile(n) {
			t.Fatalf("record %d: %v\n%q", n, err, value)
		}
		kinds[err != nil]++
		if want := src.event(n); err == nil && (!ev.Time.Equal(want.time) || ev.TimeFlagged) {
			t.Fatalf("record %d is at %s, want %s", n, ev.Time, want.time)
		}
	}
	if kinds[true] < 40 {
		t.Errorf("%d records of 5000 are damaged", kinds[true])
	}
}
