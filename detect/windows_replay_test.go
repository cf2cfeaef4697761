package detect

import (
	"encoding/binary"
	"testing"
	"time"
)

// A restart reads hours again. What it holds meanwhile is no more than what a process held that
// did not restart: else the limits would cut what had room before.
func TestAReplayHoldsNoMoreThanBefore(t *testing.T) {
	const lateness = 15 * time.Minute
	rs := loadText(t, "{schema: rule/v1, id: RP-01, name: r.p, title: t, severity: high, match: {type: authentication}, threshold: {count: {gte: 5}, window: 5m, group_by: [net.ip]}, suppress: {for: 1h}}\n---\n"+
		"{schema: rule/v1, id: RP-02, name: r.q, title: t, severity: high, match: {type: tool_call}, threshold: {count: {gte: 5}, window: 1h, group_by: [net.ip]}, suppress: {for: 1h}}")
	rule := rs.ByID("RP-01")
	type heard struct {
		s *Signal
		p *Progress
	}
	var log []heard
	n := int64(0)
	say := func(group uint64, at time.Duration) {
		n++
		ms := TestStart.Add(at).UnixMilli()
		s := &Signal{
			Begin: n, End: n + 1, Tenant: "default", Values: []GroupValue{{Field: "net.ip", Value: "a"}},
			Events: []SignalEvent{{Time: ms, Append: ms, Identity: uint64(n)}}, Rules: []RulePoints{{Rule: rule.Hash, Points: make([]Point, 1)}},
		}
		binary.LittleEndian.PutUint64(s.Group[:], group)
		log = append(log, heard{s: s})
	}
	for minute := range 600 {
		at := time.Duration(minute) * time.Minute
		for i := range 10 {
			say(uint64(1_000_000+10*minute+i), at)
		}
		if minute == 570 || minute >= 595 && minute < 598 {
			say(7, at)
		}
		n++
		log = append(log, heard{p: &Progress{Begin: n, Passed: TestStart.Add(at), Sources: 1}})
	}
	hear := func(w *Windows) (most int) {
		for _, x := range log {
			if x.s != nil {
				w.Observe(nil, x.s)
			} else {
				w.Progress(nil, x.p)
			}
			most = max(most, w.Groups())
		}
		return most
	}
	opts := WindowOptions{MaxGroups: 800}
	live := NewWindows(rs, plainHasher{}, lateness, opts)
	before := hear(live)
	again := NewWindows(rs, plainHasher{}, lateness, opts)
	again.Restore(live.Watermark())
	if after := hear(again); after > before || again.Stats().Shed > 0 {
		t.Errorf("at most %d groups were held before a restart and %d after it, which shed %d points", before, after, again.Stats().Shed)
	}
	if !again.Watermark().Equal(live.Watermark()) {
		t.Errorf("the watermark is %s, was %s", again.Watermark(), live.Watermark())
	}
	for _, w := range []*Windows{live, again} {
		f := &feeder{w: w, begin: n}
		var key [16]byte
		binary.LittleEndian.PutUint64(key[:], 7)
		said := f.point(rule, 7, 599*time.Minute+30*time.Second, 0, 0)
		said = append(said, f.point(rule, 7, 599*time.Minute+31*time.Second, 0, 0)...)
		if len(said) != 1 || said[0].Count != 6 {
			t.Errorf("alerts %+v", said)
		}
	}
}
