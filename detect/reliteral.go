package detect

import (
	"regexp/syntax"
)

const (
	minRegexLiteral  = 2
	maxRegexLiterals = 64
)

// regexLiterals returns literals of which every match of the expression holds
// at least one, folded, or nil when there are none worth looking for.
func regexLiterals(expr string) []string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	lits := necessary(re.Simplify())
	if shortest(lits) < minRegexLiteral {
		return nil
	}
	return lits
}

func necessary(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{foldString(string(re.Rune))}
	case syntax.OpCapture, syntax.OpPlus:
		return necessary(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return necessary(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if lits := necessary(sub); better(lits, best) {
				best = lits
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			lits := necessary(sub)
			if lits == nil || len(all)+len(lits) > maxRegexLiterals {
				return nil
			}
			all = append(all, lits...)
		}
		return all
	}
	return nil
}

// better prefers the set whose shortest literal is longer, then the smaller set.
func better(a, b []string) bool {
	x, y := min(shortest(a), 8), min(shortest(b), 8)
	return x > y || x == y && x > 0 && len(a) < len(b)
}

func shortest(lits []string) int {
	if len(lits) == 0 {
		return 0
	}
	n := len(lits[0])
	for _, l := range lits[1:] {
		n = min(n, len(l))
	}
	return n
}
