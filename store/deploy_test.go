package store

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The embedded engine makes no roles, policies or profiles; its parser reads them. Grants are tried in store/embedded.
func TestDeployedRolesParse(t *testing.T) {
	db := migrated(t)
	files, err := filepath.Glob("../deploy/clickhouse/*.sql")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	var all []string
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range splitStatements(string(src)) {
			var formatted string
			if err := db.row(t.Context(), []any{&formatted}, "SELECT formatQuery(?)", s); err != nil {
				t.Errorf("%s: %.80s: %v", f, s, err)
			}
			if !strings.HasPrefix(s, "GRANT ") && !strings.Contains(s, " IF NOT EXISTS ") {
				t.Errorf("%s: may not run twice: %.80s", f, s)
			}
			all = append(all, s)
		}
	}
	text := strings.Join(all, "\n")
	var bad string
	if err := db.row(t.Context(), []any{&bad}, "SELECT formatQuery(?)", strings.Replace(text, "GRANT", "GRAND", 1)); err == nil {
		t.Error("the parser took GRAND for GRANT")
	}
	// What is named is there, and every table that has tenants has its policy.
	_, rows, err := db.Query(t.Context(), "SELECT table, countIf(name = 'tenant') FROM system.columns WHERE database = '"+db.Database()+"' GROUP BY table")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]bool{}
	for _, r := range rows {
		tables[r[0]] = r[1] == "1"
	}
	var policies []string
	for _, m := range regexp.MustCompile(`(POLICY IF NOT EXISTS picket_acme )?ON picket\.(\w+)\b(?:[^*]|$)`).FindAllStringSubmatch(text, -1) {
		if _, ok := tables[m[2]]; !ok {
			t.Errorf("there is no table %s", m[2])
		}
		if m[1] != "" {
			policies = append(policies, m[2])
		}
	}
	everyTenant := regexp.MustCompile(`POLICY IF NOT EXISTS picket_all [^;]* TO ([\w, ]+)`).FindStringSubmatch(text)
	if everyTenant == nil {
		t.Fatal("nobody sees every tenant")
	}
	for _, m := range regexp.MustCompile(`CREATE ROLE IF NOT EXISTS (\w+)`).FindAllStringSubmatch(text, -1) {
		if all := slices.Contains(strings.Split(everyTenant[1], ", "), m[1]); all == strings.HasPrefix(m[1], "picket_analyst") {
			t.Errorf("that %s sees every tenant is %t", m[1], all)
		}
	}
	for name, tenants := range tables {
		if tenants && !strings.HasPrefix(name, "v_") && !strings.HasSuffix(name, "_mv") && !slices.Contains(policies, name) {
			t.Errorf("%s has tenants and no policy", name)
		}
	}
}
