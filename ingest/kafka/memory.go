package kafka

import (
	"cmp"
	"slices"
	"sync"
)

// blockSize is how much memory a partition's records are given at first. A range that needs
// more gets up to four times as much at a time, since the rest of a block is lost.
const blockSize = 1 << 20

// memory is what the records of one range lie in. It goes back to the pool when the range
// was committed, and to the garbage collector when the range was given up: only a commit
// says that nobody reads it any more.
type memory struct {
	blocks  [][]byte
	records []Record
}

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
	for i, b := range slices.Backward(p.free) {
		if cap(b) >= n && cap(b) <= 4*max(n, blockSize) {
			p.free = slices.Delete(p.free, i, i+1)
			p.bytes -= cap(b)
			return b[:0]
		}
	}
	const step = 64 << 10
	return make([]byte, 0, (max(n, 1)+step-1)/step*step)
}

// put takes back what nobody reads or writes any more.
func (p *pool) put(b []byte) {
	if p.poison {
		for i := range b[:cap(b)] {
			b[:cap(b)][i] = 0xA5
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if cap(b) > 0 && p.bytes+cap(b) <= p.most {
		p.free = append(p.free, b)
		p.bytes += cap(b)
	}
}

// release takes back the memory of ranges that were committed. Whoever kept a record of them
// finds it empty.
func (c *Consumer) release(ranges []Range) {
	for i := range ranges {
		m := ranges[i].memory
		if m == nil {
			continue
		}
		for _, b := range m.blocks {
			c.pool.put(b)
		}
		clear(m.records)
		most := cmp.Or(c.opts.MaxRanges, len(*c.parts.Load()))
		if n := cap(m.records); n > 0 && n <= 4*c.opts.MaxRows && len(c.lists) < most {
			c.lists = append(c.lists, m.records[:0])
		}
		*m = memory{} // a range that is committed twice has nothing more to give
	}
	for _, p := range *c.parts.Load() {
		if len(p.left) == 0 && p.redo == nil { // all that the open block has was handed out, and is done
			c.pool.put(p.block)
			p.block = nil
		}
	}
}

// newMemory is for the records of a new range.
func (c *Consumer) newMemory() *memory {
	m := &memory{}
	if n := len(c.lists); n > 0 {
		m.records, c.lists = c.lists[n-1], c.lists[:n-1]
	}
	return m
}
