// Command bench measures the whole path on one machine, as `make bench-e2e` does: a real
// Apache Kafka with a backlog of events, the ClickHouse engine in a process of its own, and
// one `picket run` with the store, detect and correlate roles and the shipped rules.
//
// It says how many events a second are stored and judged and what they cost each process in
// CPU time, where the time goes inside of Picket, how much memory it takes, how long an alert
// takes under a steady load, and when an event can be queried at a low one. The last line of
// its output is one JSON object.
//
// CPU time is read from /proc, so it needs Linux.
package main
