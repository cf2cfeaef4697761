// Package tap sits between an MCP client and a stdio MCP server, passes every
// byte on as it came, and turns what went by into picket.event/1 events.
//
// Three parts, each unable to hold up the one before it:
//
//	client <-> copy <-> server      bytes; written on before anything else
//	             | framer           cuts the copy into lines, in the copying goroutine, memory bounded
//	             v inbox            bounded; full: the message is dropped and counted
//	          observer              parses, pairs requests with responses, makes events; one goroutine owns all state
//	             v outbox           bounded; full: the event is dropped and counted
//	          shipper               Sink.Send with back-off
//
// Why it is shaped so:
//
//   - A security tool that can break the server gets removed. Nothing on the
//     path of the bytes waits for parsing, for memory or for the sink.
//   - A message carries the time at which it was read, so that a response that
//     is observed before its request (two goroutines, one clock) still finds it.
//   - The consumer refuses deep, wide, large and ambiguous JSON. The tap
//     therefore rewrites what it quotes (reduce.go) to fit those limits: padding
//     a call or doubling a key must not turn its event into a dead letter.
//   - Loss is visible: seq has a gap for everything dropped, and the next
//     heartbeat says how much. Drops while the sink is away are the newest
//     events: what led up to an outage is worth more than its middle.
//   - Raw arguments and results go into the event because the topic is raw by
//     design; nothing of them is ever logged here.
package tap
