package role

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
)

// Reader makes what one goroutine needs to turn records into events. Ranges of a batch are
// prepared side by side, and none of these may be shared.
type Reader struct {
	Decoder func() *ingest.Decoder
	Keys    func() Keys
}

// Keys are what reading needs of the keyring.
type Keys = detect.Keys

// reader is one goroutine's own.
type reader struct {
	dec     *ingest.Decoder
	keys    Keys
	scanner *detect.Scanner
	event   detect.Event
}

func (r Reader) open() reader {
	return reader{dec: r.Decoder(), keys: r.Keys(), scanner: detect.NewScanner()}
}

// laneCount is how many ranges of a batch are worked on at once: while one waits for an
// insert, another is decoded.
func laneCount() int { return min(max(runtime.GOMAXPROCS(0), 2), 4) }

// side does work for each of n ranges, on at most lanes goroutines. When one fails, those that
// have begun are finished and no other is begun; the errors of all are returned.
func side(lanes, n int, work func(lane, i int) error) error {
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, min(lanes, n))
	var all sync.WaitGroup
	for lane := range errs {
		all.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(lane, i); err != nil {
					errs[lane] = err
					failed.Store(true)
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func recordOf(r *kafka.Record) ingest.Record {
	return ingest.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Append: r.Append, Key: r.Key, Value: r.Value, Kept: true}
}
