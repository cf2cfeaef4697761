package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"picket/detect"
)

// BenchmarkStoring says what storing an event costs in CPU time of this process, which has the
// engine in it, and where it goes: into columns and their encoding, into the engine's inserts,
// into its merges. Batches are of one partition each, as from a backlog:
//
//	go test ./store -run '^$' -bench '^BenchmarkStoring$' -benchtime 1x -rows 1000000 -batch 100000
func BenchmarkStoring(b *testing.B) {
	n, size := *benchStoreRows, int64(*benchStoreBatch)
	for b.Loop() {
		db := migrated(b)
		w := NewWriter(db, WriterOptions{Instance: "bench"})
		g := newPlausible(1, time.Now().Add(-2*time.Hour), 10_000)
		block, buf := w.NewBlock(), new(proto.Buffer)
		var appending, encoding, inserting, wall time.Duration
		merged := threadTime("MergeMutate")
		evs := make([]detect.Event, min(size, 256)) // few: in the pipeline it is one, and in the cache
		for i := int64(0); i < n; i += size {
			p := int(i / size % plausibleParts)
			id := BatchID{Topic: "mcp.events", Partition: int32(p), Begin: g.offsets[p], End: g.offsets[p] + size}
			block.Reset()
			for done := int64(0); done < size; {
				evs = evs[:min(int64(cap(evs)), size-done)]
				for j := range evs {
					evs[j].Reset()
					g.fill(&evs[j], i+done+int64(j), p)
				}
				appending += ownTime(func() {
					for j := range evs {
						block.Append(&evs[j])
					}
				})
				done += int64(len(evs))
			}
			encoding += ownTime(func() { // what Insert does before it sends
				for _, r := range block.events.each() {
					block.rollups.of(r, "bench")
					r.sort()
					buf.Reset()
					encodeBlock(buf, r.put(), r.n, r.order)
				}
			})
			used, merging, began := cpuTime(b), threadTime("MergeMutate"), time.Now()
			if err := w.Insert(b.Context(), id, block); err != nil {
				b.Fatal(err)
			}
			wall += time.Since(began)
			inserting += cpuTime(b) - used - (threadTime("MergeMutate") - merging)
		}
		for db.number(b, "SELECT count() FROM system.merges") > 0 {
		}
		merged = threadTime("MergeMutate") - merged
		per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }
		b.ReportMetric(per(appending), "append-us/event")
		b.ReportMetric(per(encoding), "encode-us/event")
		b.ReportMetric(per(inserting-encoding), "engine-us/event")
		b.ReportMetric(per(merged), "merge-us/event")
		b.ReportMetric(per(appending+inserting+merged), "all-us/event")
		b.ReportMetric(per(wall), "insert-wall-us/event")
		b.ReportMetric(float64(len(buf.Buf))/float64(size), "wire-B/event")
		b.ReportMetric(float64(db.number(b, fmt.Sprintf("SELECT count() FROM system.parts WHERE active AND database = '%s' AND table = 'events'", db.Database()))), "parts")
		b.ReportMetric(0, "ns/op")
	}
}

// ownTime is the CPU time that f takes in its goroutine, whatever the engine does meanwhile.
func ownTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := scheduled("/proc/thread-self")
	f()
	return scheduled("/proc/thread-self") - start
}

// threadTime is the CPU time of this process's threads of a name.
func threadTime(name string) (sum time.Duration) {
	tasks, _ := filepath.Glob("/proc/self/task/*")
	for _, t := range tasks {
		if comm, err := os.ReadFile(t + "/comm"); err == nil && name == strings.TrimSpace(string(comm)) {
			sum += scheduled(t)
		}
	}
	return sum
}

// scheduled is the CPU time of a thread, or 0 if it is gone or this is not Linux.
func scheduled(dir string) time.Duration {
	var ns int64
	if raw, err := os.ReadFile(dir + "/schedstat"); err == nil {
		_, _ = fmt.Sscan(string(raw), &ns)
	}
	return time.Duration(ns)
}
