package tap

import "sync/atomic"

// queue is a channel bounded by count and by bytes. Many may put; whoever
// takes calls done when the bytes are no longer held.
type queue[T any] struct {
	ch    chan T
	bytes atomic.Int64
	max   int64
}

func newQueue[T any](count int, bytes int64) *queue[T] {
	return &queue[T]{ch: make(chan T, count), max: bytes}
}

// put never blocks; it reports whether there was room.
func (q *queue[T]) put(v T, size int64) bool {
	if q.bytes.Add(size) > q.max {
		q.bytes.Add(-size)
		return false
	}
	select {
	case q.ch <- v:
		return true
	default:
		q.bytes.Add(-size)
		return false
	}
}

func (q *queue[T]) done(size int64) { q.bytes.Add(-size) }
