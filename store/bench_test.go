package store

import (
	"fmt"
	"testing"

	"github.com/ClickHouse/ch-go/proto"

	"picket/detect"
)

const benchRows = 10_000

func benchEvents() []*detect.Event {
	evs := make([]*detect.Event, benchRows)
	for i := range evs {
		evs[i] = event(int64(i))
	}
	return evs
}

// BenchmarkAppend is the client's part: events to columns to the bytes of the insert.
func BenchmarkAppend(b *testing.B) {
	evs := benchEvents()
	block := NewWriter(&DB{}, WriterOptions{}).NewBlock()
	buf := new(proto.Buffer)
	b.ReportAllocs()
	for b.Loop() {
		block.Reset()
		for _, ev := range evs {
			block.Append(ev)
		}
		buf.Reset()
		for _, r := range block.events.each() {
			encodeBlock(buf, r.put(), r.n, r.order)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/event")
	b.ReportMetric(float64(len(buf.Buf))/benchRows, "wire-B/event")
}

// BenchmarkRollUp is what the roll-ups add to that.
func BenchmarkRollUp(b *testing.B) {
	block := NewWriter(&DB{}, WriterOptions{}).NewBlock()
	g := newPlausible(1, day, 10_000)
	var ev detect.Event
	for i := range int64(benchRows) {
		ev.Reset()
		g.fill(&ev, i, 0)
		block.Append(&ev)
	}
	buf := new(proto.Buffer)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range block.events.each() {
			block.rollups.of(r, "bench")
		}
		buf.Reset()
		for _, r := range block.rollups.minuteRows.each() {
			encodeBlock(buf, r.put(), r.n, r.order)
		}
		for _, r := range block.rollups.entityRows.each() {
			encodeBlock(buf, r.put(), r.n, r.order)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/event")
}

// BenchmarkInsert is the whole way into the real engine, on the same cores.
func BenchmarkInsert(b *testing.B) {
	for name, columnar := range map[string]bool{"native-body": false, "drivers-columns": true} {
		b.Run(name, func(b *testing.B) {
			db := migrated(b)
			db.columnar = columnar
			w := NewWriter(db, WriterOptions{})
			evs, block, begin := benchEvents(), w.NewBlock(), int64(0)
			for b.Loop() {
				block.Reset()
				for i, ev := range evs {
					ev.Offset = begin + int64(i)
					block.Append(ev)
				}
				if err := w.Insert(b.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: begin, End: begin + benchRows}, block); err != nil {
					b.Fatal(err)
				}
				begin += benchRows
			}
			b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkDisk stores 200 k events and says what one takes on disk, and the dearest columns.
func BenchmarkDisk(b *testing.B) {
	for b.Loop() {
		db := migrated(b)
		w := NewWriter(db, WriterOptions{})
		var ev detect.Event
		const n = 200_000
		for begin := int64(0); begin < n; begin += benchRows {
			block := w.NewBlock()
			for o := begin; o < begin+benchRows; o++ {
				ev.Reset()
				fill(&ev, o)
				block.Append(&ev)
			}
			if err := w.Insert(b.Context(), BatchID{Topic: "mcp.events", Partition: 3, Begin: begin, End: begin + benchRows}, block); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.exec(b.Context(), "OPTIMIZE TABLE "+db.table("events")+" FINAL"); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(db.number(b, fmt.Sprintf("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '%s' AND table = 'events'", db.Database())))/n, "disk-B/event")
		_, rows, err := db.Query(b.Context(), fmt.Sprintf("SELECT name, round(data_compressed_bytes / %d, 2) AS b FROM system.columns WHERE database = '%s' AND table = 'events' ORDER BY b DESC LIMIT 14", n, db.Database()))
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("bytes per event by column: %v", rows)
	}
}
