package detect

import (
	"bytes"
	"testing"
	"testing/fstest"
)

// Memory that was taken back must not show: a batch gives the same bytes from it as from new memory.
func TestReusedSignalsAreAsNew(t *testing.T) {
	rs, err := Load(fstest.MapFS{"r.yaml": {Data: []byte(`---
{schema: rule/v1, id: CO-01, name: c.calls, title: Calls, severity: low, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 5m, group_by: [net.ip]}}
---
{schema: rule/v1, id: CO-02, name: c.tools, title: Tools, severity: low, match: {outcome: success}, distinct: {field: mcp.tool, count: {gte: 3}, window: 5m, group_by: [net.ip]}}
---
{schema: rule/v1, id: CO-03, name: c.denied, title: Denied, severity: high, match: {outcome: denied}, group_by: [server.name]}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMatcher(rs)
	fresh, reusing := NewCollector(rs, plainHasher{}), NewCollector(rs, plainHasher{})
	events := BenchEvents(4000, 300, 100)
	const batch = 250
	signals := 0
	for i, e := range events {
		ev := e.Event()
		ev.Redact(plainHasher{}, nil)
		matches := m.Match(nil, ev)
		fresh.Add(ev, matches)
		reusing.Add(ev, matches)
		if i%batch < batch-1 {
			continue
		}
		want, got := fresh.Flush(1, int64(i), int64(i+1)), reusing.Flush(1, int64(i), int64(i+1))
		if len(got) != len(want) {
			t.Fatalf("%d signals from memory that was taken back, %d from new", len(got), len(want))
		}
		for j := range want {
			if !bytes.Equal(AppendSignal(nil, got[j]), AppendSignal(nil, want[j])) || got[j].Urgent != want[j].Urgent {
				t.Fatalf("signal %d: %+v from memory that was taken back, %+v from new", j, got[j], want[j])
			}
		}
		signals += len(want)
		fresh = NewCollector(rs, plainHasher{})
	}
	if signals < 100 {
		t.Errorf("%d signals: the test shows nothing", signals)
	}
}
