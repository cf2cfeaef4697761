package docs_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"picket/store"
	"picket/store/embedded/embeddedtest"
)

// TestTablesOfClickHouse compares docs/tables.md with the schema as the engine has it.
func TestTablesOfClickHouse(t *testing.T) {
	about, fields, used := meanings(t, "columns.txt"), meanings(t, "fields.txt"), map[string]bool{}
	for _, f := range sorted() {
		name := "events." + strings.ReplaceAll(f.String(), ".", "_")
		switch name { // columns that are not named like their fields
		case "events.trace_trace_id", "events.trace_span_id":
			name = strings.Replace(name, "trace_", "", 1)
		}
		if about[name] == "" {
			about[name] = strings.ReplaceAll(fields[f.String()], "; required", "")
			used[name] = true // fields without a column are dropped after matching
		}
	}
	made, names := map[string]*strings.Builder{}, []string{}
	for _, c := range columns(t) {
		b := made[c.table]
		if b == nil {
			b = &strings.Builder{}
			b.WriteString("| Column | Type | Meaning |\n| --- | --- | --- |\n")
			made[c.table] = b
			names = append(names, c.table)
		}
		what := ""
		for _, name := range c.meantBy() {
			if what = about[name]; what != "" {
				used[name] = true
				break
			}
		}
		if what == "" {
			t.Errorf("docs/columns.txt does not say what %s.%s means", c.table, c.name)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", c.name, c.holds(), what)
		if c.comment != "" && c.comment != plainText(what) {
			t.Errorf("DESCRIBE TABLE says of %s.%s\n %s\ndocs/columns.txt says\n %s\nwrite the same there, or comment the column anew in a migration", c.table, c.name, c.comment, plainText(what))
		}
	}
	for name := range about {
		if !used[name] {
			t.Errorf("docs/columns.txt explains %s, which is no column", name)
		}
	}
	for _, name := range names {
		compare(t, "tables.md", name, made[name].String())
	}
	for _, m := range regexp.MustCompile(`<!-- table (\w+):`).FindAllStringSubmatch(page(t, "tables.md"), -1) {
		if made[m[1]] == nil {
			t.Errorf("docs/tables.md has a table %s, which ClickHouse has not", m[1])
		}
	}
}

// column is one of a table or view of ClickHouse.
type column struct{ table, name, typ, kind, comment string }

// columns asks the engine for all that a statement may name.
func columns(t *testing.T) (out []column) {
	t.Helper()
	u, err := url.Parse(embeddedtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	database := u.Query().Get("database")
	u.RawQuery = ""
	db, err := store.Open(t.Context(), store.Config{URL: u.String(), Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := store.Migrate(t.Context(), db, store.MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, rows, err := db.Query(t.Context(), `SELECT table, name, type, default_kind, comment FROM system.columns
		WHERE database = currentDatabase() AND table != 'schema_migrations' ORDER BY table, position`)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		out = append(out, column{r[0], r[1], r[2], r[3], r[4]})
	}
	if len(out) < 300 {
		t.Fatalf("the engine has %d columns", len(out))
	}
	return out
}

// meantBy is where the meaning of a column may stand: with it, with the table that a view reads, or for all tables.
func (c column) meantBy() []string {
	names := []string{c.table + "." + c.name, "*." + c.name}
	if base := map[string]string{"v_alerts": "alerts", "v_alert_evidence": "alerts", "v_timeline": "events"}[c.table]; base != "" {
		names = append(names, base+"."+c.name)
	}
	return names
}

// plainText is a meaning as a comment of SQL has it.
func plainText(markdown string) string {
	return strings.ReplaceAll(regexp.MustCompile(`\[([^]]+)\]\([^)]*\)`).ReplaceAllString(markdown, "$1"), "`", "")
}

var (
	wrapped  = regexp.MustCompile(`LowCardinality\((\w+)\)`)
	zone     = regexp.MustCompile(`DateTime(64)?\([^)]*\)`)
	combined = regexp.MustCompile(`^SimpleAggregateFunction\((\w+(?:\(\d+\))?), (.+)\)$`)
)

// holds is the type as far as a question needs it, and what a column of its own kind is.
func (c column) holds() string {
	switch c.kind {
	case "ALIAS":
		return c.typeName() + ", an alias: not in `SELECT *`"
	case "EPHEMERAL":
		return c.typeName() + ", cannot be asked for"
	}
	return c.typeName()
}

func (c column) typeName() string {
	typ := zone.ReplaceAllString(wrapped.ReplaceAllString(c.typ, "$1"), "DateTime$1")
	if values := regexp.MustCompile(`'(\w*)' = `).FindAllStringSubmatch(typ, -1); values != nil {
		var all []string
		for _, v := range values {
			if v[1] == "" {
				v[1] = "''"
			}
			all = append(all, code(v[1]))
		}
		return strings.Join(all, ", ")
	}
	if strings.HasPrefix(typ, "AggregateFunction(uniqCombined64") {
		return "a state: " + code("uniqCombined64Merge("+c.name+")")
	}
	if m := combined.FindStringSubmatch(typ); m != nil && !strings.HasPrefix(c.table, "v_") {
		return code(m[2]) + ", rows of one key by " + code(m[1])
	} else if m != nil {
		return code(m[2])
	}
	return code(typ)
}
