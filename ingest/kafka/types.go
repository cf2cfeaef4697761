package kafka

import (
	"errors"
	"iter"
	"time"
)

// Header is one Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record. Append is the broker's append time (LogAppendTime), or the
// producer's stamp where the broker ignores LogAppendTime (kfake).
type Record struct {
	Topic      string
	Partition  int32
	Offset     int64
	Key, Value []byte
	Headers    []Header
	Append     time.Time
}

// Range is the declared part [Begin, End) of one partition. It is held as it is stored, and All
// unpacks it. One goroutine may read it at a time.
type Range struct {
	Topic      string
	Partition  int32
	Begin, End int64

	// Redo: declared by an earlier owner or run, so its effects may exist already.
	Redo bool
	// Replay: read again below the committed offset because OnAssign asked for it. Neither
	// declared nor committed.
	Replay bool

	// HighWatermark is the end of the partition when these records were fetched.
	HighWatermark int64

	// Gap: the read position was out of the log's range and had to move. Lost counts the
	// offsets that nobody can read any more (expired or truncated); a Gap with Lost 0 means
	// that the log was shortened or made anew, and reading began again at its start.
	Gap  bool
	Lost int64

	// Unreadable parts of the range, as All found them: a batch that breaks a limit or is corrupt.
	Unreadable []Unreadable

	stored []storedBatch // that it has a part of, in order
	from   *readers
	held   *held             // memory that goes back to the consumer; nil elsewhere
	given  iter.Seq[*Record] // instead of stored
	bytes  int               // that it unpacks to
}

// Part is the range between two of its offsets.
func (r *Range) Part(begin, end int64) Range {
	out := *r
	out.Begin, out.End, out.Unreadable = begin, end, nil
	return out
}

// Give makes a range of records that are at hand, in order: for twins of a Consumer.
func (r *Range) Give(records iter.Seq[*Record]) { r.given = records }

// Unreadable is a stored batch of records that was not decoded. It is skipped, so that one
// bad batch cannot stop a partition; whoever keeps dead letters writes one for it.
type Unreadable struct {
	Begin, End int64
	Bytes      int // as stored, compressed
	Append     time.Time
	Reason     string
}

// Batch is what one Poll returns. An empty one (no Ranges) only says that time passed.
type Batch struct {
	Ranges []Range

	generation int32
	serial     uint64
}

// Empty reports whether there is nothing to do.
func (b Batch) Empty() bool { return len(b.Ranges) == 0 }

// Len is the number of records, counting those that cannot be read.
func (b Batch) Len() int {
	n := 0
	for i := range b.Ranges {
		n += b.Ranges[i].Len()
	}
	return n
}

// Assignment is what the group gave this member for one partition, as found committed.
type Assignment struct {
	Partition int32
	Committed int64 // everything before it is done
	// DeclaredEnd is the end of a batch [Committed, DeclaredEnd) that was declared and may
	// or may not be done; -1 if there is none.
	DeclaredEnd int64
	Meta        string // the user's part of the commit's metadata
	New         bool   // nothing was committed: Committed is where reading starts
	Moved       bool   // another program committed it: an operator's reset, or somebody's attempt to hide records
}

// End tells that a partition was read, and done, to its end at a moment.
type End struct {
	Offset int64
	At     time.Time // when the fetch that found nothing was sent, on this host's clock
}

var (
	// ErrFenced says that the batch's generation is over: its ranges belong to whoever
	// owns the partitions now, and will be done again by them.
	ErrFenced = errors.New("the consumer group moved on to a new generation; the batch is its new owner's to do")
	// ErrInstanceTaken says that another live process joined with the same instance id.
	ErrInstanceTaken = errors.New("another process joined the consumer group with the same instance id; give each instance its own")
	// ErrClosed is returned by a consumer after Close.
	ErrClosed = errors.New("the consumer is closed")
)
