package detect

import "strings"

// Bits of the byte classes that tell what may leave as it is.
const (
	isDigit = 1 << iota
	isUpper
	isLower
	isHexLetter
	isPlain // may be in an identifier
	isDot
	isMark  // of an address, a path, a secret that follows its name
	isWord  // a letter that no hexadecimal number has
	isAlnum = isDigit | isUpper | isLower
)

var byteClass = func() (t [256]uint8) {
	for c := range 256 {
		switch b := byte(c); {
		case b >= '0' && b <= '9':
			t[c] = isDigit | isPlain
		case b >= 'A' && b <= 'Z':
			t[c] = isUpper | isPlain
		case b >= 'a' && b <= 'z':
			t[c] = isLower | isPlain
		case strings.IndexByte("_.:/@+-", b) >= 0:
			t[c] = isPlain
		}
		if c == '.' {
			t[c] |= isDot
		}
		if strings.IndexByte("@/\\~+:= ", byte(c)) >= 0 {
			t[c] |= isMark
		}
		if l := c | 0x20; l >= 'a' && l <= 'f' {
			t[c] |= isHexLetter
		} else if l >= 'g' && l <= 'z' {
			t[c] |= isWord
		}
	}
	return t
}()

// classes are those of any byte of a text, and those of all of them.
func classes(s string) (any, all uint8) {
	all = 0xff
	for i := range len(s) {
		c := byteClass[s[i]]
		any |= c
		all &= c
	}
	return any, all
}

func plainButSpaces(s string) bool {
	for i := range len(s) {
		if byteClass[s[i]]&isPlain == 0 && s[i] != ' ' {
			return false
		}
	}
	return true
}

// hexOrDash reports whether a text of at least eight bytes has 0-9, a-f and - alone. It reads eight
// a step, the last of which reads some again.
func hexOrDash(s string) bool {
	n := len(s)
	if n < 8 {
		return false
	}
	for i := 0; i+8 < n; i += 8 {
		if !hexOrDashWord(load64(s[i:])) {
			return false
		}
	}
	return hexOrDashWord(load64(s[n-8:]))
}

// hexOrDashWord adds, so that the highest bit of a byte tells whether it is at least some character.
func hexOrDashWord(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	low := w &^ highs
	digit := (low + ones*(0x80-'0')) &^ (low + ones*(0x80-('9'+1)))
	letter := (low + ones*(0x80-'a')) &^ (low + ones*(0x80-('f'+1)))
	dash := (low + ones*(0x80-'-')) &^ (low + ones*(0x80-('-'+1)))
	return (digit|letter|dash)&^w&highs == highs
}
