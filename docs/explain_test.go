package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"picket/detect"
	"picket/ingest"
)

const explainedEvent = `{"schema":"picket.event/1","id":"1","time":"2026-11-20T10:00:00Z","type":"tool_call","server":{"name":"billing"},"outcome":"success","mcp":{"tool":"user.delete"},"actor":{"client_id":"backup-agent"}}`

// explained is what picket explain prints of a rule of the page, and of an event.
func explained(t *testing.T) string {
	rs := rulesOfThePage(t)
	rule := rs.ByID("MY-06")
	var b strings.Builder
	b.WriteString("```text\n$ picket explain MY-06\n")
	x := rs.Explain(rule)
	x.Write(&b)
	b.WriteString("$ tail -1 events.jsonl | picket explain MY-06 -\nline 1: ")
	ev := decoded(t, explainedEvent)
	trace := detect.NewMatcher(rs).ExplainEvent(rule, ev)
	trace.Write(&b)
	b.WriteString("```\n")
	return b.String()
}

func decoded(t *testing.T, text string) *detect.Event {
	t.Helper()
	ev := &detect.Event{}
	if err := ingest.NewDecoder(ingest.Options{}).Decode(ev, ingest.Record{Topic: "explain", Value: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	ev.Append = ev.Claimed
	ev.Stamp(15 * time.Minute)
	detect.NewScanner().Scan(ev)
	return ev
}

// TestMarksAreExplained makes a rule with every kind of condition, and wants a row for each mark
// that explain prints, and no row for one that is gone.
func TestMarksAreExplained(t *testing.T) {
	rs, err := detect.Load(fstest.MapFS{"r.yaml": {Data: []byte(`
schema: rule/v1
id: MY-01
name: my.marks
title: T
severity: low
match:
  type: tool_call
  http.status|gte: 400
  mcp.session|exists: true
  mcp.tool|startswith: admin
  io.args|re: '(?i)drop\s+table'
  net.ip|cidr: 10.0.0.0/8
  io.findings: {cat: sqli}
  not: {actor.client_id: [ci, bot]}
---
{schema: rule/v1, id: MY-02, name: my.weak, title: T, severity: low, match: {type: heartbeat}, absence: {window: 5m}}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range rs.Rules() {
		x := rs.Explain(r)
		x.Write(&b)
	}
	marks := []string{"`index  nothing`", "`yes`, `no`", "`raw`, `absent`"} // no marks in brackets
	for _, m := range regexp.MustCompile(`\[([a-z ,]+)\]`).FindAllStringSubmatch(b.String(), -1) {
		for mark := range strings.SplitSeq(m[1], ", ") {
			marks = append(marks, "`["+mark+"]`")
		}
	}
	slices.Sort(marks)
	marks = slices.Compact(marks)
	_, text, _ := strings.Cut(page(t, "rules.md"), "### Explain")
	text, _, _ = strings.Cut(text, "\n##")
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*?) \\| ").FindAllStringSubmatch(text, -1) {
		rows = append(rows, m[1])
	}
	slices.Sort(rows)
	if !slices.Equal(marks, rows) {
		t.Errorf("docs/rules.md explains\n%q, explain prints\n%q", rows, marks)
	}
}
