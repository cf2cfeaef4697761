package embedded_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"picket/store/embedded/embeddedtest"
)

func connect(t testing.TB, dsn string, change func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	o, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(o)
	}
	c, err := clickhouse.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wide is a table with the types that Picket's own use, and more.
const wide = `CREATE TABLE wide (
	tenant LowCardinality(String), ts DateTime64(3, 'UTC'), day Date, at DateTime('UTC'), id UUID,
	severity Enum8('low' = 3, 'high' = 5), hash FixedString(4), net IPv6, ip4 IPv4,
	u8 UInt8, u16 UInt16, u32 UInt32, u64 UInt64, i8 Int8, i32 Int32, i64 Int64, f64 Float64, flag Bool,
	message String, attrs Map(LowCardinality(String), String), tools Array(LowCardinality(String)), nested Array(Array(UInt8)),
	maybe Nullable(String), maybe_low LowCardinality(Nullable(String)), amount Decimal(18, 4)
) ENGINE = MergeTree PARTITION BY day ORDER BY (tenant, ts)`

func TestDriverTypes(t *testing.T) {
	for _, method := range []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate, clickhouse.CompressionBrotli,
	} {
		t.Run(method.String(), func(t *testing.T) {
			ctx := t.Context()
			c := connect(t, embeddedtest.Start(t), func(o *clickhouse.Options) {
				o.Compression = &clickhouse.Compression{Method: method, Level: 1}
			})
			if err := c.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.Exec(ctx, wide); err != nil {
				t.Fatal(err)
			}
			text := "x"
			row := []any{
				"acme", time.Date(2026, 7, 1, 12, 0, 0, 123e6, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 12, 0, 1, 0, time.UTC), uuid.New(),
				"high", "abcd", "2001:db8::1", "192.0.2.1",
				uint8(1), uint16(2), uint32(3), uint64(1 << 63), int8(-1), int32(-2), int64(-3), 1.5, true,
				"it's \x00\n",
				map[string]string{"k": "v", "": "e"},
				[]string{"read", "write"},
				[][]uint8{{1}, {}, {2, 3}},
				&text, (*string)(nil), decimal.RequireFromString("12.34"),
			}
			rows := 2_000
			if method == clickhouse.CompressionLZ4 {
				rows = 70_000 // more than one block of a result
			}
			b, err := c.PrepareBatch(ctx, "INSERT INTO wide")
			if err != nil {
				t.Fatal(err)
			}
			for i := range rows {
				row[11] = uint32(i)
				if err := b.Append(row...); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Send(); err != nil {
				t.Fatal(err)
			}
			got, err := c.Query(ctx, "SELECT * FROM wide ORDER BY u32")
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			n := 0
			for ; got.Next(); n++ {
				dst := make([]any, 25)
				for i, ct := range got.ColumnTypes() {
					dst[i] = reflect.New(ct.ScanType()).Interface()
				}
				if err := got.Scan(dst...); err != nil {
					t.Fatal(err)
				}
				if n%1_000 != 0 {
					continue
				}
				row[11] = uint32(n)
				for i, want := range row {
					if g := plain(dst[i]); g != plain(want) {
						t.Errorf("row %d column %s: got %s, want %s", n, got.Columns()[i], g, plain(want))
					}
				}
			}
			if err := got.Err(); err != nil || n != rows {
				t.Errorf("%d rows, %v", n, err)
			}
		})
	}
}

// plain writes a value the same way whether it was sent or scanned.
func plain(v any) string {
	switch x := v.(type) {
	case net.IP:
		return x.String()
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	case fmt.Stringer:
		if rv := reflect.ValueOf(v); rv.Kind() != reflect.Pointer {
			return x.String()
		}
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return "NULL"
		}
		return plain(rv.Elem().Interface())
	}
	return fmt.Sprintf("%v", v)
}

func TestDriverErrors(t *testing.T) {
	c := connect(t, embeddedtest.Start(t), nil)
	var ex *clickhouse.Exception
	if err := c.Exec(t.Context(), "SELECT * FROM nope"); !errors.As(err, &ex) || ex.Code != 60 {
		t.Errorf("unknown table: %v", err)
	}
	for _, m := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP} {
		c := connect(t, embeddedtest.Start(t), func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: m} })
		rows, err := c.Query(t.Context(), "SELECT throwIf(number = 3000000) FROM numbers(10000000) SETTINGS max_threads = 1")
		if err == nil {
			for rows.Next() { // to the failure
			}
			err = rows.Err()
		}
		if !errors.As(err, &ex) || ex.Code != 395 {
			t.Errorf("%s: failure in mid stream: %v", m, err)
		}
	}
}

func TestDriverWrongPassword(t *testing.T) {
	u := embeddedtest.StartSecured(t, "picket", "right", nil)
	for password, want := range map[string]int32{"wrong": 516, "right": 0} {
		c := connect(t, u, func(o *clickhouse.Options) { o.Auth.Username, o.Auth.Password = "picket", password })
		var ex *clickhouse.Exception
		if err := c.Ping(t.Context()); (want == 0) != (err == nil) || want != 0 && (!errors.As(err, &ex) || ex.Code != want) {
			t.Errorf("%s password: %v", password, err)
		}
	}
}

func TestDriverOverTLS(t *testing.T) {
	// httptest brings a certificate of its own.
	ca := httptest.NewTLSServer(nil)
	defer ca.Close()
	u := embeddedtest.StartSecured(t, "picket", "right", &tls.Config{MinVersion: tls.VersionTLS13})
	good := ca.Client().Transport.(*http.Transport).TLSClientConfig
	for name, config := range map[string]*tls.Config{"trusted": good, "unknown authority": {}} {
		c := connect(t, u+"&secure=true", func(o *clickhouse.Options) {
			o.Auth.Username, o.Auth.Password, o.TLS = "picket", "right", config
		})
		if err := c.Ping(t.Context()); (err == nil) != (name == "trusted") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDatabaseSQL(t *testing.T) {
	db, err := sql.Open("clickhouse", embeddedtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (n UInt32, s Nullable(String)) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	st, err := tx.PrepareContext(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := st.Exec(uint32(i), sql.NullString{String: strconv.Itoa(i), Valid: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var n, null uint64
	if err := db.QueryRowContext(t.Context(), "SELECT count(), countIf(s IS NULL) FROM t WHERE n < {max:UInt32}", clickhouse.Named("max", 8)).Scan(&n, &null); err != nil || n != 8 || null != 4 {
		t.Errorf("got %d, %d, %v", n, null, err)
	}
	if err := db.QueryRowContext(t.Context(), "SELECT n FROM t WHERE n = 99").Scan(&n); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no row: %v", err)
	}
}

func TestCancelledReadEnds(t *testing.T) {
	u := embeddedtest.Start(t)
	c := connect(t, u, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Exec(ctx, "SELECT max(sipHash64(number, 'cancelled')) FROM numbers(100000000000)") }()
	awaitRunning(t, u, "cancelled", 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	awaitRunning(t, u, "cancelled", 0) // long before its 60 seconds are over
}

// awaitRunning waits until n statements that contain mark run.
func awaitRunning(t *testing.T, u, mark string, n int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(15 * time.Second); ; {
		got := must(t, u, "SELECT count() FROM system.processes WHERE query LIKE '%''"+mark+"''%' AND query NOT LIKE '%processes%'")
		if got == strconv.Itoa(n) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s statements %q run, want %d", got, mark, n)
		case <-tick.C:
		}
	}
}

func TestReadersBesideInserts(t *testing.T) {
	u := embeddedtest.Start(t)
	must(t, u, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			last := uint64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, body, err := tryPost(u, "SELECT count() FROM t")
				n, convErr := strconv.ParseUint(strings.TrimSpace(body), 10, 64)
				if status != 200 || err != nil || convErr != nil || n < last || n%1000 != 0 {
					t.Errorf("%d %q %v after %d", status, body, err, last)
					return
				}
				last = n
			}
		})
	}
	var writers sync.WaitGroup
	for range 3 {
		writers.Go(func() {
			for range 10 {
				status, body, err := tryPost(u+"&"+url.Values{"query": {"INSERT INTO t FORMAT TSV"}}.Encode(), strings.Repeat("1\n", 1000))
				if status != 200 || err != nil {
					t.Errorf("%d %q %v", status, body, err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if got := must(t, u, "SELECT count() FROM t"); got != "30000" {
		t.Errorf("%s rows", got)
	}
}

// The one writer must not wait for slow reads.
func TestInsertDoesNotWaitForReads(t *testing.T) {
	u := embeddedtest.Start(t)
	must(t, u, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	ctx, cancel := context.WithCancel(t.Context())
	c := connect(t, u, nil)
	var slow sync.WaitGroup
	for range 3 {
		slow.Go(func() {
			_ = c.Exec(ctx, "SELECT max(sipHash64(number, 'slow')) FROM numbers(100000000000) SETTINGS max_threads = 1")
		})
	}
	awaitRunning(t, u, "slow", 3)
	start := time.Now()
	must(t, u, "INSERT INTO t VALUES (1)")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the insert took %s", took)
	}
	awaitRunning(t, u, "slow", 3) // they did not just end
	cancel()
	slow.Wait()
}
