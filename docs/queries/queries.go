// Package queries carries the questions that analysts ask, as files that any client of
// ClickHouse can run. They name the database picket, which is its default.
package queries

import "embed"

// FS holds a file for each question: a line of comment that is its title, lines that say
// what the answer means, and one statement.
//
//go:embed *.sql
var FS embed.FS
