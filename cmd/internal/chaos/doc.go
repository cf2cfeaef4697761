//go:build unix

// Command chaos proves that every record is stored once, whatever is killed: `make chaos`.
//
// It starts a real Apache Kafka, the ClickHouse engine and several `picket run --roles store`,
// all of them processes of their own, sends events through an idempotent producer, and kills,
// stops, cuts off and restarts by a plan that the seed draws. Afterwards it asks `picket audit`,
// and counts by itself: what must be stored is made again from the seed and the log's keys, so
// nothing of Picket's own accounts is believed.
//
// # Where a process is killed
//
// Every picket has two proxies of its own, one before Kafka and one before ClickHouse. They see
// the commit that declares a batch, the inserts into each table and the commit that only
// acknowledges, and a gate can hold any of these before it is sent on, or once it took effect
// and before the answer. The process is killed or stopped while the request is held, so a state
// is hit exactly and not by luck. A held request may also be sent on when another process has
// taken over: that is what a slow network does to the request of a zombie.
//
// # What turns it red
//
// -weaken switches a protection off at the wire, in the proxies, so that no line of Picket knows
// of it: token (ClickHouse is told not to deduplicate), fence (the coordinator's refusals of
// stale members are shown to them as success), declaration (the declared end is cut from every
// commit). Each must end in rows that are there twice: `make chaos-mutations`.
package main
