package kafka

import (
	"slices"
	"sync"
)

// held is the memory of one range: what its stored batches lie in. It goes back to the pool when
// the range was committed, and to the garbage collector when the range was given up: only a
// commit says that nobody reads it any more.
type held struct{ bodies [][]byte }

// pool keeps memory to be used again. Any goroutine may use it.
type pool struct {
	most   int  // bytes that it keeps
	poison bool // for tests: overwrites what comes back, so that a reader who still has it notices

	mu    sync.Mutex
	free  [][]byte // guarded by mu
	bytes int      // of free; guarded by mu
}

// get returns an empty slice with room for n bytes. What was in it is not cleared.
func (p *pool) get(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	const step, much = 64 << 10, 1 << 20
	for i, b := range slices.Backward(p.free) {
		if cap(b) >= n && cap(b) <= 4*max(n, much) {
			p.free = slices.Delete(p.free, i, i+1)
			p.bytes -= cap(b)
			return b[:0]
		}
	}
	return make([]byte, 0, (max(n, 1)+step-1)/step*step)
}

// put takes back what nobody reads or writes any more.
func (p *pool) put(b []byte) {
	if p.poison {
		overwrite(b[:cap(b)])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(b) > 0 && p.bytes+cap(b) <= p.most {
		p.free = append(p.free, b)
		p.bytes += cap(b)
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = 0xA5
	}
}

// release takes back the memory of ranges that were committed.
func (c *Consumer) release(ranges []Range) {
	for i := range ranges {
		if h := ranges[i].held; h != nil {
			for _, b := range h.bodies {
				c.pool.put(b)
			}
			h.bodies = nil // a range that is committed twice has nothing more to give
		}
	}
}
