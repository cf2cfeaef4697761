package store

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func TestMigrateTwiceAndAtOnce(t *testing.T) {
	db := connect(t)
	if err := db.Verify(t.Context()); err == nil || !strings.Contains(err.Error(), "run `picket migrate`") {
		t.Errorf("verify before: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	done, err := Migrate(t.Context(), db, MigrateOptions{})
	if err != nil || len(done) != 0 {
		t.Errorf("once more: %v, %v", done, err)
	}
	have, err := db.applied(t.Context())
	if err != nil || len(have) != 5 || have[0].Name != "0001_init.sql" || have[0].AppliedAt.IsZero() {
		t.Errorf("recorded: %+v, %v", have, err)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMigrateMakesTheDatabase(t *testing.T) {
	c := testConfig(t, func(c *Config) { c.Database += "_new" })
	db := dial(t, c)
	var ce *ConfigError
	if err := db.Verify(t.Context()); !errors.As(err, &ce) || !strings.Contains(err.Error(), `no database "`+c.Database+`": run `) {
		t.Errorf("verify: %v", err)
	}
	w := NewWriter(db, WriterOptions{})
	id, b := batch(w, 0, 10)
	if err := w.Insert(t.Context(), id, b); Classify(err) != Operator || !strings.Contains(err.Error(), "picket migrate") {
		t.Errorf("insert: %v", err)
	}
	if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := db.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Error(err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	db := dial(t, testConfig(t, func(c *Config) { c.Database += "_dry" }))
	var out strings.Builder
	done, err := Migrate(t.Context(), db, MigrateOptions{DryRun: &out})
	if err != nil || len(done) != 5 {
		t.Fatalf("%v, %v", done, err)
	}
	if s := out.String(); !strings.Contains(s, "CREATE TABLE IF NOT EXISTS `"+db.Database()+"`.events\n") || strings.Contains(s, "{{") {
		t.Errorf("dry run: %s", s)
	}
	wantNumber(t, db, 0, "SELECT count() FROM system.databases WHERE name = '"+db.Database()+"'")
}

// A crash after any statement leaves a database that the next run completes.
func TestMigrateAfterCrashInTheMiddle(t *testing.T) {
	ms, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	db := connect(t)
	stmts, err := render(ms[0].source, db.Database(), "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range stmts {
		if err := db.exec(t.Context(), stmts[i]); err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 || i == len(stmts)-1 {
			if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
				t.Fatalf("after statement %d: %v", i, err)
			}
			if err := db.exec(t.Context(), "TRUNCATE TABLE "+db.table(migrationsTable)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEveryStatementMayRunTwice(t *testing.T) {
	ms, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	again := regexp.MustCompile(`^(CREATE (DATABASE|TABLE|MATERIALIZED VIEW) IF NOT EXISTS|CREATE OR REPLACE VIEW|ALTER TABLE \S+\s+(MODIFY SETTING|COMMENT COLUMN IF EXISTS|(ADD|DROP|CLEAR|MODIFY) (COLUMN|INDEX|PROJECTION) IF (NOT )?EXISTS)) `)
	for _, m := range ms {
		stmts, err := render(m.source, "x", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stmts {
			if !again.MatchString(s) {
				t.Errorf("%s: may not run twice: %.80s", m.Name, s)
			}
			if strings.Contains(s, "MergeTree") && !strings.Contains(s, "deduplication_window") {
				t.Errorf("%s: no deduplication window: %.80s", m.Name, s)
			}
		}
	}
}

// A table that is gone is made again where that is asked for, and nothing else changes.
func TestMigrateMakesAgainWhatIsGone(t *testing.T) {
	db := migrated(t)
	w := NewWriter(db, WriterOptions{})
	id, b := batch(w, 0, 10)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	if err := db.exec(t.Context(), "DROP TABLE "+db.table("alerts")+" SYNC"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ remake, there bool }{{false, false}, {true, true}, {true, true}} {
		if _, err := Migrate(t.Context(), db, MigrateOptions{Remake: c.remake}); err != nil {
			t.Fatal(err)
		}
		var n uint64
		if err := db.row(t.Context(), []any{&n}, "SELECT count() FROM "+db.table("alerts")); (err == nil) != c.there {
			t.Errorf("with Remake %t: %v", c.remake, err)
		} else if err != nil && !strings.Contains(err.Error(), "with the embedded engine: restart `picket run`") {
			t.Error(err)
		}
	}
	if done, err := Migrate(t.Context(), db, MigrateOptions{Remake: true}); err != nil || len(done) != 0 {
		t.Errorf("with nothing gone it did %v: %v", done, err)
	}
	wantNumber(t, db, 10, "SELECT count() FROM {db}.events")
}

func TestMigrateRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, c := range map[string]struct{ change, want string }{
		"another checksum": {"INSERT INTO {t} (number, name, checksum, applied_at) VALUES (1, '0001_init.sql', 'deadbeefdeadbeef', '2020-01-01 00:00:00')", "was migrated with another 0001_init.sql"},
		"newer":            {"INSERT INTO {t} (number, name, checksum) VALUES (6, '0006_future.sql', 'x')", "is newer than this picket: it has migration 6 (0006_future.sql), this version ends at 5"},
		"a gap":            {"INSERT INTO {t} (number, name, checksum) VALUES (7, '0007_future.sql', 'x')", "records migration 7 (0007_future.sql) where 6 is expected"},
	} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t)
			if err := db.exec(t.Context(), strings.ReplaceAll(c.change, "{t}", db.table(migrationsTable))); err != nil {
				t.Fatal(err)
			}
			var ce *ConfigError
			_, err := Migrate(t.Context(), db, MigrateOptions{})
			if !errors.As(err, &ce) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("migrate: %v, want %q", err, c.want)
			}
			if err := db.Verify(t.Context()); !errors.As(err, &ce) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("verify: %v, want %q", err, c.want)
			}
		})
	}
}

// The engine's own parser reads the DDL for a cluster; it is not run on one.
func TestClusterStatementsParse(t *testing.T) {
	db := connect(t)
	var out strings.Builder
	if _, err := Migrate(t.Context(), db, MigrateOptions{Cluster: "prod", DryRun: &out}); err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(t.Context(), db, MigrateOptions{Cluster: "pr'od", DryRun: &out}); err == nil {
		t.Error("a cluster named pr'od was accepted")
	}
	stmts := splitStatements(out.String())
	for _, s := range stmts {
		if !strings.Contains(s, " ON CLUSTER `prod`") || strings.Contains(s, "ENGINE") && !strings.Contains(s, "ENGINE = Replicated") {
			t.Errorf("not for a cluster: %.100s", s)
		}
		var formatted string
		if err := db.row(t.Context(), []any{&formatted}, "SELECT formatQuery(?)", s); err != nil {
			t.Errorf("%.100s: %v", s, err)
		}
	}
	if len(stmts) < 10 {
		t.Errorf("%d statements", len(stmts))
	}
}

// What an older picket stored stays where it is; what comes later makes parts of the new kind.
func TestMigrateChangesTheTablesThatAreThere(t *testing.T) {
	db := connect(t)
	ms, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrate(t.Context(), db, ms[:1], MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	w := NewWriter(db, WriterOptions{})
	if err := db.exec(t.Context(), "ALTER TABLE "+db.table("events")+" MODIFY SETTING min_bytes_for_wide_part = 0"); err != nil { // as of an insert of 10 MB
		t.Fatal(err)
	}
	id, b := batch(w, 0, 10)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	if err := db.Verify(t.Context()); Classify(err) != Operator {
		t.Errorf("verify with half of the migrations: %v", err)
	}
	if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	id, b = batch(w, 10, 20)
	if err := w.Insert(t.Context(), id, b); err != nil {
		t.Fatal(err)
	}
	kind := "SELECT count() FROM system.parts WHERE active AND database = '" + db.Database() + "' AND table = 'events' AND part_type = "
	wantNumber(t, db, 1, kind+"'Wide'")
	wantNumber(t, db, 1, kind+"'Compact'")
	if err := db.exec(t.Context(), "OPTIMIZE TABLE "+db.table("events")+" FINAL"); err != nil {
		t.Fatal(err)
	}
	wantNumber(t, db, 1, kind+"'Wide'")
	wantNumber(t, db, 0, kind+"'Compact'")
	wantNumber(t, db, 20, "SELECT count() FROM {db}.events")
}

func TestAnOldServerIsRefused(t *testing.T) {
	db := connect(t)
	if err := db.newEnough(t.Context()); err != nil {
		t.Error(err)
	}
	for version, ok := range map[string]bool{
		"25.10.1.1": true, "26.7.3.19": true, "26.1": true, "25.9.7.56": false, "24.12.1.1": false, "": false, "unknown": false,
	} {
		if err := db.t.accept(version); (err == nil) != ok || err != nil && (Classify(err) != Operator || !strings.Contains(err.Error(), "25.10")) {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

func TestReadMigrationsRefusesBadFiles(t *testing.T) {
	for name, files := range map[string][]string{"number": {"0001_a.sql", "0003_b.sql"}, "name": {"init.sql"}, "duplicate": {"0001_a.sql", "0001_b.sql"}} {
		fsys := fstest.MapFS{}
		for _, f := range files {
			fsys["m/"+f] = &fstest.MapFile{Data: []byte("SELECT 1")}
		}
		if _, err := readMigrations(fsys, "m"); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := readMigrations(os.DirFS(t.TempDir()), "m"); err == nil {
		t.Error("no folder: accepted")
	}
}

func TestSplitStatements(t *testing.T) {
	got := splitStatements("-- a; comment\nSELECT ';' AS `x;y`, 'it''s; \\'; ', \"q;\"; -- end;\n\n-- two\n-- three\nSELECT 2 -- no;\n FROM t;\n;")
	want := []string{"SELECT ';' AS `x;y`, 'it''s; \\'; ', \"q;\"", "SELECT 2 -- no;\n FROM t"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %q", got)
	}
}

func TestMigrateStopsWithTheContext(t *testing.T) {
	db := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Migrate(ctx, db, MigrateOptions{}); Classify(err) != Stopped {
		t.Errorf("%v", err)
	}
}

func TestVerifyRefusesAProfileWithoutTokens(t *testing.T) {
	db := migrated(t)
	if err := db.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"deduplicate_insert": "disable"}))
	var config *ConfigError
	if err := db.Verify(ctx); !errors.As(err, &config) || !strings.Contains(err.Error(), "deduplicate_insert") {
		t.Errorf("got %v", err)
	}
}
