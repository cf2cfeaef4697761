// Package embedded runs ClickHouse in this process: libchdb, loaded without cgo, behind
// ClickHouse's own HTTP interface on loopback. clickhouse-go, curl, Grafana and JDBC
// clients talk to it as to a server, and nothing above knows the difference.
//
// # Where the library comes from
//
// Fetch takes it from npm (package @chdb/lib-<os>-<arch>) with the user's own npm and
// configuration, compares it with a checksum in this source, and keeps it in a cache.
//
// # Connections
//
// A libchdb connection runs one statement at a time. INSERT and DDL share one; reads have
// a small pool of connections that are set to readonly = 2 and limited in time and memory,
// so that a slow SELECT never holds up an insert. The engine's own parser says which of the
// two a statement is. KILL QUERY goes past both. Settings of a request are SET before it
// and taken back after it.
//
// # What differs from a server
//
//   - No sessions (session_id), temporary tables, transactions, users, roles or quotas.
//     SET and USE are checked and then forgotten, as over HTTP without a session.
//   - async_insert is always off, so that an answer of 200 means that the rows are stored.
//     They survive the death of the process; they are not synced against power loss.
//   - Native blocks have revision 0. clickhouse-go is told so when it asks.
//   - Only formats without head and foot are streamed, others are made in memory with
//     max_result_bytes as a bound.
//   - A statement cannot reach outside: the one user has no grant on files, URLs, other
//     servers and their engines, and fence refuses what needs no grant (403, ACCESS_DENIED).
//     Whoever can log in can still read and change all tables. Other machines, other sites'
//     scripts in a browser and foreign host names are refused; set a password where other
//     users share the machine.
//
// # One engine
//
// A process can run one engine, on one data path, and a path belongs to one process:
// Open says so, and who holds it. libchdb's signal handlers, which would replace those
// that the Go runtime lives by, are turned off before the first connection.
package embedded
