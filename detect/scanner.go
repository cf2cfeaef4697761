package detect

import (
	"math"
	"unicode/utf8"
)

// Scanner looks for attacks and secrets in arguments and results, and adds what
// it sees to an event as findings: category, rule, direction and score, never
// the text. It is pure but holds scratch memory; one goroutine owns it.
type Scanner struct {
	lits    literals
	cats    []catSet // by literal: which categories it calls for
	hits    hits
	scratch []byte
	budget  [numCats]int
}

// NewScanner makes a scanner.
func NewScanner() *Scanner {
	s := &Scanner{}
	for c, words := range triggers {
		for _, w := range words {
			id := s.lits.add(w)
			if id == len(s.cats) {
				s.cats = append(s.cats, 0)
			}
			s.cats[id] |= 1 << c
		}
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
	catHidden // has no literals: any text beyond ASCII calls for it
	numCats
)

var catNames = [numCats]string{
	"sqli", "cmdi", "path_traversal", "ssrf", "secret", "xss", "nosqli", "ssti", "deserialization", "prompt_injection", "info_leak", "hidden_unicode",
}

const (
	inputCats      = 1<<catSQLi | 1<<catCmdi | 1<<catPath | 1<<catSSRF | 1<<catSecret | 1<<catXSS | 1<<catNoSQL | 1<<catSSTI | 1<<catDeserialization | 1<<catHidden
	outputCats     = 1<<catSecret | 1<<catPrompt | 1<<catLeak | 1<<catHidden
	definitionCats = 1<<catSecret | 1<<catPrompt | 1<<catHidden

	chunkSize    = 16 << 10
	chunkOverlap = 512
	// catBudget bounds what the detectors of one category read of one event. What
	// lies beyond it and has one of their literals becomes a finding of its own.
	catBudget   = 48 << 10
	maxFindings = 32
)

// triggers are the literals without which a category is not looked for.
var triggers = [numCats][]string{
	catSQLi: {
		"'", "\"", "--", "/*", "union", "select", "sleep", "benchmark", "xp_", "sp_", "pg_", "utl_", "dbms_", "load_file", "into outfile",
		"waitfor", "information_schema", " or ", " and ", "||", "drop ", "delete ", "insert ", "update ", "exec", "#",
	},
	catCmdi: {
		";", "|", "&", "`", "$(", "${ifs}", "/dev/tcp", "/bin/sh", "/bin/bash", "cmd.exe", "powershell", "mkfifo", "base64 -d",
	},
	catPath: {"..", "%2e", "%252e", "%c0%ae", "%e0%80%ae", "%u002e", "\uff0e", "\u2024", "%uff0e"},
	catSSRF: {
		"://", "169.254.", "metadata", "instance-data", "localhost", "100.100.100.200", "168.63.129.16", "fd00:ec2", "::ffff", "127.", "10.", "192.168.", "172.", "0x", "017", "2852039166", "64:ff9b",
	},
	catSecret: {
		"akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "hooks.slack.com", "private key-----", "eyj",
		"aiza", "sk_live_", "rk_live_", "glpat-", "npm_", "sk-ant-", "sk-proj-", "sg.", "password", "passwd", "secret", "api_key", "apikey", "api-key", "access_token", "auth_token",
	},
	catXSS:             {"<script", "javascript:", "vbscript:", "data:text/html", "<iframe", "<svg", "<object", "<embed", "onerror", "onload", "onclick", "onmouseover", "onfocus", "ontoggle"},
	catNoSQL:           {"$ne", "$gt", "$lt", "$where", "$regex", "$nin", "$in", "$exists", "$expr", "$function", "$or"},
	catSSTI:            {"{{", "${", "<%", "#{", "{%"},
	catDeserialization: {"jndi:", "ro0ab", "!!python/", "o:", "__reduce__", "ysoserial", "aced0005"},
	catPrompt: {
		"ignore", "disregard", "forget", "override", "system prompt", "you are now", "do not tell", "don't tell", "do not mention", "without telling", "without informing",
		"<important>", "<system>", "[system]", "new instructions", "jailbreak", "developer mode",
	},
	catLeak: {
		"traceback (most recent call last)", "goroutine ", "exception in thread", "sql syntax", "ora-0", "sqlstate", "unclosed quotation", "sqlite3.", "psycopg2.", "stack trace", "at java.", ".java:",
	},
}

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
	s.hits.clear()
	s.scratch = s.lits.scan(v, &s.hits, s.scratch)
	called := catSet(0)
	for _, id := range s.hits.found {
		called |= s.cats[id]
	}
	if !ascii(v) {
		called |= 1 << catHidden
	}
	if f.whole && len(v) <= 64 && bareHost(v) {
		called |= 1 << catSSRF
	}
	called &= cats
	for c := category(0); called != 0; c, called = c+1, called>>1 {
		if called&1 == 0 {
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

// finder takes what the detectors of one text see.
type finder struct {
	ev    *Event
	dir   string
	whole bool // the text is a whole value
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
