package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// leastMemory is what the collector lets the process grow to before it works harder.
	leastMemory = 448 << 20
	memoryCheck = 5 * time.Second
)

// boundMemory keeps the heap near what is in use: a backlog allocates fast, and the collector's
// own goal is twice what it found alive. What is alive may outgrow the bound, as a million groups
// in windows do; then the bound moves, since a collector that can never reach it would take
// all the time there is. GOMEMLIMIT and GOGC come first where they are set.
func boundMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	before := debug.SetMemoryLimit(leastMemory)
	defer debug.SetMemoryLimit(before)
	tick := time.NewTicker(memoryCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
			metrics.Read(alive)
			debug.SetMemoryLimit(memoryBound(alive[0].Value.Uint64()))
		}
	}
}

// memoryBound leaves room for a third of what is alive: less would have the collector work all the time.
func memoryBound(alive uint64) int64 { return max(leastMemory, int64(alive)*4/3) }
