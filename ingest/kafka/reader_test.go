package kafka

import (
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"

	kgo "github.com/segmentio/kafka-go"
)

// Ranges of a batch are read side by side, each as often as its work is tried, and none sees
// another's records.
func TestRangesAreReadSideBySide(t *testing.T) {
	const ranges, batches = 8, 12
	c, _ := holder(t, heldLimit, nil)
	c.readers.poison = true
	var all []Range
	for i := range ranges {
		var stored [][]byte
		for j := range batches {
			value := fmt.Sprintf("%d/%d %s", i, j, strings.Repeat("x", 1000*j))
			stored = append(stored, storedAs(t, []kgo.Compression{kgo.Lz4, kgo.Snappy, kgo.Zstd, kgo.Gzip}[(i+j)%4], appendRecord(nil, 0, &Record{Value: []byte(value)}), 1))
		}
		h, _ := holder(t, heldLimit, stored)
		b, _ := gatherHeld(t, h)
		b.ranges[0].from = &c.readers
		all = append(all, b.ranges...)
	}
	read := func(i int, next func() (*Record, bool)) {
		for n := range batches {
			rec, ok := next()
			if want := fmt.Sprintf("%d/%d ", i, n); !ok || !strings.HasPrefix(string(rec.Value), want) || len(rec.Value) != len(want)+1000*n {
				t.Errorf("range %d: record %d is %v", i, n, rec)
				return
			}
		}
		if _, more := next(); more || len(all[i].Unreadable) != 0 {
			t.Errorf("range %d: more than %d records, or some of %d unreadable", i, batches, len(all[i].Unreadable))
		}
	}
	var lanes sync.WaitGroup
	for i := range all {
		lanes.Go(func() {
			for range 3 {
				next, stop := iter.Pull(all[i].All())
				read(i, next)
				stop()
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
			next, stop := iter.Pull(all[turn].All())
			defer stop()
			read(turn, next)
		}
		return first()
	})
	if n := len(c.readers.free); n > ranges {
		t.Errorf("%d readers are kept", n)
	}
}
