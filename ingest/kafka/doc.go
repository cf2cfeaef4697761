// Package kafka is Picket's Kafka: a consumer that works in declared batches, a producer,
// topic administration and an embedded broker. It is the only place that imports kafka-go.
//
// # Declared batches
//
// The committed record of a partition is (offset C, metadata E): everything before C is done,
// and [C, E) was declared. Poll commits that before it returns a batch, fenced by the group's
// generation and member id; the same commit acknowledges the batch before. Whoever owns the
// partition after a crash finds [C, E) and gets exactly that range again (Range.Redo), so every
// effect can have a name that a repetition reproduces. A member that the group has moved past
// cannot declare anything, so at most one process begins effects for a new range.
//
// # Why not kafka-go's Reader or ConsumerGroup
//
// Reader mixes generations and commits without one. ConsumerGroup joins again behind its
// owner's back while a batch is in hand, drops the metadata of the commits that it reads, and
// knows no static membership. Here one goroutine, Poll's, does everything to do with
// membership through kafka-go's Client: when the group rebalances, the batch in hand is
// finished and acknowledged first (brokers accept that), and only then does the member join
// again. Beside it there are one heartbeat and one fetcher for each partition, started and
// joined in startReading, beat and endGeneration.
//
// kafka-go decodes record batches without the broker's append time (it reports the producer's
// claim even on topics with LogAppendTime), without the marker of control batches and without
// a limit on what a batch unpacks to. So fetch responses are taken raw over kafka-go's
// connections and decoded here (fetch.go, records.go), with franz-go's kmsg for the wire format.
// A batch that unpacks to more than MaxBatchBytes, or is damaged, is skipped as Range.Unreadable.
//
// # Memory
//
// A range lies in memory as it is stored, compressed. Who reads it unpacks one stored batch at a
// time, into the memory where the one before it was (reader.go), so a record is there until the
// next one is read. How much a batch unpacks to is found before it is declared: the limits are
// of that. Commit puts what was fetched back to be used again (memory.go): only then does nobody
// read it any more, so what was given up, fenced or never committed goes to the garbage collector
// instead. Requests are written from such memory, too; after an error none is used again, since
// kafka-go may still be at it.
//
// kafka-go produces to one partition at a time, reads each key and value through an io.Reader,
// and asks for a group's coordinator before each commit; so Produce and OffsetCommit are sent
// as exchanges, and record batches encoded here (produce.go, encode.go).
//
// # Limits
//
// Aborted transactions are read like committed ones. Producing is not idempotent: a retry may
// write twice, so records carry names by which readers drop the second one.
package kafka
