package app

import (
	"context"
	"time"

	"picket/ingest/kafka"
)

// Drain returns when everything that was in the events topic at the call is stored,
// judged, told and archived, or when the context ends. It holds for a process that
// runs all roles and has every partition.
func (a *App) Drain(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, stage := range a.stages {
		// What a stage writes for the next one is there once it has seen the end of its
		// own topic at a moment after the stage before was done.
		since := time.Now()
		for _, c := range stage {
			for !doneSince(c.Assigned(), c.Ends(), since) {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-tick.C:
				}
			}
		}
	}
	return nil
}

func doneSince(assigned []int32, ends map[int32]kafka.End, since time.Time) bool {
	for _, p := range assigned {
		if !ends[p].At.After(since) {
			return false
		}
	}
	return len(assigned) > 0
}
