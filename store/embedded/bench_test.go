package embedded_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"picket/store/embedded/embeddedtest"
)

const benchRows = 200_000

// BenchmarkInsert sends 200,000 rows of 25 columns as one Native block, with a token.
func BenchmarkInsert(b *testing.B) {
	u := embeddedtest.Start(b)
	must(b, u, strings.Replace(wide, "PARTITION BY day", "", 1)+" SETTINGS non_replicated_deduplication_window = 1000")
	body := native(b, u)
	b.SetBytes(int64(len(body)))
	b.ReportMetric(float64(len(body))/(1<<20), "MiB/insert")
	for i := 0; b.Loop(); i++ {
		res, err := http.Post(u+"&"+insertQuery("INSERT INTO wide FORMAT Native", strconv.Itoa(i)), "", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			b.Fatal(res.Status)
		}
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(resident(b)/(1<<20), "MiB-resident")
}

// native is the body: random rows, but with as few tenants, tools and so on as events have.
func native(b *testing.B, u string) string {
	_, body := post(b, u+"&"+url.Values{"max_block_size": {strconv.Itoa(benchRows)}, "max_threads": {"1"}}.Encode(), `SELECT
		toLowCardinality('acme') AS tenant, now64(3, 'UTC') AS ts, today() AS day, now('UTC') AS at, generateUUIDv4() AS id,
		CAST('high', 'Enum8(\'low\' = 3, \'high\' = 5)') AS severity, toFixedString('abcd', 4) AS hash, toIPv6('2001:db8::1') AS net, toIPv4('192.0.2.1') AS ip4,
		toUInt8(1) AS u8, toUInt16(2) AS u16, toUInt32(number) AS u32, number AS u64, toInt8(1) AS i8, toInt32(1) AS i32, toInt64(number) AS i64, rand() / 2 AS f64, true AS flag,
		randomPrintableASCII(40) AS message, CAST(map('k', toString(number)), 'Map(LowCardinality(String), String)') AS attrs,
		CAST(['read', 'write'], 'Array(LowCardinality(String))') AS tools, [[toUInt8(1)]] AS nested,
		toNullable('x') AS maybe, toLowCardinality(toNullable('y')) AS maybe_low, toDecimal64(1.5, 4) AS amount
		FROM numbers(`+strconv.Itoa(benchRows)+`) FORMAT Native`)
	return body
}

// resident is the memory of the process, on Linux.
func resident(b *testing.B) float64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(raw))[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize())
}

// BenchmarkRead is the price of the smallest read.
func BenchmarkRead(b *testing.B) {
	u := embeddedtest.Start(b)
	for b.Loop() {
		must(b, u, "SELECT 1")
	}
}

// BenchmarkStart starts a process with an empty engine until it answers.
func BenchmarkStart(b *testing.B) {
	embeddedtest.Server(b)
	for i := 0; b.Loop(); i++ {
		p := startChild(b, filepath.Join(b.TempDir(), strconv.Itoa(i)))
		must(b, p.url, "SELECT 1")
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}
