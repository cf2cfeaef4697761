package detect

import (
	"strings"
	"testing"
)

// TestLiteralsAcrossLanes puts a word at every place of a text that is read in lanes.
func TestLiteralsAcrossLanes(t *testing.T) {
	l := &literals{}
	whole, part, other := int32(l.add("needle")), int32(l.add("eed")), int32(l.add("needles"))
	l.build()
	for n := minLanes - 2; n < minLanes+40; n++ {
		for at := 0; at+6 <= n; at++ {
			for _, fill := range []string{".", "n", "e"} {
				text := strings.Repeat(fill, at) + "NeedLe" + strings.Repeat(fill, n-at-6)
				h := l.newHits()
				l.scan(text, &h, nil)
				if !h.has(whole) || !h.has(part) || h.has(other) {
					t.Fatalf("%q: %v", text, h.found)
				}
				h.clear()
				if h.has(whole) || h.has(part) {
					t.Fatal("clear leaves something")
				}
			}
		}
	}
}
