package detect

// deadline is when a group has something to judge, settle or drop.
type deadline struct {
	at int64
	id uint32 // of the window, or of a list
}

// deadlines are a queue. Most deadlines are far: they wait in lists, each of some seconds, of
// which the earliest is put in order when its time comes.
type deadlines struct {
	near  deadlineHeap
	far   deadlineHeap     // when the lists begin
	lists places[[]uint32] // of windows, which know their deadline
	of    map[int64]uint32 // by the beginning
	until int64            // what is before it is near
}

const listMillis = 1 << 12

func (q *deadlines) push(d deadline) {
	begin := d.at &^ (listMillis - 1)
	if begin < q.until {
		q.near.push(d)
		return
	}
	list := q.of[begin]
	if list == 0 {
		if q.of == nil {
			q.of = map[int64]uint32{}
		}
		list = q.lists.put(nil)
		q.of[begin] = list
		q.far.push(deadline{begin, list})
	}
	q.lists.of[list] = append(q.lists.of[list], d.id)
}

// next takes the window whose deadline is the earliest, where that has passed.
func (q *deadlines) next(groups *table, watermark int64) (id uint32, due bool) {
	for {
		switch {
		case len(q.near) > 0 && q.near[0].at <= watermark:
			// A deadline that was put off, or whose window went, is another's or nobody's.
			if d := q.near.pop(); groups.queued(d.id) == d.at {
				return d.id, true
			}
		case len(q.near) == 0 && len(q.far) > 0 && q.far[0].at <= watermark: // all of it is behind what is near
			q.open(groups)
		default:
			return 0, false
		}
	}
}

// open puts the earliest list in order.
func (q *deadlines) open(groups *table) {
	list := q.far.pop()
	delete(q.of, list.at)
	q.until = max(q.until, list.at+listMillis)
	for _, id := range q.lists.of[list.id] {
		if at := groups.queued(id); at&^(listMillis-1) == list.at {
			q.near.push(deadline{at, id})
		}
	}
	q.lists.drop(list.id)
}

// deadlineHeap has the earliest first. container/heap would allocate for each.
type deadlineHeap []deadline

func (h *deadlineHeap) push(d deadline) {
	q := append(*h, d)
	*h = q
	i := len(q) - 1
	for i > 0 && q[(i-1)/2].at > d.at {
		q[i] = q[(i-1)/2]
		i = (i - 1) / 2
	}
	q[i] = d
}

func (h *deadlineHeap) pop() deadline {
	q := *h
	first, n := q[0], len(q)-1
	d := q[n]
	q[n] = deadline{}
	q = q[:n]
	*h = q
	if n == 0 {
		return first
	}
	i := 0
	for {
		child := 2*i + 1
		if child+1 < n && q[child+1].at < q[child].at {
			child++
		}
		if child >= n || q[child].at >= d.at {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = d
	return first
}
