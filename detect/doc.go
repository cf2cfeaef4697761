// Package detect decides. It has no I/O, goroutine, lock or clock: time comes with the events.
//
// An event meets the files in this order.
//
//   - Load (ruleload*.go) compiles rules to a RuleSet, which is immutable and shared, or says
//     everything that is wrong with them. What a match asks for becomes native predicates
//     (selection.go, condition*.go, predicate.go); where stays an expression (where.go).
//   - Scanner (scan*.go) looks for attacks in an event's texts; what it finds are findings.
//   - Matcher (matcher.go) says which rules an event matches. One automaton per field finds the
//     literals of all rules in one pass (literals.go), where a filter cannot tell that the text has
//     none (literals_filter.go), and only rules whose rarest necessary
//     atom the event has are looked at (index.go, atom.go).
//   - Redact (redact.go) replaces people by pseudonyms. Nothing raw leaves an Event after it.
//   - Collector (collect*.go) gathers the matches of a batch, and writes them as packs
//     (signal_write.go): the signals, one of each group, that go to one partition. What recurs it
//     remembers (collect_memory.go). A late event ends here, unless one event alone decides.
//   - SignalDecoder (signal_read.go) reads packs, one after the other into the same memory.
//   - Windows (windows*.go) hold the points of every rule and group, and answer with alerts.
//
// # Windows
//
// What alerts there are, and their final counts, is a function of the points and the rules, in
// whatever order, batches or copies they come, and whoever restarts or reloads in between:
//
//   - A group keeps its points sorted by time and identity (windows_group.go), so a copy is found,
//     and a late one stands where it belongs. They are packed in blocks (windows_series.go), of
//     12 or 20 bytes each, and those of a batch are merged at once. Batches that were done twice
//     are known by their range. An event that a count and a part with values see is one point of both.
//   - When points come, every event whose window they are in is judged again (windows_judge.go).
//     The watermark decides when something settles or is dropped, never what.
//   - Most rules count, and what they count is how many points lie between two places. For others
//     a meter (meter*.go) measures a run of points, and a cursor moves it along. Sums and
//     distinct values follow at both ends in constant time. A sequence knows the latest possible
//     start of a match, which what lies before a window cannot change, so it gives up nothing at
//     the old end; at the new end it goes back by a log of what each event overwrote. So a late
//     point costs what came after it, not what the window holds.
//   - Rules that take steps from others are judged by depth, sources first. One that a late event
//     can undo is judged when the watermark has passed whatever could.
//
// Most groups hold a few points and never fire. They have no cursor, no name and no evidence until
// they need one: a million of them, with four points each, take 160 MiB.
//
// Groups of different partitions of the signals never meet, so each partition has Windows of its
// own, in a goroutine of its own where the caller likes.
//
// # How it is tested
//
// TestOracle holds all of this to an evaluator that looks at the whole window of every event,
// over random rules and histories (make oracle), and TestMutationsAreFound shows that the
// comparison notices when a part of the engine is switched off (make mutations).
package detect
