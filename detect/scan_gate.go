package detect

import (
	"slices"
	"strings"
)

// seen are the classes of words that one pass over a text found. An expression is slow, and is
// asked only where its words are there.
type seen uint64

const (
	seenQuote seen = 1 << iota
	seenComment
	seenBlock
	seenUnion
	seenSelect
	seenOr
	seenOrWord
	seenEqual
	seenSemicolon
	seenStatement
	seenPrimitive
	seenSleep
	seenParen
	seenChain
	seenPipe
	seenShell
	seenCommand
	seenSubst
	seenTick
	seenShellTool
	seenDots
	seenEncodedDots
	seenURL
	seenHost
	seenKey
	seenPassword
	seenAssign
	seenMarkup
	seenOperator
	seenTemplate
	seenGadget
	seenObject
	seenColonQuote
	seenVerb
	seenPrior
	seenInstruction
	seenDoNot
	seenTell
	seenUser
	seenRole
	seenFrame
	seenTrace
	seenSQLError
	seenBeyondASCII // no words: the text has more than ASCII
	seenBareHost    // no words: the text is a host alone
	seenShort       // no words: the text is a value of at most maxShort bytes
	seenAll         = ^seen(0)
)

var seenWords = []struct {
	class seen
	words []string
}{
	{seenQuote, []string{"'", "\""}},
	{seenComment, []string{"--", "#"}},
	{seenBlock, []string{"/*"}},
	{seenUnion, []string{"union"}},
	{seenSelect, []string{"select"}},
	{seenOr, []string{"or", "and", "||"}},
	{seenOrWord, []string{" or ", " and ", "||"}},
	{seenEqual, []string{"=", "like"}},
	{seenSemicolon, []string{";"}},
	{seenStatement, []string{"drop", "delete", "insert", "update", "alter", "exec", "create", "truncate", "shutdown", "grant"}},
	{seenPrimitive, []string{
		"xp_", "sp_oacreate", "sp_executesql", "waitfor", "load_file", "outfile", "dumpfile", "utl_", "dbms_", "information_schema", "pg_read_file",
		"extractvalue", "updatexml",
	}},
	{seenSleep, []string{"sleep", "benchmark"}},
	{seenParen, []string{"("}},
	{seenChain, []string{";", "|", "&"}},
	{seenPipe, []string{"|"}},
	{seenShell, []string{"sh"}},
	{seenCommand, []string{
		"cat", "curl", "wget", "nc", "sh", "rm", "chmod", "python", "perl", "cmd", "base64", "ping", "whoami", "id", "uname", "ls", "sleep",
		"nslookup", "env", "touch", "echo",
	}},
	{seenSubst, []string{"$("}},
	{seenTick, []string{"`"}},
	{seenShellTool, []string{"${ifs}", "/dev/tcp", "/bin/sh", "/bin/bash", "cmd.exe", "powershell", "mkfifo"}},
	{seenDots, []string{".."}},
	{seenEncodedDots, []string{"%2e", "%252e", "%c0%ae", "%e0%80%ae", "%u002e", "\uff0e", "\u2024", "%uff0e"}},
	{seenURL, []string{"://"}},
	{seenHost, []string{
		"169.254.", "metadata", "instance-data", "localhost", "100.100.100.200", "168.63.129.16", "fd00:ec2", "::ffff", "127.", "10.", "192.168.",
		"172.", "0x", "017", "2852039166", "64:ff9b",
	}},
	{seenKey, []string{
		"akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xoxa-", "xoxb-", "xoxp-", "xoxr-", "xoxs-", "xapp-", "hooks.slack.com",
		"private key-----", "eyj", "aiza", "sk_live_", "rk_live_", "glpat-", "npm_", "sk-ant-", "sk-proj-", "sg.",
	}},
	{seenPassword, []string{"password", "passwd", "secret", "api_key", "apikey", "api-key", "access_token", "access-token", "accesstoken", "auth_token", "auth-token", "authtoken"}},
	{seenAssign, []string{":", "="}},
	{seenMarkup, []string{
		"<script", "javascript:", "vbscript:", "data:text/html", "<iframe", "<svg", "onerror", "onload", "onclick", "onmouseover", "onfocus", "ontoggle",
	}},
	{seenOperator, []string{"$ne", "$gt", "$lt", "$where", "$regex", "$nin", "$in", "$exists", "$expr", "$function", "$or"}},
	{seenTemplate, []string{"{{", "${", "<%", "#{", "{%"}},
	{seenGadget, []string{"jndi:", "ro0ab", "!!python/", "__reduce__", "aced0005"}},
	{seenObject, []string{"o:"}},
	{seenColonQuote, []string{":\""}},
	{seenVerb, []string{"ignore", "disregard", "forget", "override"}},
	{seenPrior, []string{"previous", "prior", "above", "earlier", "preceding", "system", "existing"}},
	{seenInstruction, []string{"instruction", "prompt", "rules", "directions", "message", "context"}},
	{seenDoNot, []string{"do not", "don't", "without"}},
	{seenTell, []string{"tell", "inform", "mention"}},
	{seenUser, []string{"the user"}},
	{seenRole, []string{"you are now", "system prompt"}},
	{seenFrame, []string{"<important>", "<system>", "[system]", "new instructions"}},
	{seenTrace, []string{"traceback (most recent call last)", "goroutine ", "exception in thread", ".java:"}},
	{seenSQLError, []string{"sql syntax", "ora-0", "sqlstate", "unclosed quotation", "sqlite3.", "psycopg2."}},
}

// gate opens where all classes of one of its alternatives were seen.
type gate []seen

func (g gate) open(s seen) bool {
	for _, all := range g {
		if s&all == all {
			return true
		}
	}
	return false
}

var (
	gateTautology = gate{seenOr | seenEqual}
	gateUnion     = gate{seenUnion | seenSelect}
	gateStacked   = gate{seenSemicolon | seenStatement}
	gateComment   = gate{seenComment, seenBlock}
	gatePrimitive = gate{seenPrimitive, seenSleep | seenParen}
	// libinjection flags prose too; what it says counts beside one of these, or in a short value.
	gateSQLi = gate{
		seenQuote, seenComment, seenBlock, seenSemicolon, seenOr | seenEqual, seenUnion | seenSelect, seenPrimitive, seenSleep | seenParen,
		seenShort | seenOrWord, seenShort | seenSelect,
	}
	gatePrompt = gate{seenVerb | seenPrior | seenInstruction, seenDoNot | seenTell | seenUser}
)

// catGates say which texts a category is asked about: those that one of its expressions may match.
var catGates = [numCats]gate{
	catSQLi:            gateSQLi,
	catCmdi:            {seenChain | seenCommand, seenSubst, seenTick, seenShellTool},
	catPath:            {seenDots, seenEncodedDots},
	catSSRF:            {seenURL, seenHost | seenShort, seenBareHost},
	catSecret:          {seenKey, seenPassword | seenAssign},
	catXSS:             {seenMarkup},
	catNoSQL:           {seenOperator},
	catSSTI:            {seenTemplate},
	catDeserialization: {seenGadget, seenObject | seenColonQuote},
	catPrompt:          {gatePrompt[0], gatePrompt[1], seenRole, seenFrame},
	catLeak:            {seenTrace, seenSQLError},
	catHidden:          {seenBeyondASCII},
}

// idleClasses are classes that prose is full of, and that open no gate among themselves and with
// those that are given.
func idleClasses(given seen) seen {
	idle := given
	for _, c := range [...]seen{
		seenOr, seenOrWord, seenSelect, seenStatement, seenShell, seenCommand, seenParen, seenAssign, seenHost, seenVerb, seenPrior, seenInstruction,
		seenTell, seenUser, seenColonQuote,
	} {
		if !slices.ContainsFunc(catGates[:], func(g gate) bool { return g.open(idle | c) }) {
			idle |= c
		}
	}
	return idle
}

// triggers are classes of which each gate needs one, and that ordinary texts seldom have;
// shortTriggers are needed besides where a text is short. A text without any opens no gate.
const (
	triggers = seenQuote | seenComment | seenBlock | seenUnion | seenEqual | seenSemicolon | seenPrimitive | seenSleep | seenChain | seenSubst |
		seenTick | seenShellTool | seenDots | seenEncodedDots | seenURL | seenKey | seenPassword | seenMarkup | seenOperator | seenTemplate |
		seenGadget | seenColonQuote | seenVerb | seenUser | seenRole | seenFrame | seenTrace | seenSQLError
	shortTriggers = seenOrWord | seenSelect | seenHost
)

// rareBytes are in some triggers, and in few ordinary texts.
const rareBytes = "'\"#*;=|&$`%{<"

// Bits of what a byte may be a sign of.
const (
	signRare = 1 << iota
	signDot  // ..
	signDash // --
	signZero // 0x
)

func signOf(b byte) uint8 {
	switch {
	case strings.IndexByte(rareBytes, b) >= 0:
		return signRare
	case b == '.':
		return signDot
	case b == '-':
		return signDash
	case b == '0':
		return signZero
	}
	return 0
}

// filterOf is the filter of the words of some classes that have no sign.
func filterOf(classes seen) *filter {
	var words []string
	for _, c := range seenWords {
		for _, w := range c.words {
			if c.class&classes != 0 && !strings.ContainsAny(w, rareBytes) && w != ".." && w != "--" && w != "0x" {
				words = append(words, w)
			}
		}
	}
	return newFilter(words)
}
