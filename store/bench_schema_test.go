package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkTypes compares ways to keep one column, in the order of the table: bytes a row,
// the time to group by it, and to look one value up without an index.
//
//	go test ./store -run '^$' -bench '^BenchmarkTypes$' -benchtime 1x -rows 1000000
func BenchmarkTypes(b *testing.B) {
	// 24 characters are 15 bytes; the last two stand for themselves.
	const low, binary = "LowCardinality(String)", "concat(base32Decode(upper(substring(CAST(%[1]s, 'String'), 1, 24))), substring(CAST(%[1]s, 'String'), 25))"
	type variant struct{ column, typ, codec, expr, order string }
	order := "tenant, toStartOfFiveMinutes(time), server_name, type, time"
	byOffset := "tenant, toStartOfFiveMinutes(time), server_name, type, kafka_partition, kafka_offset"
	var vs []variant
	for _, c := range []string{"actor_client_id", "mcp_session"} {
		vs = append(vs,
			variant{c, low, "ZSTD(1)", c, order}, variant{c, "String", "ZSTD(1)", c, order}, variant{c, "FixedString(26)", "ZSTD(1)", c, order},
			variant{c, "FixedString(17)", "ZSTD(1)", fmt.Sprintf(binary, c), order})
	}
	for _, codec := range []string{"ZSTD(1)", "ZSTD(3)", "ZSTD(9)"} {
		vs = append(vs, variant{"id", "String", codec, "id", order})
	}
	vs = append(vs,
		variant{"id", "UUID", "ZSTD(1)", "toUUID(id)", order}, variant{"id", "FixedString(16)", "ZSTD(1)", "UUIDStringToNum(id)", order},
		variant{"id", "String", "ZSTD(1)", "id", byOffset},
		variant{"trace_id", "String", "ZSTD(1)", "trace_id", order}, variant{"trace_id", "FixedString(16)", "NONE", "unhex(trace_id)", order},
		variant{"io_args_digest", "String", "ZSTD(1)", "io_args_digest", order}, variant{"io_args_digest", "String", "LZ4", "io_args_digest", order})
	for _, o := range []string{order, byOffset} {
		for _, codec := range []string{"Delta(8), ZSTD(1)", "DoubleDelta, ZSTD(1)", "T64, ZSTD(1)", "ZSTD(1)"} {
			vs = append(vs, variant{"kafka_offset", "UInt64", codec, "kafka_offset", o})
		}
		vs = append(vs, variant{"kafka_partition", "UInt16", "ZSTD(1)", "kafka_partition", o}, variant{"seq", "Nullable(UInt64)", "Delta(8), ZSTD(1)", "seq", o})
		for _, c := range []string{"time", "observed"} {
			for _, codec := range []string{"Delta(8), ZSTD(1)", "DoubleDelta, ZSTD(1)", "T64, ZSTD(1)"} {
				vs = append(vs, variant{c, "DateTime64(3, 'UTC')", codec, c, o})
			}
		}
		vs = append(vs, variant{"mcp_session", low, "ZSTD(1)", "mcp_session", o}, variant{"actor_client_id", low, "ZSTD(1)", "actor_client_id", o})
	}
	for _, codec := range []string{"ZSTD(1)", "T64, ZSTD(1)", "Gorilla, ZSTD(1)"} {
		if codec != "T64, ZSTD(1)" {
			vs = append(vs, variant{"io_duration_ms", "Nullable(Float64)", codec, "io_duration_ms", order})
		}
		vs = append(vs, variant{"io_duration_ms", "Nullable(Float32)", strings.Replace(codec, "T64, ", "", 1), "io_duration_ms", order})
	}
	for b.Loop() {
		db, n := migrated(b), *benchStoreRows
		fillPlausible(b, db, n)
		for i, v := range vs {
			table := db.table("v" + strconv.Itoa(i))
			name := v.column
			others := "tenant LowCardinality(String), time DateTime64(3, 'UTC'), server_name LowCardinality(String), type LowCardinality(String), kafka_partition UInt16, kafka_offset UInt64"
			for _, sql := range []string{
				fmt.Sprintf("CREATE TABLE %s (%s, v %s CODEC(%s)) ENGINE = MergeTree ORDER BY (%s) SETTINGS min_bytes_for_wide_part = 0", table, others, v.typ, v.codec, v.order),
				fmt.Sprintf("INSERT INTO %s SELECT tenant, time, server_name, type, kafka_partition, kafka_offset, %s FROM %s", table, v.expr, db.table("events")),
				"OPTIMIZE TABLE " + table + " FINAL",
			} {
				if err := db.exec(b.Context(), sql); err != nil {
					b.Fatalf("%s: %v", sql, err)
				}
			}
			bytes := db.number(b, fmt.Sprintf("SELECT sum(column_data_compressed_bytes) FROM system.parts_columns WHERE active AND database = '%s' AND table = 'v%d' AND column = 'v'", db.Database(), i))
			group := db.best(b, "SELECT count() FROM (SELECT v FROM "+table+" GROUP BY v)")
			find := db.best(b, "SELECT count() FROM "+table+" WHERE v = (SELECT v FROM "+table+" LIMIT 1)")
			by := "time"
			if v.order == byOffset {
				by = "offset"
			}
			fmt.Printf("%-16s %-24s %-20s by %-6s %6.2f B/row  group %5d ms  find %5d ms\n", name, v.typ, v.codec, by, float64(bytes)/float64(n), group.Milliseconds(), find.Milliseconds())
			if err := db.exec(b.Context(), "DROP TABLE "+table); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// best is the shortest of three runs.
func (db *DB) best(b *testing.B, sql string) time.Duration {
	b.Helper()
	best := time.Hour
	for range 3 {
		start := time.Now()
		if _, _, err := db.Query(b.Context(), sql); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
		best = min(best, time.Since(start))
	}
	return best
}

// BenchmarkCost says what parts of the schema cost the insert, in CPU time of this process
// with the engine in it, and on disk: indexes, roll-ups as views and as aggregate projections,
// parts by retention.
//
//	go test ./store -run '^$' -bench '^BenchmarkCost$' -benchtime 1x -rows 200000
func BenchmarkCost(b *testing.B) {
	minute := `SELECT tenant, toStartOfMinute(time), server_name, type, mcp_tool, outcome, severity, count(), sum(ifNull(io_args_bytes, 0)), sum(ifNull(io_result_bytes, 0)),
		sum(length(findings.cat)), min(time), max(time), max(ifNull(io_duration_ms, 0)), uniqCombined64If(toString(actor_client_id), actor_client_id != ''),
		uniqCombined64If(toString(net_ip), net_ip != ''), uniqCombined64If(toString(mcp_session), mcp_session != '') GROUP BY tenant, toStartOfMinute(time), server_name, type, mcp_tool, outcome, severity`
	entity := func(c string) string {
		return "SELECT tenant, " + c + ", toStartOfHour(time), count(), countIf(outcome IN ('failure', 'denied', 'error')), countIf(outcome = 'denied'), sum(length(findings.cat)), sum(ifNull(io_args_bytes, 0)), " +
			"sum(ifNull(io_result_bytes, 0)), max(ifNull(io_duration_ms, 0)), max(toInt8(severity)), min(time), max(time), groupUniqArray(16)(toString(server_name)), groupUniqArray(16)(toString(mcp_tool)), " +
			"groupUniqArray(16)(toString(actor_client_id)), groupUniqArray(16)(toString(net_ip)) GROUP BY tenant, " + c + ", toStartOfHour(time)"
	}
	const noMinute, noEntity = "CREATE OR REPLACE TABLE {db}.events_1m AS {db}.events_1m ENGINE = Null", "CREATE OR REPLACE TABLE {db}.entity_1h AS {db}.entity_1h ENGINE = Null"
	noIndexes := []string{noMinute, noEntity}
	for _, ix := range []string{"id", "subject", "client", "ip", "session", "trace", "tool", "severity", "findings", "offset"} {
		noIndexes = append(noIndexes, "ALTER TABLE {db}.events DROP INDEX ix_"+ix)
	}
	const byRetention = "CREATE OR REPLACE TABLE {db}.events AS {db}.events ENGINE = MergeTree PARTITION BY (toYYYYMMDD(observed), retention_days) " +
		"ORDER BY (tenant, toStartOfFiveMinutes(time), server_name, type, kafka_partition, kafka_offset) SETTINGS non_replicated_deduplication_window = 10000"
	projections := []string{noMinute, noEntity}
	for i, p := range []string{minute, entity("actor_client_id"), entity("net_ip"), entity("mcp_session")} {
		projections = append(projections, fmt.Sprintf("ALTER TABLE {db}.events ADD PROJECTION p%d (%s)", i, p))
	}
	const byClient = "SELECT actor_client_id, count(), min(time), max(time) FROM {db}.events GROUP BY tenant, actor_client_id, toStartOfHour(time) ORDER BY 2 DESC LIMIT 10"
	const byEntity = "SELECT entity, sum(events), min(first_seen), max(last_seen) FROM {db}.entity_1h WHERE kind = 'client' GROUP BY tenant, entity, hour ORDER BY 2 DESC LIMIT 10"
	for _, v := range []struct {
		name   string
		change []string
		ask    string
	}{
		{"bare", noIndexes, byClient},
		{"with indexes", []string{noMinute, noEntity}, byClient},
		{"and minutes", []string{noEntity}, byClient},
		{"and entities, all", nil, byEntity},
		{"projections instead", projections, byClient},
		{"bare, by retention", append(slices.Clone(noIndexes), byRetention), byClient},
	} {
		b.Run(v.name, func(b *testing.B) {
			for b.Loop() {
				db, n := migrated(b), *benchStoreRows
				for _, sql := range v.change {
					if err := db.exec(b.Context(), strings.ReplaceAll(sql, "{db}", quoteName(db.Database()))); err != nil {
						b.Fatal(err)
					}
				}
				f := fillPlausible(b, db, n)
				_, tables, err := db.Query(b.Context(), "SELECT name FROM system.tables WHERE database = '"+db.Database()+"' AND engine LIKE '%MergeTree'")
				if err != nil {
					b.Fatal(err)
				}
				for _, t := range tables {
					if err := db.exec(b.Context(), "OPTIMIZE TABLE "+db.table(t[0])+" FINAL"); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(f.cpu.Microseconds())/float64(n), "cpu-us/row")
				b.ReportMetric((db.bytesOf(b, "events")+db.bytesOf(b, "events_1m")+db.bytesOf(b, "entity_1h"))/float64(n), "disk-B/row")
				b.ReportMetric(float64(db.best(b, strings.ReplaceAll(v.ask, "{db}", quoteName(db.Database()))).Microseconds())/1000, "ask-ms")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
