package detect

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
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

// TestFilterHidesNothing puts words at any place of any text, in any case: the filter must not say no.
func TestFilterHidesNothing(t *testing.T) {
	letters := rapid.SampledFrom([]rune("aabbkx./-_ 0[\x00\x7f"))
	no := map[int]int{}
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.SampledFrom([]int{3, 4, 5, 7}).Draw(t, "least")
		var words []string
		for range rapid.IntRange(1, 6).Draw(t, "words") {
			words = append(words, rapid.StringOfN(letters, least, 11, -1).Draw(t, "word"))
		}
		f := newFilter(words)
		text := rapid.StringOfN(letters, 0, 40, -1).Draw(t, "text")
		if f.none(text) {
			no[f.step]++
			for _, w := range words {
				if strings.Contains(text, w) {
					t.Fatalf("%q is in %q", w, text)
				}
			}
		}
		w := rapid.SampledFrom(words).Draw(t, "which")
		if rapid.Bool().Draw(t, "upper") {
			w = strings.ToUpper(w)
		}
		at := rapid.IntRange(0, len(text)).Draw(t, "at")
		if text = text[:at] + w + text[at:]; f.none(text) {
			t.Fatalf("%q is in %q", w, text)
		}
	})
	if no[2] == 0 || no[4] == 0 {
		t.Errorf("the filter never says no: %v", no)
	}
	if f := newFilter([]string{"needle"}); f.none("a \u212aelvin sign, which may fold to anything") {
		t.Error("a text beyond ASCII is let go")
	}
	if newFilter([]string{"needle", "ab"}) != nil {
		t.Error("a filter that cannot see a short word")
	}
}
