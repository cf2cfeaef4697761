package detect

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

// turning keys turn every quarter of an hour of event time.
type turning struct{ plainHasher }

func (turning) KeyAt(at time.Time) string { return at.Truncate(15 * time.Minute).Format("15:04") }

func (k turning) Pseudonym(_, _, value string, at time.Time) (hash, key string) {
	key = k.KeyAt(at)
	return key + value, key
}

// What a collector remembers must not show: neither after its memory was full, nor where the key
// that makes public forms has changed, also in the middle of a batch and back.
func TestReusedSignalsAreAsNew(t *testing.T) {
	rs, err := Load(fstest.MapFS{"r.yaml": {Data: []byte(`---
{schema: rule/v1, id: CO-01, name: c.calls, title: Calls, severity: low, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 5m, group_by: [net.ip]}, alert: {context: [actor.client_id, actor.subject]}}
---
{schema: rule/v1, id: CO-02, name: c.tools, title: Tools, severity: low, match: {outcome: success}, distinct: {field: mcp.tool, count: {gte: 3}, window: 5m, group_by: [net.ip]}}
---
{schema: rule/v1, id: CO-03, name: c.denied, title: Denied, severity: high, match: {outcome: denied}, group_by: [server.name, labels.team]}
---
{schema: rule/v1, id: CO-04, name: c.same, title: Same, severity: low, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 5m, group_by: [{coalesce: [actor.subject, net.ip]}, io.args_digest]}}
---
{schema: rule/v1, id: CO-05, name: c.all, title: All, severity: low, match: {outcome: denied}, threshold: {count: {gte: 5}, window: 5m}}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMatcher(rs)
	fresh, reusing := NewCollector(rs, turning{}), NewCollector(rs, turning{})
	const batch = 250
	packs, forgot := 0, 0
	for i, e := range BenchEvents(30_000, 300, 100) {
		ev := e.Event()
		ev.Offset = int64(i)
		ev.Append = TestStart.Add(time.Duration(i) * 200 * time.Millisecond)
		ev.Time = ev.Append.Add(-time.Duration(i%5) * time.Minute)
		ev.Set(IOArgsDigest, fmt.Sprint("digest", i))
		ev.SetLabel("team", fmt.Sprint("team ", i%3))
		ev.Set(Tenant, []string{"acme", "acme", "umbrella"}[i%3])
		ev.Redact(turning{}, nil)
		matches := m.Match(nil, ev)
		fresh.Add(ev, matches)
		before := len(reusing.groups)
		reusing.Add(ev, matches)
		if len(reusing.groups) < before {
			forgot++
		}
		if i%batch < batch-1 {
			continue
		}
		want, got := fresh.Packs(1, int64(i), int64(i+1), 3), reusing.Packs(1, int64(i), int64(i+1), 3)
		if !slices.EqualFunc(got, want, func(a, b Pack) bool {
			return a.Partition == b.Partition && a.Urgent == b.Urgent && bytes.Equal(a.Record, b.Record)
		}) {
			t.Fatalf("batch %d: %d packs from what was remembered, which are not the %d from nothing", i/batch, len(got), len(want))
		}
		packs += len(want)
		reusing.Written()
		fresh = NewCollector(rs, turning{})
	}
	if packs < 300 || forgot < 8 {
		t.Errorf("%d packs, forgot %d times: the test shows nothing", packs, forgot)
	}
}

// A batch of many groups is cut into packs, each of which goes to one partition, and holds every signal once.
func TestPacksAreBounded(t *testing.T) {
	rs := loadText(t, shedRules)
	events, matches, matched := flood(rs, 20_000)
	c := NewCollector(rs, plainHasher{})
	for i := range events {
		events[i].Set(NetIP, fmt.Sprintf("10.%d.%d.%d", i/62500, i/250%250, i%250))
		c.Add(events[i], matches[i])
	}
	packs := c.Packs(0, 0, 20_000, 2)
	type place struct {
		group, rule [16]byte
	}
	seen := map[place]bool{}
	urgent := true
	for _, p := range packs {
		if len(p.Record) > maxPack {
			t.Errorf("a pack of %d bytes", len(p.Record))
		}
		if p.Urgent && !urgent {
			t.Error("an urgent pack comes after others")
		}
		urgent = p.Urgent
		for _, s := range signalsIn(t, []Pack{p}) {
			if PartitionOf(s.Group, 2) != p.Partition {
				t.Fatalf("%x is in a pack for partition %d", s.Group, p.Partition)
			}
			for _, rp := range s.Rules {
				if seen[place{s.Group, rp.Rule}] {
					t.Fatalf("%x has two signals", s.Group)
				}
				seen[place{s.Group, rp.Rule}] = true
			}
		}
	}
	if !slices.Equal(carried(rs, signalsIn(t, packs)), matched) || len(packs) < 6 || !packs[0].Urgent || packs[len(packs)-1].Urgent {
		t.Errorf("%d packs carry %v of %v", len(packs), carried(rs, signalsIn(t, packs)), matched)
	}
}
