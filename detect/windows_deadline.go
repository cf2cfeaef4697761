package detect

// deadline is when a group has something to judge, settle or drop.
type deadline struct {
	at     int64
	window *window
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
