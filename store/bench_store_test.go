package store

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

var benchStoreRows = flag.Int64("rows", 2_000_000, "rows of BenchmarkStore")

// BenchmarkStore fills the schema with plausible events through the writer, and prints what
// an event takes on disk, by column, and how long each saved query takes:
//
//	go test ./store -run '^$' -bench '^BenchmarkStore$' -benchtime 1x -rows 20000000
func BenchmarkStore(b *testing.B) {
	for b.Loop() {
		db := migrated(b)
		n := *benchStoreRows
		start := time.Now()
		entropy, spent := fillPlausible(b, db, n)
		b.Logf("%d rows in %s (%s in the writer: %.0f rows/s)", n, time.Since(start).Round(time.Second), spent.Round(time.Second), float64(n)/spent.Seconds())
		start = time.Now()
		for _, t := range []string{"events", "events_1m"} {
			if err := db.exec(b.Context(), "OPTIMIZE TABLE "+db.table(t)+" FINAL SETTINGS optimize_skip_merged_partitions = 1"); err != nil {
				b.Log(err)
			}
		}
		b.Logf("merged in %s", time.Since(start).Round(time.Second))
		disk := db.bytesOf(b, "events")
		b.ReportMetric(disk/float64(n), "disk-B/event")
		b.ReportMetric(entropy, "entropy-B/event")
		b.Log("\n" + db.sizes(b, n))
	}
}

// fillPlausible stores n events and returns the entropy of one in bytes.
func fillPlausible(b *testing.B, db *DB, n int64) (entropy float64, spent time.Duration) {
	b.Helper()
	g := newPlausible(1, day)
	w := NewWriter(db, WriterOptions{Instance: "bench"})
	const batch = 10_000
	blocks := make([]*Block, plausibleParts)
	begin := make([]int64, plausibleParts)
	for p := range blocks {
		blocks[p], begin[p] = w.NewBlock(), g.offsets[p]
	}
	flush := func(p int) {
		t := time.Now()
		if err := w.Insert(b.Context(), BatchID{Topic: "mcp.events", Partition: int32(p), Begin: begin[p], End: g.offsets[p]}, blocks[p]); err != nil {
			b.Fatal(err)
		}
		spent += time.Since(t)
		blocks[p].Reset()
		begin[p] = g.offsets[p]
	}
	var ev detect.Event
	for i := range n {
		p := g.r.IntN(plausibleParts)
		g.bits += 2.6
		ev.Reset()
		g.fill(&ev, i, p)
		blocks[p].Append(&ev)
		if rows, _ := blocks[p].Rows(); rows == batch {
			flush(p)
		}
	}
	for p := range blocks {
		if begin[p] < g.offsets[p] {
			flush(p)
		}
	}
	return g.bits / 8 / float64(n), spent
}

func (db *DB) bytesOf(b *testing.B, table string) float64 {
	return float64(db.number(b, fmt.Sprintf("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = '%s' AND table = '%s'", db.Database(), table)))
}

// sizes is a table of what a row takes: by column, by index, by table.
func (db *DB) sizes(b *testing.B, n int64) string {
	b.Helper()
	var out strings.Builder
	for _, sql := range []string{
		"SELECT name, toString(type) AS t, compression_codec, round(data_compressed_bytes / %[1]d, 2) AS b FROM system.columns WHERE database = '%[2]s' AND table = 'events' AND b > 0 ORDER BY b DESC LIMIT 40",
		"SELECT 'index ' || name, type, '', round(data_compressed_bytes / %[1]d, 2) AS b FROM system.data_skipping_indices WHERE database = '%[2]s' AND table = 'events' ORDER BY b DESC",
		"SELECT 'table ' || table, toString(sum(rows)) || ' rows', toString(count()) || ' parts', round(sum(bytes_on_disk) / %[1]d, 2) AS b FROM system.parts WHERE active AND database = '%[2]s' GROUP BY table ORDER BY b DESC",
	} {
		_, rows, err := db.Query(b.Context(), fmt.Sprintf(sql, n, db.Database()))
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rows {
			fmt.Fprintf(&out, "%-28s %-50.50s %-26s %7s\n", r[0], r[1], r[2], r[3])
		}
	}
	return out.String()
}
