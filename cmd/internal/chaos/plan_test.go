//go:build unix

package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Each seed kills in every state, before and after the effect, with and without a takeover.
func TestPlanHasEverything(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(50) {
		steps := plan(rand.New(rand.NewPCG(seed, 0)), sizes{kills: 10, rebalances: 5, zombies: 2, outages: 1, bounces: 1})
		count := func(is func(step) bool) (n int) {
			for _, s := range steps {
				if is(s) {
					n++
				}
			}
			return n
		}
		for what, want := range map[string]int{kill: 10, rebalance: 5, zombie: 2, outage: 1, bounce: 1} {
			if n := count(func(s step) bool { return s.what == what }); n != want {
				t.Errorf("seed %d: %d of %s, want %d", seed, n, what, want)
			}
		}
		for _, state := range []string{declare, insert, commit} {
			for _, after := range []bool{false, true} {
				if count(func(s step) bool { return s.what == kill && s.state == state && s.after == after }) == 0 {
					t.Errorf("seed %d: nobody is killed at %s, effect %v", seed, state, after)
				}
			}
		}
		if count(func(s step) bool { return s.what == kill && s.state == idle }) == 0 {
			t.Errorf("seed %d: nobody is killed while idle", seed)
		}
		for _, table := range []string{tableEvents, tableMinutes} {
			if count(func(s step) bool { return s.what == zombie && !s.after && s.table == table }) == 0 {
				t.Errorf("seed %d: no zombie's insert into %s arrives late: a missing token would not show", seed, table)
			}
		}
		var order string
		for _, s := range steps {
			order += s.String() + "\n"
		}
		orders[order] = true
		again := plan(rand.New(rand.NewPCG(seed, 0)), sizes{kills: 10, rebalances: 5, zombies: 2, outages: 1, bounces: 1})
		if !slices.Equal(steps, again) {
			t.Errorf("seed %d does not repeat its plan", seed)
		}
	}
	if len(orders) < 45 {
		t.Errorf("50 seeds give %d plans", len(orders))
	}
}
