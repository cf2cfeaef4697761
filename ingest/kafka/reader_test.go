package kafka

import (
	"fmt"
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
	var lanes sync.WaitGroup
	for i := range all {
		lanes.Go(func() {
			for range 3 {
				n := 0
				for rec := range all[i].All() {
					if want := fmt.Sprintf("%d/%d ", i, n); !strings.HasPrefix(string(rec.Value), want) || len(rec.Value) != len(want)+1000*n {
						t.Errorf("range %d: record %d is %.20q of %d bytes", i, n, rec.Value, len(rec.Value))
					}
					n++
				}
				if n != batches || len(all[i].Unreadable) != 0 {
					t.Errorf("range %d: %d records and %d unreadable, want %d", i, n, len(all[i].Unreadable), batches)
				}
			}
		})
	}
	lanes.Wait()
	if n := len(c.readers.free); n > ranges {
		t.Errorf("%d readers are kept", n)
	}
}
