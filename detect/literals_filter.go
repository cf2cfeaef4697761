package detect

import (
	"math"
	"strings"
)

// filter tells most texts without any of some words from the others, at a fraction of what the
// automaton costs: it says no, or perhaps. It looks at each second or fourth place of a text, at
// the four bytes there with their case bit set.
//
// A long word has a window, of five bytes or of seven, whose fours are at each distance from such
// a place, so that one of them is at one wherever the word is. The rarer a window in ordinary
// text the better. A shorter word stands under its fours with every byte that may be beside it.
type filter struct {
	fours [1 << 12]uint32 // bit per hash: there may be a four of that hash
	table []uint32        // the fours themselves: open addressing, 0 is empty
	shift uint            // of a hash to a place in the table
	step  int             // 2 or 4
}

// newFilter makes the filter of some folded words; nil where one is too short.
func newFilter(words []string) *filter {
	f := &filter{step: 4, shift: 28}
	for _, w := range words {
		switch {
		case len(w) < 3:
			return nil
		case len(w) < 7:
			f.step = 2
		}
	}
	common := foursOfOrdinary()
	var fours []uint32
	for _, w := range words {
		if ascii(w) { // otherwise its text is not either
			fours = append(fours, foursOf(w, f.step, common)...)
		}
	}
	for 1<<(32-f.shift) < 4*len(fours) {
		f.shift--
	}
	f.table = make([]uint32, 1<<(32-f.shift))
	for _, four := range fours {
		h := four * fourMul
		f.fours[h>>20] |= 1 << (h >> 15 & 31)
		i := f.place(four)
		for f.table[i] != 0 && f.table[i] != four {
			i = (i + 1) & uint32(len(f.table)-1)
		}
		f.table[i] = four
	}
	return f
}

const (
	fourMul  = 0x9E3779B1
	fourCase = 0x20202020
)

// foursOf are the fours under which a word of at least three bytes stands: those of the window,
// or of the three or four bytes in the word with all that may be beside them, that are rarest.
func foursOf(w string, step int, common map[uint32]int) (fours []uint32) {
	window, most := "", math.Inf(-1)
	for i := range len(w) - step - 2 {
		least := math.Inf(1)
		for j := range step {
			least = min(least, rarity(w[i+j:i+j+4], common))
		}
		if least > most {
			window, most = w[i:i+step+3], least
		}
	}
	short, size := "", min(len(w), 4)
	for i := range len(w) - size + 1 {
		r := min(rarity(w[i:i+size], common), rarity(w[i:i+3], common))
		if step == 2 && (window == "" && short == "" || r > max(most, 0)+1) {
			short, most = w[i:i+size], r
		}
	}
	if short == "" {
		for j := range step {
			fours = append(fours, four(window[j:]))
		}
		return fours
	}
	if len(short) == 4 {
		fours = append(fours, four(short))
	}
	for b := range byte(0x80) {
		if b&0x20 == 0 { // as the case bit has it
			continue
		}
		fours = append(fours, four(string(b)+short[:3]))
		if len(short) == 3 {
			fours = append(fours, four(short+string(b)))
		}
	}
	return fours
}

func four(s string) uint32 { return load32(s) | fourCase }

// rarity is about how rare three or four bytes are in what people and programs write.
func rarity(s string, common map[uint32]int) (r float64) {
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' || c >= 'a' && c <= 'z':
			if strings.IndexByte("jkqvxz", c) >= 0 {
				r++
			}
		case byteClass[c]&isDigit != 0:
			r++
		default:
			r += 1.5
			if i == 1 || i == 2 { // between words
				r++
			}
		}
	}
	if len(s) == 4 {
		r -= 2 * float64(common[four(s)])
	}
	return r
}

// ordinary are words that texts without any attack are full of.
const ordinary = ` the the the of and to in is for that with on as it was are this by be from or have an at not all which we can has been will more
	other about one their there some would what when your who its only new also use used using user users over after first data file files
	system time name list number project report update updates updated message order orders select delete insert table session token script
	import export admin customer contact address account meeting notes summary please project schedule budget release guide overview
	information content document documents service server client request response status value values default example config configuration
	description options version string object type create read write search query result results error function return public private
	index page text title content value event events action target source path folder directory upload download image test tests
	because through between under without within against during before should could these those people many most such where while
	week month year today open close closed start started end ended email phone home work team group company product price total amount
	date quarterly weather customers planning temporary ready view item items key keys add remove change changes set get note line lines
	https http www com org example api json html css src app main master branch commit pull issue issues review code package module class method `

func foursOfOrdinary() map[uint32]int {
	n := map[uint32]int{}
	text := strings.Join(strings.Fields(ordinary), " ")
	for i := range len(text) - 3 {
		n[four(text[i:])]++
	}
	return n
}

// none reports whether a text surely has none of the words.
func (f *filter) none(s string) bool {
	i, seen := 0, uint64(0)
	for ; i+10 <= len(s); i += 8 {
		w := load64(s[i:])
		seen |= w
		w |= caseBits
		if f.maybe(uint32(w)) || f.maybe(uint32(w>>32)) || f.step == 2 && (f.maybe(uint32(w>>16)) || f.maybe(load32(s[i+6:])|fourCase)) {
			if f.some(s[i : i+10]) {
				return false
			}
		}
	}
	return seen&highBits == 0 && ascii(s[i:]) && !f.some(s[i:])
}

// maybe reports whether there may be that four.
func (f *filter) maybe(four uint32) bool {
	h := four * fourMul
	return f.fours[h>>20]&(1<<(h>>15&31)) != 0
}

// some looks at the places of a piece of a text, and at three bytes that end it: they may be a word.
func (f *filter) some(s string) bool {
	for ; len(s) >= 4; s = s[f.step:] {
		if f.has(four(s)) {
			return true
		}
	}
	return len(s) == 3 && f.has(four(s+" "))
}

func (f *filter) place(four uint32) uint32 { return four * fourMul >> f.shift }

func (f *filter) has(four uint32) bool {
	for i := f.place(four); f.table[i] != 0; i = (i + 1) & uint32(len(f.table)-1) {
		if f.table[i] == four {
			return true
		}
	}
	return false
}

func load32[T string | []byte](s T) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}
