package store

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"picket/docs/queries"
)

// SavedQuery is a question that an analyst asks.
type SavedQuery struct {
	Name  string // failed_logins
	Title string // the first line of its comment
	About string // the other lines
	SQL   string // complete, with qualified names: any client of ClickHouse can run it
}

// DemoQueries returns the three questions to start with, for a database.
func DemoQueries(database string) ([]SavedQuery, error) {
	return readQueries(database, "failed_logins", "alert_timeline", "tools")
}

// SavedQueries returns all questions, by name.
func SavedQueries(database string) ([]SavedQuery, error) {
	files, err := fs.Glob(queries.FS, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the queries: %w", err)
	}
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".sql")
	}
	return readQueries(database, files...)
}

// The files name the default database.
var inDatabase = regexp.MustCompile(`\bpicket\.`)

func readQueries(database string, names ...string) ([]SavedQuery, error) {
	if err := checkName("database", database); err != nil {
		return nil, err
	}
	var out []SavedQuery
	for _, name := range names {
		src, err := queries.FS.ReadFile(name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("read the query %s: %w", name, err)
		}
		stmts := splitStatements(string(src))
		if len(stmts) != 1 {
			return nil, fmt.Errorf("query %s: %d statements, want one", name, len(stmts))
		}
		comment := strings.ReplaceAll("\n"+strings.TrimSuffix(strings.TrimSpace(string(src)), stmts[0]), "\n-- ", "\n")
		title, about, _ := strings.Cut(strings.TrimSpace(comment), "\n")
		out = append(out, SavedQuery{
			Name: name, Title: title, About: strings.TrimSpace(about), SQL: inDatabase.ReplaceAllString(stmts[0], quoteName(database)+"."),
		})
	}
	return out, nil
}
