package detect

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// mostMessage is what picket.signals takes of a record, and mostRows what the detecting role has in a batch.
const (
	mostMessage = 8 << 20
	mostRows    = 25_000
)

// collectGroup collects n events that are all of one group.
func collectGroup(t *testing.T, rules string, n int, set func(ev *Event, i int)) (*Collector, *RuleSet) {
	t.Helper()
	rs, err := Load(fstest.MapFS{"r.yaml": {Data: []byte(rules)}})
	if err != nil {
		t.Fatal(err)
	}
	m, c := NewMatcher(rs), NewCollector(rs, plainHasher{})
	var ev Event
	var matches []Match
	for i := range n {
		ev.Reset()
		ev.Set(Type, "tool_call")
		ev.Set(ID, fmt.Sprint("id", i))
		ev.Set(NetIP, "10.0.0.1")
		set(&ev, i)
		ev.Offset = int64(i)
		ev.Append = TestStart.Add(time.Duration(i) * time.Millisecond)
		ev.Time = ev.Append
		ev.Redact(plainHasher{}, nil)
		matches = m.Match(matches[:0], &ev)
		c.Add(&ev, matches)
	}
	return c, rs
}

// allOf is a rule of 16 parts.
func allOf(id int, part func(i int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\nschema: rule/v1\nid: DI-%02d\nname: d.r%d\ntitle: T\nseverity: high\nmatch: {type: tool_call}\ngroup_by: [net.ip]\nwindow: %dm\nall:\n", id, id, 5+id)
	for i := range maxStreams {
		fmt.Fprintf(&b, "  - %s\n", part(i))
	}
	return b.String()
}

// pointsOfRules reads packs as windows do, and tells how many points each rule has.
func pointsOfRules(t *testing.T, packs []Pack) map[[16]byte]int {
	t.Helper()
	points := map[[16]byte]int{}
	for _, p := range packs {
		if len(p.Record) > mostMessage {
			t.Errorf("a pack of %d bytes, which its topic refuses", len(p.Record))
		}
		for _, s := range signalsIn(t, []Pack{p}) {
			for _, rp := range s.Rules {
				if _, twice := points[rp.Rule]; twice {
					t.Error("a rule of a group is in two packs: windows take the first of them alone")
				}
				points[rp.Rule] = len(rp.Points)
			}
		}
	}
	return points
}

// However many rules one group matches, each pack is one that its topic takes and its readers read.
func TestPacksOfOneGroupAreBounded(t *testing.T) {
	const rows = mostRows
	for name, of := range map[string]struct {
		rules int
		part  func(i int) string
	}{
		"bytes":  {3, func(i int) string { return fmt.Sprintf("{distinct: {field: reason, count: {gte: %d}}}", 3+i) }},
		"points": {11, func(i int) string { return fmt.Sprintf("{threshold: {count: {gte: %d}}}", 3+i) }},
	} {
		t.Run(name, func(t *testing.T) {
			var rules strings.Builder
			for i := range of.rules {
				rules.WriteString(allOf(i, of.part))
			}
			c, rs := collectGroup(t, rules.String(), rows, func(ev *Event, i int) { ev.Set(Reason, fmt.Sprint("reason", i)) })
			packs := c.Packs(0, 0, rows, 1)
			got := pointsOfRules(t, packs)
			for _, r := range rs.Rules() {
				if got[r.Hash] != rows*maxStreams {
					t.Errorf("%x has %d points of %d", r.Hash, got[r.Hash], rows*maxStreams)
				}
			}
			if len(packs) < 2 || c.Stats().Shed > 0 {
				t.Errorf("%d packs, %d matches shed", len(packs), c.Stats().Shed)
			}
		})
	}
}

// Rules that say the same of one group stay together, so that they need not say it again.
func TestRulesThatSayTheSameStayTogether(t *testing.T) {
	var rules strings.Builder
	for i := range 7 {
		fmt.Fprintf(&rules, "---\n{schema: rule/v1, id: CO-%02d, name: c.r%d, title: T, severity: low, match: {type: tool_call}, threshold: {count: {gte: %d}, window: 5m, group_by: [net.ip]}}\n", i, i, 5+i)
	}
	c, _ := collectGroup(t, rules.String(), mostRows, func(*Event, int) {})
	if packs := c.Packs(0, 0, mostRows, 1); len(packs) != 1 || len(pointsOfRules(t, packs)) != 7 || len(packs[0].Record) > 12*mostRows {
		t.Errorf("%d packs, the first of %d bytes", len(packs), len(packs[0].Record))
	}
}

// A rule is not cut, so its worst case has to fit: every point in full, of events that are far apart.
func TestTheLargestRuleOfAGroupFits(t *testing.T) {
	const (
		overshoot = maxStreams * 2 * maxFindings // of the event that comes to the bound
		point     = 1 + 1 + sizeOfValue          // in the next event, a step
		event     = 2*binary.MaxVarintLen64 + 8
	)
	texts := 0 // of one event in letters of two bytes, if a rule shows every field that there is
	for f := range NumFields {
		if info := f.Info(); info.Privacy != Dropped && f.Kind() == Text {
			texts += 2*max(info.MaxLen, 512) + 32
		}
	}
	most := (maxPairPoints+overshoot)*point + mostRows*event + 4*maxEvidence*texts
	if most > mostMessage || maxPairPoints+overshoot > maxPackPoints {
		t.Errorf("a rule of a group takes up to %d bytes and %d points", most, maxPairPoints+overshoot)
	}
}

// Only findings can be more than that. What a rule gets beyond is counted, and the pack can be read.
func TestFindingsOfAGroupAreBounded(t *testing.T) {
	const rows = 1000
	c, rs := collectGroup(t, allOf(0, func(i int) string { return fmt.Sprintf("{distinct: {field: io.findings.cat, count: {gte: %d}}}", 3+i) }), rows, func(ev *Event, i int) {
		for j := range maxFindings {
			ev.AddFinding(Finding{Cat: "cat_" + string(rune('a'+j%26)) + string(rune('a'+j/26))})
		}
	})
	got := pointsOfRules(t, c.Packs(0, 0, rows, 1))[rs.Rules()[0].Hash]
	if got < maxPairPoints || got >= maxPairPoints+maxStreams*maxFindings || c.Stats().Shed != uint64(rows-got/(maxStreams*maxFindings)) {
		t.Errorf("%d points, %d matches shed", got, c.Stats().Shed)
	}
}

// Texts count by their length: packs of long names and contexts are as large as others, and not
// much smaller than they may be.
func TestPacksOfLongTextsAreBounded(t *testing.T) {
	words := func(n, i int) string {
		var b strings.Builder
		for j := 0; b.Len() < n; j++ {
			fmt.Fprintf(&b, "%s ", []string{"alpha", "bravo", "delta", "gamma", "omega", "sigma"}[(i>>uint(j%12)+j)%6])
		}
		return fmt.Sprintf("%s%d", b.String()[:n-6], i)
	}
	c, _ := collectGroup(t, `---
{schema: rule/v1, id: CO-03, name: c.denied, title: Denied, severity: high, match: {type: tool_call}, group_by: [mcp.resource, client.user_agent, server.name, actor.client_id], alert: {context: [mcp.tool, mcp.method, reason, mcp.handle]}}
`, 5000, func(ev *Event, i int) {
		ev.Set(MCPResource, "file:///"+strings.ReplaceAll(words(400, i), " ", "/"))
		ev.Set(ClientUserAgent, words(250, i))
		ev.Set(ServerName, words(120, i))
		ev.Set(ActorClientID, strings.ReplaceAll(words(100, i), " ", "-"))
		ev.Set(MCPTool, strings.ReplaceAll(words(120, i), " ", "-"))
		ev.Set(Reason, words(200, i))
	})
	var sizes []int
	for _, p := range c.Packs(0, 0, 5000, 1) {
		sizes = append(sizes, len(p.Record))
	}
	if slices.Max(sizes) > maxPack || slices.Min(sizes[:len(sizes)-1]) < maxPack*3/4 {
		t.Errorf("packs of %v bytes; they are to have up to %d", sizes, maxPack)
	}
}
