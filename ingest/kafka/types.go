package kafka

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// Header is one Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record. Append is the broker's append time (LogAppendTime), or the
// producer's stamp where the broker ignores LogAppendTime (kfake). Key, Value and Headers are
// the receiver's until their batch is committed; then their memory is used again, so what is
// kept for longer must be copied. Those of Scan stay as they are.
type Record struct {
	Topic      string
	Partition  int32
	size       int32 // unpacked, with headers that were dropped
	Offset     int64
	Key, Value []byte
	Headers    []Header
	Append     time.Time
}

// held is how much memory the record takes.
func (r *Record) held() int { return int(r.size) + 64 + 40*len(r.Headers) }

// Range is the declared part [Begin, End) of one partition. Every record of Records has
// Begin <= Offset < End; offsets may have gaps (transaction markers).
type Range struct {
	Topic      string
	Partition  int32
	Begin, End int64
	Records    []Record

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

	// Unreadable parts of the range: a batch that breaks a limit or is corrupt.
	Unreadable []Unreadable

	memory *memory // that goes back to the consumer; nil elsewhere
}

// Part is the range between two of its offsets. It shares the records.
func (r *Range) Part(begin, end int64) Range {
	at := func(offset int64) int {
		i, _ := slices.BinarySearchFunc(r.Records, offset, func(rec Record, offset int64) int { return cmp.Compare(rec.Offset, offset) })
		return i
	}
	out := *r
	out.Begin, out.End, out.Records = begin, end, r.Records[at(begin):at(end)]
	return out
}

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

// Len is the number of records.
func (b Batch) Len() int {
	n := 0
	for i := range b.Ranges {
		n += len(b.Ranges[i].Records)
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
