// Package e2e proves the promises of `picket run` on whole processes: a broker and a
// ClickHouse engine of their own, killed with kill -9 and started again on the same data
// while events come in, a run that is killed or stopped in the middle, and a Slack that is
// away. What must hold afterwards is asked of Kafka, ClickHouse and Slack, never of the run.
package e2e
