package detect

import (
	"unicode"
	"unicode/utf8"
)

// foldRune returns the representative of all runes that differ from r in case
// only (Unicode simple folding): the ASCII lower-case letter where there is
// one, else the smallest. So the Kelvin sign is k and the long s is s.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	if r < foldTableSize {
		return rune(foldTable[r])
	}
	return foldOrbit(r)
}

// foldTable has the answers for the alphabets of Europe: they are common, and the search is slow.
var foldTable = func() (t [foldTableSize]uint16) {
	for r := range rune(foldTableSize) {
		if r >= utf8.RuneSelf {
			t[r] = uint16(foldOrbit(r))
		}
	}
	return t
}()

const foldTableSize = 0x590

func foldOrbit(r rune) rune {
	low := r
	for q := unicode.SimpleFold(r); q != r; q = unicode.SimpleFold(q) {
		low = min(low, q)
	}
	if 'A' <= low && low <= 'Z' {
		return low + 'a' - 'A'
	}
	return low
}

// folded reports whether s is its own folded form, looking at ASCII only.
func folded(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// appendFold appends the folded form of s. Bytes that are not UTF-8 stay.
func appendFold(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += n
	}
	return dst
}

// foldString is appendFold for load time.
func foldString(s string) string {
	if folded(s) {
		return s
	}
	return string(appendFold(nil, s))
}
