package kafka

import (
	"sync/atomic"
	"time"
)

// Stats counts what a consumer saw since it was made. It may be read from any goroutine.
type Stats struct {
	Bytes       atomic.Int64 // fetched, as stored
	Control     atomic.Int64 // transaction markers, which are not data
	Unreadable  atomic.Int64 // batches skipped
	Lost        atomic.Int64 // offsets that expired or were truncated before they were read
	Resets      atomic.Int64 // the log was found shorter than the committed offset
	FetchErrors atomic.Int64
	Generations atomic.Int64 // joined
	Fenced      atomic.Int64 // commits refused because the generation was over
	Commits     atomic.Int64
	Unanswered  atomic.Int64 // commits that may be done or not: the group was joined anew after them

	fetching, unpacking, committing atomic.Int64 // nanoseconds
}

// Spent is how long a consumer took for what, added up over its partitions.
type Spent struct {
	Fetch  time.Duration // waiting for answers that had records
	Unpack time.Duration // checking, decompressing and cutting them
	Commit time.Duration // declaring and acknowledging batches
}

// Spent is the time so far.
func (s *Stats) Spent() Spent {
	return Spent{time.Duration(s.fetching.Load()), time.Duration(s.unpacking.Load()), time.Duration(s.committing.Load())}
}
