package kafka

import (
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// Ranges of a batch are read side by side, each as often as its work is tried, and none sees
// another's records.
func TestRangesAreReadSideBySide(t *testing.T) {
	const ranges, batches, each = 8, 4, 5
	c, _ := holder(t, heldLimit, nil)
	c.readers.poison = true
	value := func(i, n int) string { return fmt.Sprintf("%d/%d %s", i, n, strings.Repeat("x", 100*n)) }
	now := time.UnixMilli(0)
	all := make([]Range, ranges)
	for i := range all {
		r := Range{End: batches * each, from: &c.readers}
		for j := range batches {
			var values []string
			for n := range each {
				values = append(values, value(i, j*each+n))
			}
			codec := []kgo.Compression{kgo.Lz4, kgo.Snappy, kgo.Zstd, kgo.Gzip}[(i+j)%4]
			s, _, ok := cutBatch(makeBatch(int64(j*each), int16(codec), now, now, mustPack(t, codec, packable(values)), each))
			if !ok || s.err != nil {
				t.Fatal(s.err)
			}
			r.stored = append(r.stored, s)
		}
		all[i] = r
	}
	read := func(i int, next func() (*Record, bool)) {
		for n := range batches * each {
			if rec, ok := next(); !ok || rec.Offset != int64(n) || string(rec.Value) != value(i, n) {
				t.Errorf("range %d: record %d is %v", i, n, rec)
				return
			}
		}
		if _, more := next(); more || len(all[i].Unreadable) != 0 {
			t.Errorf("range %d: more records, or unreadable %+v", i, all[i].Unreadable)
		}
	}
	readAll := func(i int) {
		next, stop := iter.Pull(all[i].All())
		defer stop()
		read(i, next)
	}
	var lanes sync.WaitGroup
	for i := range all {
		lanes.Go(func() {
			for range 3 {
				readAll(i)
			}
		})
	}
	lanes.Wait()
	// And by turns: the first range is half read when the others are.
	first, stop := iter.Pull(all[0].All())
	defer stop()
	turn := 0
	read(0, func() (*Record, bool) {
		if turn++; turn < ranges {
			readAll(turn)
		}
		return first()
	})
}

// packable are records as long as they say.
func packable(values []string) (out []byte) {
	for i, v := range values {
		out = appendRecord(out, i, &Record{Value: []byte(v)})
	}
	return out
}
