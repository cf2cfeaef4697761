// Package role holds the four loops of Picket: store, detect, correlate and
// notify. Each is a consumer group with its own offset and has the same shape:
// poll, work, write, commit. A loop never skips: work that fails is parked,
// tried again with back-off, and shown, while its consumer stays in the group.
//
// Everything a loop writes has a name that a replay reproduces, so doing a
// declared batch a second time changes nothing:
//
//	store      ClickHouse drops a second insert of topic:partition:begin-end
//	detect     correlate drops a second signal of (partition, batch, group, rule)
//	correlate  readers of alerts drop a second (alert id, count, settled)
//	notify     a destination knows its incident; deliveries say what was told
package role
