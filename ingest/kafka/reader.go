package kafka

import (
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// reader unpacks stored batches, one at a time, into memory of its own, so that what is read was
// just written and is still in the processor's caches. One goroutine uses it at a time.
type reader struct {
	unpacker
	plain []byte
	rec   Record
}

// readers keeps readers to be used again. Any goroutine may use it.
type readers struct {
	limit  int  // what a stored batch may unpack to
	poison bool // for tests: overwrites what was read, so that whoever kept it notices
	stats  *Stats
	log    *slog.Logger

	mu   sync.Mutex
	free []*reader // guarded by mu

	weighing sync.Mutex // one stored batch is unpacked at a time to weigh it, whatever partitions there are
}

const (
	mostReaders = 8
	mostPlain   = 2 << 20 // that an idle reader keeps
)

func (rs *readers) get() *reader {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	n := len(rs.free)
	if n == 0 {
		return &reader{unpacker: unpacker{limit: rs.limit}}
	}
	r := rs.free[n-1]
	rs.free = rs.free[:n-1]
	return r
}

func (rs *readers) put(r *reader) {
	r.rec = Record{}
	if cap(r.plain) > mostPlain {
		r.plain = nil
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if len(rs.free) < mostReaders {
		rs.free = append(rs.free, r)
		return
	}
	r.close()
}

func (rs *readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, r := range rs.free {
		r.close()
	}
	rs.free = nil
}

// weigh finds how much a stored batch unpacks to: before it is declared, since a batch must fit
// into its limits. For most codecs that takes much less than to unpack it.
func (rs *readers) weigh(s *storedBatch) {
	if s.weight = len(s.records); s.err != nil {
		return
	}
	n, known := unpackedSize(s.codec(), s.records)
	if !known {
		rs.weighing.Lock()
		defer rs.weighing.Unlock()
		r := rs.get()
		defer rs.put(r)
		plain, err := r.unpack(r.plain[:0], s.codec(), s.records)
		if err == nil {
			r.plain, n = plain, len(plain)
		}
	}
	s.weight = max(s.weight, min(n, rs.limit))
}

// Len is the number of records, counting those that cannot be read.
func (r *Range) Len() int {
	n := 0
	if r.given != nil {
		for range r.All() {
			n++
		}
	}
	for i := range r.stored {
		s := &r.stored[i]
		n += int(max(0, min(s.end, r.End)-max(s.from, r.Begin)))
	}
	return n
}

// All are the records of the range, in order, and may be read any number of times until the batch
// is committed. A record, its Key, Value and Headers are the receiver's until the next one; what is
// kept for longer must be copied. It sets Unreadable.
func (r *Range) All() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		r.Unreadable = nil
		if r.given != nil {
			for rec := range r.given {
				if rec.Offset >= r.Begin && rec.Offset < r.End && !yield(rec) {
					return
				}
			}
			return
		}
		if len(r.stored) == 0 {
			return
		}
		rd := r.from.get()
		defer r.from.put(rd)
		for i := range r.stored {
			if s := &r.stored[i]; s.end > r.Begin && s.first < r.End && !r.batch(rd, s, yield) {
				return
			}
		}
	}
}

// batch yields the records of a stored batch; false if there are to be no more.
func (r *Range) batch(rd *reader, s *storedBatch, yield func(*Record) bool) bool {
	began := time.Now()
	raw, err := rd.open(slices.Grow(rd.plain[:0], s.weight), s)
	r.from.stats.unpacking.Add(int64(time.Since(began)))
	first := max(s.from, r.Begin)
	next := first
	if err == nil {
		rd.plain = raw
		rd.rec.Topic, rd.rec.Partition = r.Topic, r.Partition
		for i := range s.count {
			rest, bad := s.record(&rd.rec, i, raw)
			if err = bad; err != nil {
				break
			}
			if at := rd.rec.Offset; at >= first && at < min(r.End, s.end) {
				next = max(next, at+1)
				if !yield(&rd.rec) {
					return false
				}
				if r.from.poison {
					overwrite(raw[:len(raw)-len(rest)])
				}
			}
			raw = rest
		}
	}
	if err == nil {
		return true
	}
	if end := min(s.end, r.End); next < end {
		r.Unreadable = append(r.Unreadable, Unreadable{Begin: next, End: end, Bytes: s.size, Append: s.time(0), Reason: err.Error()})
	}
	if !s.told { // it is read again when the work is
		s.told = true
		r.from.stats.Unreadable.Add(1)
		r.from.log.Error("kafka: a stored batch cannot be read; skipping it", "topic", r.Topic, "partition", r.Partition,
			"first", s.first, "end", s.end, "bytes", s.size, "error", err)
	}
	return true
}

// open unpacks a stored batch into dst, which is empty.
func (u *unpacker) open(dst []byte, s *storedBatch) ([]byte, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.count < 0:
		return nil, errors.New("claims fewer than no records")
	}
	return u.unpack(dst, s.codec(), s.records)
}
