package detect

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A deadline comes when the watermark has reached it, the earliest first, whatever was put off,
// brought forward or removed before.
func TestDeadlinesComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q deadlines
		var groups table
		var ids []uint32
		name := uint64(0)
		now := TestStart.UnixMilli()
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			switch op := rapid.IntRange(0, 3).Draw(t, "operation"); {
			case op == 0 && len(ids) > 0: // gone; the next one may get its number
				i := rapid.IntRange(0, len(ids)-1).Draw(t, "which")
				groups.remove(groups.at(ids[i]).key())
				ids = slices.Delete(ids, i, i+1)
			case op <= 2:
				if len(ids) == 0 || op == 1 {
					name++
					ids = append(ids, groups.put(windowKey{[16]byte{byte(name)}, 1}))
				}
				id := rapid.SampledFrom(ids).Draw(t, "window")
				at := now + rapid.SampledFrom([]int64{1, 500, listMillis, 10 * listMillis}).Draw(t, "reach")*rapid.Int64Range(1, 9).Draw(t, "at")
				groups.at(id).queued = at
				q.push(deadline{at, id})
			default:
				now += rapid.SampledFrom([]int64{0, 100, listMillis, 1 << 20}).Draw(t, "step")
				last, got := int64(0), map[uint32]bool{}
				for {
					id, due := q.next(&groups, now)
					if !due {
						break
					}
					g := groups.at(id)
					if g.queued > now || g.queued < last || got[id] {
						t.Fatalf("window %d is due at %d behind %d, at %d; again %t", id, g.queued, last, now, got[id])
					}
					last, got[id], g.queued = g.queued, true, 0
				}
				for _, id := range ids {
					if at := groups.at(id).queued; at != 0 && at <= now {
						t.Fatalf("window %d was due at %d and did not come at %d", id, at, now)
					}
				}
			}
		}
	})
}

// What a flood of groups took is given back when they have settled.
func TestMemoryOfAFloodIsGivenBack(t *testing.T) {
	rs := benchRule1(t, "match: {type: authentication}, threshold: {count: {gte: 50}, window: 5m, group_by: [net.ip]}")
	w := manyGroups(rs, 20_000, 5)
	words := func() (n int) {
		for i := range w.blocks.chunks {
			n += len(w.blocks.chunks[i].words)
		}
		return n
	}
	flood := words()
	if flood < 5*3*20_000 {
		t.Fatalf("100,000 points are in %d words", flood)
	}
	w.Settle(nil, TestStart.Add(time.Hour))
	if w.Groups() != 0 || w.evidence != 0 {
		t.Fatalf("%d groups and %d pieces of evidence are left", w.Groups(), w.evidence)
	}
	if left := words(); left > flood/10 || len(w.groups.pages) > 0 || len(w.groups.slots) > 0 {
		t.Errorf("%d of %d words are left, %d pages of groups and %d slots", left, flood, len(w.groups.pages), len(w.groups.slots))
	}
}
