package detect

import (
	"testing"
	"time"
)

// A completion of a rule in panes has the time at which its pane begins, and may come when all of
// the pane is there. A settled rule that takes it waits for that.
func TestWhatTakesFromPanesWaitsForTheirEnd(t *testing.T) {
	rs := loadText(t, ruleLines(`
{id: XA-01, name: x.a, match: {type: authentication}, threshold: {count: {gte: 2}, window: 60s, resolution: 10s, group_by: [net.ip]}, suppress: {for: 1m}}
{id: XB-01, name: x.b, sequence: {window: 2m, group_by: [net.ip], steps: [{name: one, match: {outcome: denied}}, {name: two, from: XA-01}], until: {outcome: success}}, suppress: {for: 1m}}
`))
	alerts := func(steps ...time.Duration) (n int) {
		f := &feeder{w: NewWindows(rs, plainHasher{}, 0, WindowOptions{})}
		const pane = 10 * time.Minute
		f.point(rs.ByID("XB-01"), 1, pane-5*time.Second, 0, 0)
		f.point(rs.ByID("XA-01"), 1, pane+1*time.Second, 0, 0)
		for _, at := range steps {
			f.w.Settle(nil, TestStart.Add(pane+at))
		}
		f.point(rs.ByID("XA-01"), 1, pane+8*time.Second, 0, 0)
		for _, a := range f.w.Settle(nil, TestStart.Add(pane+time.Hour)) {
			if a.Rule.ID == "XB-01" && a.Settled {
				n++
			}
		}
		return n
	}
	if whole, halfway := alerts(), alerts(5*time.Second); whole != 1 || halfway != whole {
		t.Errorf("%d alerts when all of the pane came first, %d when the watermark was halfway through it", whole, halfway)
	}
}
