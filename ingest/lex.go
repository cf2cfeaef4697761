package ingest

import (
	"math/bits"
	"strconv"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks the bytes of a word that end or change a string: quote, backslash, controls.
// Bits above the first mark may be wrong; the first is right.
func special(w uint64) uint64 {
	// With a bit turned, the quote lies right above the controls.
	low, backslash := (w^ones*2)-ones*0x21, (w^ones*'\\')-ones
	return (low | backslash) &^ w & highs
}

// load64 reads eight bytes of s from i on, the first one lowest.
func load64(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// hexWord reports whether all bytes of a word are 0-9 or a-f. Adding makes the highest bit of a
// byte tell whether it is at least some character; none of them is beyond ASCII, or w tells.
func hexWord(w uint64) bool {
	low := w &^ highs
	digit := (low + ones*(0x80-'0')) &^ (low + ones*(0x80-('9'+1)))
	letter := (low + ones*(0x80-'a')) &^ (low + ones*(0x80-('f'+1)))
	return (digit|letter)&^w&highs == highs
}

// textEnd is the place of the first byte from i on that ends or changes a string, len(s) where
// there is none. The bits of all bytes on the way, and of some after it, are in bytes.
func textEnd(s string, i int) (end int, bytes uint64) {
	for i+8 <= len(s) {
		w := load64(s, i)
		bytes |= w
		if m := special(w); m != 0 {
			return i + bits.TrailingZeros64(m)/8, bytes
		}
		i += 8
	}
	for i < len(s) && s[i] != '"' && s[i] != '\\' && s[i] >= 0x20 {
		bytes |= uint64(s[i])
		i++
	}
	return i, bytes
}

// spaceEnd is the place of the first byte from i on that is no white space.
func spaceEnd(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// digitsEnd is the place of the first byte from i on that is no digit.
func digitsEnd(s string, i int) int {
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i
}

// numberEnd is the end of the number at i as JSON writes it, negative where it is none.
func numberEnd(s string, i int) int {
	if i < len(s) && s[i] == '-' {
		i++
	}
	whole := i
	i = digitsEnd(s, i)
	if i == whole || s[whole] == '0' && i > whole+1 {
		return -1
	}
	if i < len(s) && s[i] == '.' {
		point := i
		if i = digitsEnd(s, i+1); i == point+1 {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		exp := i
		if i = digitsEnd(s, i); i == exp {
			return -1
		}
	}
	return i
}

// holds reports whether 64 bits of float hold a number as JSON writes it.
func holds(number string) bool {
	if len(number) < 300 && !hasExponent(number) {
		return true
	}
	_, err := strconv.ParseFloat(number, 64)
	return err == nil
}

func hasExponent(number string) bool {
	for i := range len(number) {
		if number[i]|0x20 == 'e' {
			return true
		}
	}
	return false
}

// unescape reads the escape at s[i]; next is negative where JSON has no such one, and where it is
// half a surrogate pair.
func unescape(s string, i int) (r rune, next int) {
	if i+1 >= len(s) {
		return 0, -1
	}
	switch c := s[i+1]; c {
	case '"', '\\', '/':
		return rune(c), i + 2
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	case 'u':
		r, ok := hex4(s, i+2)
		switch {
		case !ok || r >= 0xDC00 && r < 0xE000:
			return 0, -1
		case r < 0xD800 || r >= 0xE000:
			return r, i + 6
		case i+7 >= len(s) || s[i+6] != '\\' || s[i+7] != 'u':
			return 0, -1
		}
		low, ok := hex4(s, i+8)
		if !ok || low < 0xDC00 || low >= 0xE000 {
			return 0, -1
		}
		return 0x10000 + (r-0xD800)<<10 + (low - 0xDC00), i + 12
	}
	return 0, -1
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
