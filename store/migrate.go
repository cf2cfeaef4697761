package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// Migration is one numbered step of the schema.
type Migration struct {
	Number   int
	Name     string // of the file, 0001_init.sql
	Checksum string // SHA-256 of the file as it is shipped, before names are filled in
	source   string
}

// Applied is a migration that is recorded in the database.
type Applied struct {
	Number    int
	Name      string
	Checksum  string
	AppliedAt time.Time
}

// MigrateOptions change what Migrate does.
type MigrateOptions struct {
	DryRun io.Writer // not nil: write the statements here and change nothing
	// Remake makes tables again that are recorded and gone, empty: what was in them is lost. Without it
	// they stay an error of who reads or writes them.
	Remake  bool
	Cluster string // ON CLUSTER with Replicated engines; parsed by the engine, not yet run on a cluster
}

var fileName = regexp.MustCompile(`^(\d{4})_[a-z0-9_]+\.sql$`)

// Migrations returns the steps that this version knows, in order.
func Migrations() ([]Migration, error) { return readMigrations(migrationFiles, "migrations") }

func readMigrations(fsys fs.FS, dir string) ([]Migration, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var ms []Migration
	for _, e := range entries {
		m := fileName.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("migration %s: not named like 0001_init.sql", e.Name())
		}
		n, _ := strconv.Atoi(m[1])
		if n != len(ms)+1 {
			return nil, fmt.Errorf("migration %s: number %d expected", e.Name(), len(ms)+1)
		}
		src, err := fs.ReadFile(fsys, dir+"/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", e.Name(), err)
		}
		sum := sha256.Sum256(src)
		ms = append(ms, Migration{Number: n, Name: e.Name(), Checksum: hex.EncodeToString(sum[:]), source: string(src)})
	}
	return ms, nil
}

// Migrate brings the database to this version's schema and returns what it applied, or
// would apply on a dry run. Every statement may run twice and the record comes last: two
// that run at once, or one after a crash in the middle, end at the same schema.
func Migrate(ctx context.Context, db *DB, o MigrateOptions) ([]Applied, error) {
	ms, err := Migrations()
	if err != nil {
		return nil, err
	}
	return migrate(ctx, db, ms, o)
}

func migrate(ctx context.Context, db *DB, ms []Migration, o MigrateOptions) ([]Applied, error) {
	if o.Cluster != "" {
		if err := checkName("cluster", o.Cluster); err != nil {
			return nil, err
		}
	}
	if err := db.newEnough(ctx); err != nil {
		return nil, err
	}
	have, err := db.applied(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the schema's version: %w", err)
	}
	if err := db.compare(have, ms); err != nil {
		return nil, err
	}
	if o.Remake && len(have) > 0 {
		gone, err := db.missing(ctx, ms[:len(have)])
		if err != nil {
			return nil, fmt.Errorf("look for the tables: %w", err)
		}
		if len(gone) > 0 {
			have = nil // every statement may run twice
		}
	}
	var done []Applied
	for _, m := range ms[min(len(have), len(ms)):] {
		stmts, err := render(m.source, db.t.Database, o.Cluster)
		if err != nil {
			return done, fmt.Errorf("migration %s: %w", m.Name, err)
		}
		a := Applied{Number: m.Number, Name: m.Name, Checksum: m.Checksum}
		if o.DryRun != nil {
			if _, err := fmt.Fprintf(o.DryRun, "-- migration %s\n%s;\n", m.Name, strings.Join(stmts, ";\n\n")); err != nil {
				return done, fmt.Errorf("write the dry run: %w", err)
			}
			done = append(done, a)
			continue
		}
		for _, s := range stmts {
			if err := db.exec(ctx, s); err != nil {
				return done, fmt.Errorf("migration %s: %w", m.Name, err)
			}
		}
		if err := db.record(ctx, m, o.Cluster); err != nil {
			return done, fmt.Errorf("record migration %s: %w", m.Name, err)
		}
		a.AppliedAt = time.Now()
		done = append(done, a)
	}
	return done, nil
}

var createTable = regexp.MustCompile(`(?m)^CREATE (?:TABLE IF NOT EXISTS|OR REPLACE VIEW) \{\{\.DB\}\}\.(\w+)`)

// missing is which of the tables and views that these migrations make are not there.
func (db *DB) missing(ctx context.Context, ms []Migration) ([]string, error) {
	var gone []string
	for _, m := range ms {
		for _, made := range createTable.FindAllStringSubmatch(m.source, -1) {
			var n uint64
			if err := db.row(ctx, []any{&n}, "SELECT count() FROM system.tables WHERE database = ? AND name = ?", db.t.Database, made[1]); err != nil {
				return nil, err
			}
			if n == 0 {
				gone = append(gone, made[1])
			}
		}
	}
	return gone, nil
}

// Verify says whether the database has this version's schema, and keeps to tokens. What it says is for an
// operator (*ConfigError), except when ClickHouse cannot be asked.
func (db *DB) Verify(ctx context.Context) error {
	ms, err := Migrations()
	if err != nil {
		return err
	}
	if err := db.newEnough(ctx); err != nil {
		return err
	}
	var n uint64
	if err := db.row(ctx, []any{&n}, "SELECT count() FROM system.databases WHERE name = ?", db.t.Database); err != nil {
		return fmt.Errorf("look for the database: %w", err)
	}
	if n == 0 {
		return configErrorf(nil, "clickhouse at %s has no database %q: %s, or correct the name", db.t.where(), db.t.Database, migrateHint)
	}
	have, err := db.applied(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if err := db.compare(have, ms); err != nil {
		return err
	}
	if len(have) < len(ms) {
		return configErrorf(nil, "clickhouse at %s, database %q, lacks migration %s: %s", db.t.where(), db.t.Database, ms[len(have)].Name, migrateHint)
	}
	return db.tokensWork(ctx)
}

// oldest is the first version of ClickHouse that has all that the schema says: min_level_for_wide_part.
var oldest = [2]int{25, 10}

// newEnough refuses a server that would stumble over a statement in the middle of a migration.
func (db *DB) newEnough(ctx context.Context) error {
	var version string
	if err := db.row(ctx, []any{&version}, "SELECT version()"); err != nil {
		return fmt.Errorf("ask for clickhouse's version: %w", err)
	}
	return db.t.accept(version)
}

func (t *target) accept(version string) error {
	var have [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &have[0], &have[1]); err != nil {
		return configErrorf(nil, "clickhouse at %s calls its version %q: %d.%d or later is needed", t.where(), version, oldest[0], oldest[1])
	}
	if slices.Compare(have[:], oldest[:]) < 0 {
		return configErrorf(nil, "clickhouse at %s is version %s: %d.%d or later is needed, upgrade it first", t.where(), version, oldest[0], oldest[1])
	}
	return nil
}

// tokensWork refuses a profile that takes the effect from the tokens of inserts: newer servers
// have a setting that overrides insert_deduplicate, and older ones do not know it.
func (db *DB) tokensWork(ctx context.Context) error {
	var off uint64
	if err := db.row(ctx, []any{&off}, "SELECT count() FROM system.settings WHERE name = 'deduplicate_insert' AND value = 'disable'"); err != nil {
		return fmt.Errorf("look for settings: %w", err)
	}
	if off > 0 {
		return configErrorf(nil, "clickhouse at %s has deduplicate_insert = 'disable' in the settings of Picket's user, so that a repeated insert counts twice: remove it from the profile", db.t.where())
	}
	return nil
}

// compare refuses a database that this version does not know.
func (db *DB) compare(have []Applied, ms []Migration) error {
	var errs []error
	for i, a := range have {
		switch {
		case a.Number != i+1:
			errs = append(errs, configErrorf(nil, "clickhouse database %q records migration %d (%s) where %d is expected: its schema_migrations was changed by hand",
				db.t.Database, a.Number, a.Name, i+1))
		case a.Number > len(ms):
			errs = append(errs, configErrorf(nil, "clickhouse database %q is newer than this picket: it has migration %d (%s), this version ends at %d: use the newer picket",
				db.t.Database, a.Number, a.Name, len(ms)))
		case a.Checksum != ms[i].Checksum:
			errs = append(errs, configErrorf(nil, "clickhouse database %q was migrated with another %s than this picket has (checksum %.12s, here %.12s): use the version that migrated it, or a new database",
				db.t.Database, a.Name, a.Checksum, ms[i].Checksum))
		}
	}
	return errors.Join(errs...)
}

const migrationsTable = "schema_migrations"

// applied reads what is recorded, in order; nothing when there is no database or table yet.
func (db *DB) applied(ctx context.Context) ([]Applied, error) {
	var n uint64
	err := db.row(ctx, []any{&n}, "SELECT count() FROM system.tables WHERE database = ? AND name = ?", db.t.Database, migrationsTable)
	if err != nil || n == 0 {
		return nil, err
	}
	rs, err := db.conn.Query(ctx, "SELECT number, argMin(name, applied_at), argMin(checksum, applied_at), min(applied_at) FROM "+
		db.table(migrationsTable)+" GROUP BY number ORDER BY number")
	if err != nil {
		return nil, db.t.explain(err)
	}
	defer rs.Close()
	var out []Applied
	for rs.Next() {
		var (
			a      Applied
			number uint32
		)
		if err := rs.Scan(&number, &a.Name, &a.Checksum, &a.AppliedAt); err != nil {
			return nil, db.t.explain(err)
		}
		a.Number = int(number)
		out = append(out, a)
	}
	return out, db.t.explain(rs.Err())
}

// recordTable is not a migration: it has to be there to record the first.
const recordTable = `CREATE TABLE IF NOT EXISTS {{.DB}}.schema_migrations{{.OnCluster}}
(
    number     UInt32,
    name       String,
    checksum   String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = {{engine "ReplacingMergeTree"}}
ORDER BY (number, checksum)
SETTINGS {{.Dedup}}`

func (db *DB) record(ctx context.Context, m Migration, cluster string) error {
	stmts, err := render(recordTable, db.t.Database, cluster)
	if err != nil {
		return err
	}
	if err := db.exec(ctx, stmts[0]); err != nil {
		return err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(db.insertSettings(fmt.Sprintf("migration:%d:%s", m.Number, m.Checksum))))
	return db.exec(ctx, fmt.Sprintf("INSERT INTO %s (number, name, checksum) VALUES (%d, '%s', '%s')", // names passed fileName
		db.table(migrationsTable), m.Number, m.Name, m.Checksum))
}

// render fills in names and engines and splits the statements. Names were validated.
func render(source, database, cluster string) ([]string, error) {
	data := struct{ DB, OnCluster, Dedup string }{
		DB: quoteName(database),
		// Inserts are repeated with the same token after a crash. The window must cover what other
		// partitions insert meanwhile; in a day-long outage nobody else inserts either.
		Dedup: "non_replicated_deduplication_window = 10000",
	}
	prefix := ""
	if cluster != "" {
		prefix = "Replicated"
		data.OnCluster = " ON CLUSTER " + quoteName(cluster)
		data.Dedup = "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
	}
	t, err := template.New("sql").Funcs(template.FuncMap{"engine": func(name string, args ...string) string {
		if len(args) > 0 {
			return prefix + name + "(" + strings.Join(args, ", ") + ")"
		}
		return prefix + name
	}}).Parse(source)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return nil, err
	}
	return splitStatements(b.String()), nil
}

// splitStatements cuts at semicolons outside quotes and -- comments, and drops comments
// before a statement together with blank ones.
func splitStatements(sql string) []string {
	var out []string
	start, quote := 0, byte(0)
	flush := func(end int) {
		s := strings.TrimSpace(sql[start:end])
		for strings.HasPrefix(s, "--") {
			_, s, _ = strings.Cut(s, "\n")
			s = strings.TrimSpace(s)
		}
		if s != "" {
			out = append(out, s)
		}
		start = end + 1
	}
	for i := 0; i < len(sql); i++ {
		c := sql[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '\'' || c == '`' || c == '"':
			quote = c
		case c == '-' && strings.HasPrefix(sql[i:], "--"):
			if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(sql)
			}
		case c == ';':
			flush(i)
		}
	}
	flush(len(sql))
	return out
}
