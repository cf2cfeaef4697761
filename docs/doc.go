// Package docs holds no code. Its tests hold the pages to the code: the tables that are made
// from it, the rules that a page shows, and every test, metric and class that a page names.
//
//go:generate go test -run TestTables -update .
package docs
