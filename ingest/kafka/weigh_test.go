package kafka

import (
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	kafka "github.com/segmentio/kafka-go"
)

// A stored batch that hides its size is unpacked to be weighed, by one fetcher at a time: memory does
// not grow with the partitions.
func TestBatchesAreWeighedOneAtATime(t *testing.T) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := encoder.EncodeAll(make([]byte, 1<<20), nil)
	rs := &readers{limit: 1 << 20, stats: &Stats{}}
	var fetchers sync.WaitGroup
	for range 16 {
		fetchers.Go(func() {
			for range 4 {
				s := storedBatch{attributes: int16(kafka.Zstd), count: 1, end: 1, records: packed}
				if rs.weigh(&s); s.weight != 1<<20 {
					t.Errorf("a weight of %d", s.weight)
				}
			}
		})
	}
	fetchers.Wait()
	if n := len(rs.free); n != 1 {
		t.Errorf("%d readers were made", n)
	}
	rs.close()
}
