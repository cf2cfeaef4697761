package store

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"picket/detect"
)

var (
	benchStoreRows  = flag.Int64("rows", 2_000_000, "rows of BenchmarkStore, BenchmarkTypes and BenchmarkCost")
	benchStoreBatch = flag.Int("batch", 10_000, "rows of an insert")
)

// BenchmarkStore fills the schema with plausible events through the writer, and prints what
// an event takes on disk, by column, and how long each saved query takes. The events are those
// of one day:
//
//	go test ./store -run '^$' -bench '^BenchmarkStore$' -benchtime 1x -rows 20000000
func BenchmarkStore(b *testing.B) {
	for b.Loop() {
		db := migrated(b, func(c *Config) { c.ReadTimeout = time.Hour }) // merging twenty million rows takes minutes
		n := *benchStoreRows
		start := time.Now()
		f := fillPlausible(b, db, n)
		plausibleAlerts(b, db)
		fmt.Printf("%d rows in %s, of which the writer and the engine took %s, and %.1f us of CPU a row\n", n, time.Since(start).Round(time.Second),
			f.wall.Round(time.Second), float64(f.cpu.Microseconds())/float64(n))
		start = time.Now()
		for _, t := range []string{"events", "events_1m", "entity_1h"} {
			if err := db.exec(b.Context(), "OPTIMIZE TABLE "+db.table(t)+" FINAL SETTINGS optimize_skip_merged_partitions = 1"); err != nil {
				b.Fatal(err)
			}
		}
		fmt.Printf("merged in %s\n", time.Since(start).Round(time.Second))
		disk := db.bytesOf(b, "events")
		b.ReportMetric(disk/float64(n), "disk-B/event")
		b.ReportMetric(f.entropy, "entropy-B/event")
		fmt.Print(db.sizes(b, n))
		qs, err := SavedQueries(db.Database())
		if err != nil {
			b.Fatal(err)
		}
		for _, q := range qs {
			_, rows, err := db.Query(b.Context(), q.SQL)
			if err != nil {
				b.Fatalf("%s: %v", q.Name, err)
			}
			fmt.Printf("query %-16s %6d ms  %4d rows\n", q.Name, db.best(b, q.SQL).Milliseconds(), len(rows))
		}
	}
}

// plausibleAlerts stores two hundred alerts of twenty rules, with evidence among the events.
func plausibleAlerts(b *testing.B, db *DB) {
	b.Helper()
	var as []detect.Alert
	for i := range 200 {
		a := alert(uint64(3+i), true)
		a.ID, a.Tenant, a.Severity = fmt.Sprintf("plausible-%d", i), "acme", []string{"low", "medium", "high"}[i%3]
		a.Rule.ID = fmt.Sprintf("XX-%02d", i%20)
		a.FiredAt = time.Now().Add(-time.Duration(i) * 5 * time.Minute)
		a.BucketStart, a.BucketEnd = a.FiredAt.Add(-time.Minute), a.FiredAt
		for j := range a.Evidence {
			a.Evidence[j].Partition, a.Evidence[j].Offset = 0, 37_000_000+int64(i*17+j)
		}
		as = append(as, a)
	}
	if err := NewAlertWriter(db).Write(b.Context(), as...); err != nil {
		b.Fatal(err)
	}
}

// filled is what it took to store plausible events.
type filled struct {
	entropy   float64 // of one event, in bytes
	wall, cpu time.Duration
}

// cpuTime is what this process, and so the engine in it, has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0 // not Linux
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		b.Fatalf("read /proc/self/stat: %q", raw)
	}
	return time.Duration(user+system) * time.Second / 100
}

// fillPlausible stores n events.
func fillPlausible(b *testing.B, db *DB, n int64) (f filled) {
	b.Helper()
	g := newPlausible(1, time.Now().Add(-24*time.Hour), float64(n)/86400)
	w := NewWriter(db, WriterOptions{Instance: "bench"})
	blocks := make([]*Block, plausibleParts)
	begin := make([]int64, plausibleParts)
	for p := range blocks {
		blocks[p], begin[p] = w.NewBlock(), g.offsets[p]
	}
	flush := func(p int) {
		began, used := time.Now(), cpuTime(b)
		if err := w.Insert(b.Context(), BatchID{Topic: "mcp.events", Partition: int32(p), Begin: begin[p], End: g.offsets[p]}, blocks[p]); err != nil {
			b.Fatal(err)
		}
		f.wall += time.Since(began)
		f.cpu += cpuTime(b) - used
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
		if rows, _ := blocks[p].Rows(); rows == *benchStoreBatch {
			flush(p)
		}
	}
	for p := range blocks {
		if begin[p] < g.offsets[p] {
			flush(p)
		}
	}
	f.entropy = g.bits / 8 / float64(n)
	return f
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
