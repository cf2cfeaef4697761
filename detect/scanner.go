package detect

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Scanner looks for attacks and secrets in arguments and results, and adds what
// it sees to an event as findings: category, rule, direction and score, never
// the text. It is pure but holds scratch memory; one goroutine owns it.
type Scanner struct {
	lits    literals
	classes []seen  // by literal
	idle    [2]seen // classes of which no gate opens, of a long text and of a short one
	filters [2]*filter
	signs   [1 << 16]uint8 // of two bytes
	hits    hits
	scratch []byte
	budget  [numCats]int
}

// NewScanner makes a scanner.
func NewScanner() *Scanner {
	s := &Scanner{}
	for _, c := range seenWords {
		for _, w := range c.words {
			id := s.lits.add(w)
			if id == len(s.classes) {
				s.classes = append(s.classes, 0)
			}
			s.classes[id] |= c.class
		}
	}
	s.idle = [2]seen{idleClasses(0), idleClasses(seenShort)}
	s.filters = [2]*filter{filterOf(triggers), filterOf(triggers | shortTriggers)}
	for two := range s.signs {
		s.signs[two] = signOf(byte(two)) | signOf(byte(two>>8))
	}
	s.lits.build()
	s.hits = s.lits.newHits()
	return s
}

type (
	category uint8
	catSet   uint32
)

const (
	catSQLi category = iota
	catCmdi
	catPath
	catSSRF
	catSecret
	catXSS
	catNoSQL
	catSSTI
	catDeserialization
	catPrompt
	catLeak
	catHidden
	numCats
)

var catNames = [numCats]string{
	"sqli", "cmdi", "path_traversal", "ssrf", "secret", "xss", "nosqli", "ssti", "deserialization", "prompt_injection", "info_leak", "hidden_unicode",
}

const (
	inputCats      = 1<<catSQLi | 1<<catCmdi | 1<<catPath | 1<<catSSRF | 1<<catSecret | 1<<catXSS | 1<<catNoSQL | 1<<catSSTI | 1<<catDeserialization | 1<<catHidden
	outputCats     = 1<<catSecret | 1<<catPrompt | 1<<catLeak | 1<<catHidden
	definitionCats = 1<<catSecret | 1<<catPrompt | 1<<catHidden

	chunkSize    = 8 << 10
	chunkOverlap = 512
	// catBudget bounds what the detectors of one category read of one event. What
	// lies beyond it and has their words becomes a finding of its own.
	catBudget   = 24 << 10
	maxFindings = 32
)

// Scan adds findings to ev. It comes after decoding and before Match.
func (s *Scanner) Scan(ev *Event) {
	if !ev.Has(IOArgs) && !ev.Has(IOResult) {
		return
	}
	for c := range s.budget {
		s.budget[c] = catBudget
	}
	in, out := "input", "output"
	inCats, outCats := catSet(inputCats), catSet(outputCats)
	if ev.text[Type] == "tool_definition" {
		in, out, inCats, outCats = "definition", "definition", definitionCats, definitionCats
	}
	for _, v := range ev.lists[IOArgs-firstList] {
		s.text(ev, v, in, inCats)
	}
	for _, v := range ev.lists[IOResult-firstList] {
		s.text(ev, v, out, outCats)
	}
}

// text scans one value in overlapping pieces.
func (s *Scanner) text(ev *Event, v, dir string, cats catSet) {
	for start := 0; start < len(v); {
		end := min(start+chunkSize, len(v))
		for end < len(v) && !utf8.RuneStart(v[end]) {
			end++
		}
		s.chunk(finder{ev: ev, dir: dir, whole: start == 0 && end == len(v)}, v[start:end], cats)
		if end == len(v) {
			return
		}
		start = end - chunkOverlap
		for !utf8.RuneStart(v[start]) && start < end {
			start++
		}
	}
}

func (s *Scanner) chunk(f finder, v string, cats catSet) {
	kind := 0
	if f.whole && len(v) <= maxShort {
		kind = 1
		f.seen |= seenShort
		if bareHost(v) {
			f.seen |= seenBareHost
		}
	}
	if f.seen&seenBareHost == 0 && s.plain(v) && s.filters[kind].none(v) {
		return
	}
	s.hits.clear()
	if ascii(v) {
		scanLanes(&s.lits, v, &s.hits)
	} else {
		s.scratch = s.lits.scan(v, &s.hits, s.scratch)
		f.seen |= seenBeyondASCII
	}
	for _, id := range s.hits.found {
		f.seen |= s.classes[id]
	}
	idle := s.idle[kind]
	if f.seen&^idle == 0 {
		return
	}
	for c := range numCats {
		if cats&(1<<c) == 0 || !catGates[c].open(f.seen) {
			continue
		}
		if s.budget[c] < len(v) {
			if c != catHidden || s.budget[c] <= 0 {
				f.add(c, "truncated", 0.5)
				continue
			}
		}
		s.budget[c] -= len(v)
		detectors[c](f, v)
	}
}

// plain reports whether a text surely has no trigger that is a sign and not a word.
func (s *Scanner) plain(v string) bool {
	signs, i := uint8(0), 0
	for ; i+8 <= len(v); i += 8 {
		w := load64(v[i:])
		signs |= s.signs[w&0xffff] | s.signs[w>>16&0xffff] | s.signs[w>>32&0xffff] | s.signs[w>>48]
	}
	for ; i < len(v); i++ {
		signs |= s.signs[v[i]]
	}
	return signs&signRare == 0 && (signs&signDot == 0 || !strings.Contains(v, "..")) &&
		(signs&signDash == 0 || !strings.Contains(v, "--")) && (signs&signZero == 0 || !strings.Contains(v, "0x") && !strings.Contains(v, "0X"))
}

// maxShort is the length of a value that may be a host, or an injection without any sign of one.
const maxShort = 128

// finder takes what the detectors of one text see.
type finder struct {
	ev    *Event
	dir   string
	whole bool // the text is a whole value
	seen  seen
}

// add notes a finding; the highest score of a rule and direction stays.
func (f finder) add(c category, rule string, score float64) {
	score = math.Round(min(score, 1)*100) / 100
	if score <= 0 {
		return
	}
	cat := catNames[c]
	if f.dir == "definition" && c == catPrompt {
		cat = "tool_poisoning"
	}
	for i := range f.ev.finds {
		x := &f.ev.finds[i]
		if x.Cat == cat && x.Dir == f.dir && x.Rule == cat+"."+rule {
			x.Score = max(x.Score, score)
			return
		}
	}
	if len(f.ev.finds) < maxFindings {
		f.ev.finds = append(f.ev.finds, Finding{Cat: cat, Rule: cat + "." + rule, Dir: f.dir, Score: score})
	}
}

var detectors = [numCats]func(finder, string){
	catSQLi: findSQLi, catCmdi: findCmdi, catPath: findTraversal, catSSRF: findSSRF, catSecret: findSecret, catXSS: findXSS,
	catNoSQL: findNoSQL, catSSTI: findSSTI, catDeserialization: findDeserialization, catPrompt: findPrompt, catLeak: findLeak, catHidden: findHidden,
}
