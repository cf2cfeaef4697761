package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// DB is a connection pool to one ClickHouse, with the database that Picket keeps there.
// It is safe for use from several goroutines.
type DB struct {
	t    *target
	conn driver.Conn

	bodies   *bodies
	columnar bool // insert through the driver's own columns, as the native protocol must
}

// Open connects and checks that the server lets us in. Whether the database is there and
// migrated is for Verify: Migrate has to connect before it is.
func Open(ctx context.Context, c Config) (*DB, error) {
	t, err := c.check()
	if err != nil {
		return nil, err
	}
	opts, err := t.options()
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(opts)
	if err != nil {
		return nil, t.explain(err)
	}
	db := &DB{t: t, conn: conn, bodies: newBodies(t.MaxConns, t.Compression), columnar: t.native}
	if err := conn.Ping(ctx); err != nil {
		_ = conn.Close()
		return nil, t.explainOpen(ctx, err, opts.TLS)
	}
	return db, nil
}

// Close closes all connections.
func (db *DB) Close() error { return db.conn.Close() }

// Database is the name of the database that holds the tables.
func (db *DB) Database() string { return db.t.Database }

// Ping asks the server for a sign of life.
func (db *DB) Ping(ctx context.Context) error { return db.t.explain(db.conn.Ping(ctx)) }

// table returns the quoted, qualified name of a table.
func (db *DB) table(name string) string { return quoteName(db.t.Database) + "." + quoteName(name) }

func (db *DB) exec(ctx context.Context, sql string, args ...any) error {
	return db.t.explain(db.conn.Exec(ctx, sql, args...))
}

// row scans the one row of a query.
func (db *DB) row(ctx context.Context, dst []any, sql string, args ...any) error {
	return db.t.explain(db.conn.QueryRow(ctx, sql, args...).Scan(dst...))
}

// insertSettings make an insert repeatable: it is one block, and a second one with the
// same token is dropped.
func (db *DB) insertSettings(token string) clickhouse.Settings {
	s := clickhouse.Settings{
		"insert_deduplicate":                 1,
		"insert_deduplication_token":         token,
		"async_insert":                       0,
		"max_partitions_per_insert_block":    0, // a quiet partition's backlog may span many days
		"min_insert_block_size_rows":         0, // no squashing: the block that is sent is the block that is stored
		"min_insert_block_size_bytes":        0,
		"optimize_on_insert":                 0, // roll-ups have each key once already
		"max_threads":                        1, // one block is one thread's work
		"materialize_skip_indexes_on_insert": 0, // the first merge makes them: a new part has a few granules, and is read whole as quickly
	}
	if !db.t.native {
		s["wait_end_of_query"] = 1 // a parameter of HTTP: the status is the outcome
	}
	return s
}

// insert stores a block under a token. It may be repeated with the same token and rows
// until it succeeds; rows are stored once.
func (db *DB) insert(ctx context.Context, r *rows, token string) error {
	if r.n == 0 {
		return nil
	}
	sql := insertSQL(db.t.Database, r.table, r.cols)
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(db.insertSettings(token)))
	var err error
	if db.columnar {
		err = db.insertColumns(ctx, sql, r.filled(), r.n, r.order)
	} else {
		err = db.insertNative(ctx, sql, r.put(), r.n, r.order)
	}
	if err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", r.n, r.table, db.t.explain(err))
	}
	return nil
}

// insertNative sends the block as the body of an HTTP request. The INSERT names all columns, the
// block has those that something was put to: the server's reader fills the others with zeros. One
// that the INSERT does not name would be made row by row, which costs ten times what reading it does.
func (db *DB) insertNative(ctx context.Context, sql string, cols []named, n int, order []uint32) error {
	b := db.bodies.of(cols, n, order)
	defer b.stop()
	return db.conn.InsertFormat(ctx, "Native", sql, b) // markPacked says that it is compressed
}

// insertColumns hands the block to the driver's columns, which read what we encoded.
func (db *DB) insertColumns(ctx context.Context, sql string, cols []named, n int, order []uint32) error {
	batch, err := db.conn.PrepareBatch(ctx, sql)
	if err != nil {
		return err
	}
	defer batch.Close()
	dst := batch.Columns()
	if len(dst) != len(cols) {
		return fmt.Errorf("the driver prepared %d columns for %d", len(dst), len(cols))
	}
	b := new(proto.Buffer)
	for i, c := range cols {
		if got := string(dst[i].Type()); got != c.data.typ() {
			return configErrorf(nil, "column %s of the server is %s, not %s: %s", c.name, got, c.data.typ(), migrateHint)
		}
		b.Reset()
		c.data.encodeState(b)
		c.data.encode(b, order)
		rd := proto.NewReader(bytes.NewReader(b.Buf))
		if s, ok := dst[i].(chcolumn.CustomSerialization); ok {
			if err := s.ReadStatePrefix(rd); err != nil {
				return fmt.Errorf("column %s: %w", c.name, err)
			}
		}
		if err := dst[i].Decode(rd, n); err != nil {
			return fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	return batch.Send()
}

// Query runs a statement for display: names and values as text, at most limit rows.
func (db *DB) Query(ctx context.Context, sql string) (columns []string, data [][]string, err error) {
	const limit = 10_000
	settings := clickhouse.Settings{"max_execution_time": 60}
	if !db.t.native {
		settings["database"] = db.t.Database // names without a database mean ours
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings))
	rs, err := db.conn.Query(ctx, sql)
	if err != nil {
		return nil, nil, db.t.explain(err)
	}
	defer rs.Close()
	columns = rs.Columns()
	types := rs.ColumnTypes()
	for rs.Next() && len(data) < limit {
		dst := make([]any, len(columns))
		for i, t := range types {
			dst[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rs.Scan(dst...); err != nil {
			return nil, nil, db.t.explain(err)
		}
		row := make([]string, len(dst))
		for i, d := range dst {
			row[i] = display(reflect.ValueOf(d).Elem())
		}
		data = append(data, row)
	}
	if err := rs.Err(); err != nil && err != io.EOF {
		return nil, nil, db.t.explain(err)
	}
	return columns, data, nil
}

// display writes a value as a person reads it.
func display(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	if t, ok := v.Interface().(time.Time); ok {
		return strings.TrimSuffix(t.UTC().Format("2006-01-02 15:04:05.000"), ".000")
	}
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = display(v.Index(i))
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(v.Interface())
}
