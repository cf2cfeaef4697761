package store

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed queries/*.sql
var queryFiles embed.FS

// SavedQuery is a question that an analyst asks.
type SavedQuery struct {
	Name  string // failed_logins
	Title string // the first line of its comment
	SQL   string // complete, with qualified names: any client of ClickHouse can run it
}

// DemoQueries returns the three questions to start with, for a database.
func DemoQueries(database string) ([]SavedQuery, error) {
	if err := checkName("database", database); err != nil {
		return nil, err
	}
	var out []SavedQuery
	for _, name := range []string{"failed_logins", "alert_timeline", "tools"} {
		src, err := queryFiles.ReadFile("queries/" + name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("read the query %s: %w", name, err)
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(src), "-- "), "\n")
		stmts, err := render(string(src), database, "")
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", name, err)
		}
		out = append(out, SavedQuery{Name: name, Title: title, SQL: stmts[0]})
	}
	return out, nil
}
