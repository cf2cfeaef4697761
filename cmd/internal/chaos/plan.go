//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
)

// What can be done to the pipeline.
const (
	kill      = "kill"
	rebalance = "rebalance"
	zombie    = "zombie"
	outage    = "outage"
	bounce    = "bounce"
	cut       = "cut" // a connection, with nobody killed
)

const idle = "idle" // a state to kill in, beside declare, insert and commit

// step is one thing that is done, and waited for until all goes on.
type step struct {
	what  string
	state string // of the process: declare, insert, commit, idle
	after bool   // the request has taken effect
	table string // of an insert
	// takeover leaves the process dead until others have its partitions; otherwise it is
	// started again at once.
	takeover bool
	// late sends the request on after the takeover.
	late bool
}

func (s step) String() string {
	if s.what == rebalance || s.what == bounce {
		return s.what
	}
	if s.state == idle {
		return s.what + " while idle"
	}
	when, then := "before", ""
	if s.after {
		when = "after"
	}
	if s.late {
		then = ", the request arrives late"
	} else if s.takeover {
		then = ", others take over"
	}
	of := s.state
	if s.table != "" {
		of += " into " + s.table
	}
	return fmt.Sprintf("%s %s %s took effect%s", s.what, when, of, then)
}

// sizes say how much of each.
type sizes struct {
	kills, rebalances, zombies, outages, bounces, cuts int
}

const (
	tableEvents   = "events"
	tableDead     = "dead_letters"
	tableMinutes  = "events_1m"
	tableEntities = "entity_1h"
	tableLedger   = "ingest_ledger"
)

// plan draws the steps. The kinds are dealt in turn, so that each seed has them all; the
// order and who is hit are drawn.
func plan(r *rand.Rand, n sizes) []step {
	kills := []step{
		{state: insert, after: true, table: tableEvents},
		{state: declare, after: true},
		{state: commit, after: true},
		{state: idle},
		{state: insert, table: tableEvents, takeover: true, late: true},
		{state: declare},
		{state: insert, after: true, table: tableMinutes},
		{state: commit},
		{state: declare, after: true, takeover: true},
		{state: insert, after: true, table: tableDead},
		{state: insert, table: tableLedger},
		{state: insert, after: true, table: tableEntities, takeover: true},
		{state: commit, takeover: true, late: true},
		{state: insert, after: true, table: tableLedger},
		{state: declare, takeover: true, late: true},
		{state: insert, table: tableMinutes, takeover: true, late: true},
	}
	zombies := []step{
		{state: insert, table: tableEvents, takeover: true, late: true},
		{state: insert, table: tableMinutes, takeover: true, late: true},
		{state: insert, after: true, table: tableLedger, takeover: true, late: true},
		{state: declare, takeover: true, late: true},
	}
	cuts := []step{
		{state: insert, after: true, table: tableEvents},
		{state: declare, after: true},
		{state: insert, after: true, table: tableEntities},
		{state: declare},
	}
	var out []step
	deal := func(what string, n int, from []step) {
		for i := range n {
			s := from[i%len(from)]
			s.what = what
			out = append(out, s)
		}
	}
	deal(kill, n.kills, kills)
	deal(zombie, n.zombies, zombies)
	deal(cut, n.cuts, cuts)
	deal(rebalance, n.rebalances, []step{{}})
	deal(outage, n.outages, []step{{state: insert, after: true, table: tableEvents}})
	deal(bounce, n.bounces, []step{{}})
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
