package diag

import (
	"slices"
	"strings"
)

// Closest returns the candidate that the writer of word most likely meant, or
// "" when none is near. Swapped letters count as one mistake; case, - and _,
// and a plural s are nearly free.
func Closest(word string, candidates []string) string {
	if word == "" || len(word) > 64 {
		return ""
	}
	w := fold(word)
	best, bestCost := "", 0
	sorted := slices.Clone(candidates)
	slices.Sort(sorted)
	for _, c := range sorted {
		if c == word || len(c) > 64 {
			continue
		}
		d := fold(c)
		cost := 2 * distance(w, d)
		switch {
		case w == d || w == d+"s" || d == w+"s":
			cost = min(cost, 1)
		case len(w) >= 3 && (strings.HasSuffix(d, "."+w) || strings.HasPrefix(d, w+".") || strings.HasPrefix(d, w+"_") || strings.HasSuffix(d, "_"+w)):
			cost = min(cost, 2)
		}
		limit := 2 * max(1, min(3, max(len(w), len(d))/3))
		if cost <= limit && cost < 2*max(len(w), 1) && (best == "" || cost < bestCost) {
			best, bestCost = c, cost
		}
	}
	return best
}

func fold(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "-", "_"))
}

// distance is the edit distance with swaps of neighbours (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
