package detect

import (
	"encoding/binary"
	"math"
)

// gone are the events whose points left the windows of groups that have not fired: an alert that
// comes later in the same bucket counts them too. Most groups never fire, and all that is left of
// one until its bucket settles is a number beside some bits of its hash.
type gone struct {
	of   map[goneKey]*leftovers
	n    int   // groups in all of them
	next int64 // watermark at which the first may settle
}

type goneKey struct {
	rule  uint32
	start int64 // of the bucket
}

// leftovers are the counts of one bucket by group. A group is known by 64 bits of its hash, as an
// event is by its identity.
type leftovers struct {
	rule   *ruleState
	groups []uint64 // 0 is free
	counts []uint16
	n      int
	until  int64 // watermark from which the bucket is settled
}

// fewGone is how many places the leftovers of a bucket begin with.
const fewGone = 8

// gonePerGroup is how many groups whose points are gone may be left over for each that may be held:
// they take about as much memory. Further ones are held as long as their bucket.
const gonePerGroup = 4

func newGone() gone {
	return gone{of: map[goneKey]*leftovers{}, next: math.MaxInt64}
}

func leftoverKey(group [16]byte) uint64 {
	return max(1, binary.LittleEndian.Uint64(group[:])+0x9e3779b97f4a7c15*binary.LittleEndian.Uint64(group[8:]))
}

// count is how many events of a group are gone.
func (x *gone) count(rule *ruleState, group [16]byte, start int64) uint64 {
	l := x.of[goneKey{rule.id, start}]
	if l == nil {
		return 0
	}
	return uint64(l.counts[l.place(leftoverKey(group))])
}

// add counts events that go; not where there is no room for that.
func (x *gone) add(rule *ruleState, group [16]byte, start int64, events int) bool {
	at := goneKey{rule.id, start}
	l := x.of[at]
	if l == nil {
		l = &leftovers{rule: rule, groups: make([]uint64, fewGone), counts: make([]uint16, fewGone), until: start + rule.bucket + rule.plan.lag}
		x.of[at] = l
		x.next = min(x.next, l.until)
	}
	key := leftoverKey(group)
	i := l.place(key)
	if events > math.MaxUint16-int(l.counts[i]) {
		return false
	}
	if l.groups[i] == 0 {
		if !rule.inGone.has(x.n, rule.gone) {
			return false
		}
		x.n++
		rule.gone++
		if l.n++; 8*l.n > 7*len(l.groups) {
			l.grow()
			i = l.place(key)
		}
		l.groups[i] = key
	}
	l.counts[i] += uint16(events)
	return true
}

// place is where a group is, or a free place.
func (l *leftovers) place(key uint64) int {
	mask := uint64(len(l.groups) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		if k := l.groups[i]; k == key || k == 0 {
			return int(i)
		}
	}
}

func (l *leftovers) grow() {
	groups, counts := l.groups, l.counts
	l.groups, l.counts = make([]uint64, 2*len(groups)), make([]uint16, 2*len(groups))
	for i, key := range groups {
		if key != 0 {
			at := l.place(key)
			l.groups[at], l.counts[at] = key, counts[i]
		}
	}
}

// settle forgets the buckets that a watermark has passed.
func (x *gone) settle(watermark int64) {
	if watermark < x.next {
		return
	}
	x.next = math.MaxInt64
	for at, l := range x.of {
		if l.until <= watermark {
			x.n -= l.n
			l.rule.gone -= l.n
			delete(x.of, at)
			continue
		}
		x.next = min(x.next, l.until)
	}
}

// leave counts the n oldest points, which go, in those of their buckets that have not settled.
func (w *Windows) leave(g *window, n int, mark int64) {
	s := g.series()
	r := s.reader()
	for i := 0; i < n; {
		start := r.time(i) - mod(r.time(i), g.rule.bucket)
		end := min(n, max(i+1, s.first(start+g.rule.bucket)))
		if start+g.rule.bucket > mark && g.bucketAt(start) == nil {
			events := 0
			for k := i; k < end; k++ {
				if p := r.point(k); g.counts(&p) && !r.countedBefore(g, k, &p) {
					events++
				}
			}
			if events > 0 && !w.gone.add(g.rule, g.group, start, events) {
				w.bucket(g, start)
			}
		}
		i = end
	}
}
