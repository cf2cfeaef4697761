package kafka

import (
	"cmp"
	"slices"
)

// protocolName is what members must agree on; it names the meaning of the subscription.
const protocolName = "picket-sticky-1"

type member struct {
	id    string
	name  string // instance id, or id: what the order goes by
	owned []int
}

// assign deals partitions 0..n-1 evenly, and leaves with each member what it had, as far as
// that is even: a partition that stays need not be replayed. The result depends on nothing
// but the arguments.
func assign(members []member, n int) map[string][]int {
	out := make(map[string][]int, len(members))
	if len(members) == 0 {
		return out
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	taken := make([]bool, n)
	low, extra := n/len(members), n%len(members) // extra members get low+1
	for _, m := range members {
		out[m.id] = nil
		quota := low
		if extra > 0 {
			quota++
		}
		slices.Sort(m.owned)
		for _, p := range m.owned {
			if p >= 0 && p < n && !taken[p] && len(out[m.id]) < quota {
				taken[p] = true
				out[m.id] = append(out[m.id], p)
			}
		}
		if len(out[m.id]) > low {
			extra--
		}
	}
	next := 0
	free := func() (int, bool) {
		for ; next < n; next++ {
			if !taken[next] {
				taken[next] = true
				return next, true
			}
		}
		return 0, false
	}
	for _, want := range []int{low, low + 1} {
		for _, m := range members {
			for len(out[m.id]) < want {
				p, ok := free()
				if !ok {
					break
				}
				out[m.id] = append(out[m.id], p)
			}
		}
	}
	for _, ps := range out {
		slices.Sort(ps)
	}
	return out
}
