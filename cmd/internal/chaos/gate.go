//go:build unix

package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// The requests that a gate knows.
const (
	declare = "declare" // a commit that declares a batch, and acknowledges the one before
	insert  = "insert"  // rows into one table
	commit  = "commit"  // a commit that only acknowledges
)

// point is a moment in the life of a request: before it is sent on, or after it took effect
// and before its answer.
type point struct {
	kind       string
	after      bool
	table      string // of an insert
	partition  int32  // of an insert, like the range; a commit is about several
	begin, end int64
}

func (p point) String() string {
	when := "before it is sent on"
	if p.after {
		when = "before its answer"
	}
	if p.kind == insert {
		return fmt.Sprintf("insert of %d:[%d, %d) into %s, %s", p.partition, p.begin, p.end, p.table, when)
	}
	return p.kind + ", " + when
}

// gate stands at one process's connections. The zero value lets everything pass.
type gate struct {
	mu   sync.Mutex
	want func(point) bool
	got  chan *held
	shut chan struct{} // not nil: nothing passes until it is closed
}

// held is a request that waits for a verdict.
type held struct {
	point
	verdict chan bool // true: go on; false: hang up
}

func (h *held) release(goOn bool) { h.verdict <- goOn }

// pass is called by the proxies, and blocks while the request is held.
func (g *gate) pass(p point) bool {
	g.mu.Lock()
	if shut := g.shut; shut != nil {
		g.mu.Unlock()
		<-shut
		return false
	}
	if g.want == nil || !g.want(p) {
		g.mu.Unlock()
		return true
	}
	h := &held{point: p, verdict: make(chan bool, 1)}
	g.want = nil
	g.got <- h
	g.mu.Unlock()
	return <-h.verdict
}

// catch arms the gate for one request. The channel gets it.
func (g *gate) catch(want func(point) bool) <-chan *held {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want, g.got = want, make(chan *held, 1)
	return g.got
}

// close lets nothing pass any more; reset ends that, and what waited is hung up.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.want = nil
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// await waits for what a gate was armed for.
func await(ctx context.Context, got <-chan *held, within time.Duration) (*held, error) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case h := <-got:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return nil, fmt.Errorf("no such request within %s", within)
	}
}
