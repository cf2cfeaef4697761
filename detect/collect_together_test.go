package detect

import (
	"fmt"
	"strings"
	"testing"
)

// An event that a count and a measure of values see is one point, whichever of them comes first
// in the rule; what only one of them sees is a point for that one alone.
func TestACountSharesPointsWithValues(t *testing.T) {
	const count, distinct = "{match: {outcome: denied}, threshold: {count: {gte: 3}}}", "{distinct: {field: actor.client_id, count: {gte: 2}}}"
	sum := "{sum: {field: io.rows, gte: 7}}"
	for _, c := range []struct {
		parts          string
		points, events int // of the six below; no events: no alert
	}{
		{count + ", " + distinct, 6, 6},
		{distinct + ", " + count, 6, 6},
		{sum + ", " + count, 6, 6},
		{count + ", " + distinct + ", " + sum, 10, 6}, // a point has one value
		{count + ", " + count + ", " + distinct, 10, 6},
		{distinct + ", " + sum, 8, 4},
		{count + ", " + strings.Replace(distinct, "gte: 2", "gte: 3", 1), 6, 0}, // no value is none
	} {
		rs := loadText(t, "{schema: rule/v1, id: TO-01, name: t.one, title: t, severity: low, match: {type: tool_call}, window: 5m, group_by: [net.ip], all: ["+c.parts+"]}")
		m, collect := NewMatcher(rs), NewCollector(rs, plainHasher{})
		w := NewWindows(rs, plainHasher{}, 0, WindowOptions{})
		for i, client := range []string{"a", "", "a", "", "a", "b"} {
			ev := &Event{Append: TestStart, Claimed: TestStart}
			ev.Set(ID, fmt.Sprint(i))
			ev.Set(Type, "tool_call")
			ev.Set(NetIP, "10.0.0.1")
			ev.Set(Outcome, []string{"denied", "success"}[i/4]) // the count does not see the last two
			if client != "" {
				ev.Set(ActorClientID, client)
				ev.SetNum(IORows, 2)
			}
			ev.Stamp(0)
			ev.Redact(plainHasher{}, nil)
			collect.Add(ev, m.Match(nil, ev))
		}
		points, alerts := 0, 0
		for _, s := range signalsOf(t, collect, 0, 6) {
			points += len(s.Rules[0].Points)
			for _, a := range w.Observe(nil, s) {
				alerts++
				if a.Count != uint64(c.events) {
					t.Errorf("%s: an alert of %d events", c.parts, a.Count)
				}
			}
		}
		if points != c.points || alerts != min(1, c.events) {
			t.Errorf("%s: %d points and %d alerts, expected %d and %d", c.parts, points, alerts, c.points, min(1, c.events))
		}
	}
}
