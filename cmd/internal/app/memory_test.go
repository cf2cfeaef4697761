package app

import (
	"context"
	"runtime/debug"
	"testing"
)

func TestMemoryBoundFollowsWhatIsAlive(t *testing.T) {
	for alive, want := range map[uint64]int64{0: 448 << 20, 200 << 20: 448 << 20, 3 << 29: 1 << 31} {
		if got := memoryBound(alive); got != want {
			t.Errorf("%d bytes alive: a bound of %d, want %d", alive, got, want)
		}
	}
}

func TestMemoryBoundLeavesTheOperatorsChoice(t *testing.T) {
	const own = 123 << 20
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(own))
	t.Setenv("GOMEMLIMIT", "123MiB")
	boundMemory(context.Background()) // returns at once
	if got := debug.SetMemoryLimit(-1); got != own {
		t.Errorf("the limit became %d", got)
	}
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	boundMemory(ctx)
	if got := debug.SetMemoryLimit(-1); got != own {
		t.Errorf("the limit is %d after the end", got)
	}
}
