package embedded

import "strings"

// The engine's own parser decides what a statement does (conn.classify). What is read
// here is only what the HTTP interface itself must know: where the rows of an INSERT
// begin, which format the answer has, and which settings a SET would leave behind.

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenQuoted
	tokenOpen
	tokenClose
	tokenOther
)

type token struct {
	kind       tokenKind
	start, end int
	text       string
}

func (t token) is(word string) bool { return t.kind == tokenWord && strings.EqualFold(t.text, word) }

// lexer splits ClickHouse SQL into tokens, without copying.
type lexer struct {
	sql string
	pos int
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (l *lexer) next() token {
	l.skipBlank()
	start := l.pos
	if start >= len(l.sql) {
		return token{kind: tokenEnd, start: start, end: start}
	}
	kind := tokenOther
	switch c := l.sql[start]; {
	case wordByte(c):
		kind = tokenWord
		for l.pos < len(l.sql) && wordByte(l.sql[l.pos]) {
			l.pos++
		}
	case c == '\'' || c == '`' || c == '"':
		kind = tokenQuoted
		l.quoted(c)
	case c == '$' && l.heredoc():
		kind = tokenQuoted
	case c == '(' || c == '[' || c == '{':
		kind = tokenOpen
		l.pos++
	case c == ')' || c == ']' || c == '}':
		kind = tokenClose
		l.pos++
	default:
		l.pos++
	}
	return token{kind: kind, start: start, end: l.pos, text: l.sql[start:l.pos]}
}

func (l *lexer) skipBlank() {
	for l.pos < len(l.sql) {
		rest := l.sql[l.pos:]
		switch {
		case strings.IndexByte(" \t\r\n\f\v", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "# "), strings.HasPrefix(rest, "#!"):
			l.skipPast(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			l.skipPast(rest, "*/")
		default:
			return
		}
	}
}

func (l *lexer) skipPast(rest, end string) {
	if i := strings.Index(rest, end); i >= 0 {
		l.pos += i + len(end)
		return
	}
	l.pos = len(l.sql)
}

func (l *lexer) quoted(q byte) {
	for l.pos++; l.pos < len(l.sql); l.pos++ {
		switch l.sql[l.pos] {
		case '\\':
			l.pos++
		case q:
			l.pos++ // a doubled quote reads as a second literal right behind, which is the same here
			return
		}
	}
	l.pos = len(l.sql)
}

func (l *lexer) heredoc() bool {
	rest := l.sql[l.pos+1:]
	i := strings.IndexByte(rest, '$')
	if i < 0 {
		return false
	}
	for j := range i {
		if !wordByte(rest[j]) {
			return false
		}
	}
	tag := l.sql[l.pos : l.pos+i+2]
	body := l.sql[l.pos+len(tag):]
	end := strings.Index(body, tag)
	if end < 0 {
		return false
	}
	l.pos += len(tag) + end + len(tag)
	return true
}

// firstWord is the keyword a statement begins with, in capitals.
func firstWord(sql string) string {
	l := lexer{sql: sql}
	for {
		switch t := l.next(); t.kind {
		case tokenOpen:
			continue
		case tokenWord:
			return strings.ToUpper(t.text)
		default:
			return ""
		}
	}
}

// insertHead is an INSERT cut before its rows.
type insertHead struct {
	sql    string // without FORMAT clause
	format string
	data   int  // where the rows begin
	set    bool // it has settings of its own
}

// splitInsert cuts an INSERT that brings its rows along. ok is false for INSERT ... SELECT,
// for an INSERT that names no format, and for everything that is no INSERT.
func splitInsert(sql string) (head insertHead, ok bool) {
	l := lexer{sql: sql}
	if t := l.next(); !t.is("INSERT") {
		return head, false
	}
	depth := 0
	for {
		t := l.next()
		switch {
		case t.kind == tokenEnd:
			return head, false
		case t.kind == tokenOpen:
			depth++
		case t.kind == tokenClose:
			depth--
		case depth > 0:
		case t.is("SELECT"), t.is("WITH"), t.is("WATCH"), t.is("INFILE"):
			return head, false
		case t.is("SETTINGS"):
			head.set = true
		case t.is("VALUES"):
			head.sql, head.format, head.data = sql[:t.start], "Values", t.end
			return head, true
		case t.is("FORMAT"):
			name := l.next()
			if name.kind != tokenWord {
				return head, false
			}
			head.sql, head.format, head.data = sql[:t.start], name.text, skipToRows(sql, name.end)
			return head, true
		}
	}
}

// skipToRows follows ClickHouse: rows begin after the first line break behind the format
// name, or after the blanks when there is none.
func skipToRows(sql string, i int) int {
	for i < len(sql) && (sql[i] == ' ' || sql[i] == '\t' || sql[i] == '\f') {
		i++
	}
	if i < len(sql) && sql[i] == '\r' {
		i++
	}
	if i < len(sql) && sql[i] == '\n' {
		i++
	}
	return i
}

// outputFormat is the format named by a trailing FORMAT clause, or fallback.
func outputFormat(sql, fallback string) string {
	l := lexer{sql: sql}
	depth, found := 0, fallback
	for {
		t := l.next()
		switch {
		case t.kind == tokenEnd:
			return found
		case t.kind == tokenOpen:
			depth++
		case t.kind == tokenClose:
			depth--
		case depth == 0 && t.is("FORMAT"):
			if name := l.next(); name.kind == tokenWord {
				found = name.text
			}
		}
	}
}

// setNames are the settings that a SET statement changes.
func setNames(sql string) []string {
	l := lexer{sql: sql}
	if !l.next().is("SET") {
		return nil
	}
	var names []string
	for last := (token{}); ; {
		t := l.next()
		if t.kind == tokenEnd {
			return names
		}
		if t.text == "=" && last.kind == tokenWord {
			names = append(names, last.text)
		}
		last = t
	}
}

// quote writes s as a ClickHouse string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(s) + "'"
}

// quoteName writes s as a ClickHouse identifier.
func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
