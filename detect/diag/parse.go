package diag

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Source is one file's bytes and the name that problems give it.
type Source struct {
	File string
	Data []byte
}

const (
	maxSource = 4 << 20
	maxNodes  = 500_000 // aliases expanded
	maxDepth  = 64
)

// Parse reads every YAML document of src. The nodes are safe to walk with
// aliases followed: bounded in number and depth, no duplicate or merge keys.
// Empty documents are left out.
func Parse(src Source) ([]*yaml.Node, Problems) {
	var found Problems
	if len(src.Data) > maxSource {
		return nil, Problems{{File: src.File, Msg: fmt.Sprintf("file is larger than %d MiB", maxSource>>20)}}
	}
	if at := invalidUTF8(src.Data); at >= 0 {
		line := 1 + bytes.Count(src.Data[:at], []byte("\n"))
		col := 1 + utf8.RuneCount(src.Data[bytes.LastIndexByte(src.Data[:at], '\n')+1:at])
		return nil, Problems{src.problem(line, col, 1, "not valid UTF-8", "save the file as UTF-8")}
	}
	var docs []*yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(src.Data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			found = append(found, src.syntax(err))
			break
		}
		if len(doc.Content) == 0 {
			continue
		}
		root := doc.Content[0]
		if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" && root.Value == "" {
			continue
		}
		c := checker{src: src}
		c.walk(root, 0)
		found = append(found, c.found...)
		docs = append(docs, root)
	}
	found.Sort()
	return docs, found
}

func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

var (
	yamlLine    = regexp.MustCompile(`^line (\d+): `)
	parserError = regexp.MustCompile(`^did not find expected (?:<|',' or|key|node content|'-' indicator)`)
)

// syntax gives the parser's error a place: it knows the line only, so the
// column is the line's first character.
func (s Source) syntax(err error) Problem {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
		if parserError.MatchString(msg) {
			line = min(line+1, s.lines()) // the library counts these from 0, and one at the end is behind it
		}
	}
	if strings.Contains(msg, "did not find expected") {
		if p, ok := s.flowFault(line, "invalid YAML: "+msg); ok {
			return p
		}
	}
	text := s.line(line)
	hint := ""
	if strings.Contains(msg, "cannot start any token") || strings.Contains(msg, "tab") {
		// The parser may name the line before the tab.
		for l := max(line-1, 1); l <= line+1; l++ {
			t := s.line(l)
			indent := t[:len(t)-len(strings.TrimLeft(t, " \t"))]
			if i := strings.IndexByte(indent, '\t'); i >= 0 {
				return s.problem(l, i+1, 1, "a tab in the indentation", "YAML indents with spaces")
			}
		}
	}
	switch {
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = "quote the value if it holds \": \", or check the indentation"
	case strings.Contains(msg, "unknown anchor"):
		hint = "quote a value that starts with *"
	case strings.Contains(msg, "unknown escape character"):
		hint = "use single quotes: backslashes stay as they are in them"
	}
	col := 1 + len(text) - len(strings.TrimLeft(text, " \t"))
	return s.problem(line, col, max(len(strings.TrimSpace(text)), 1), "invalid YAML: "+msg, hint)
}

func (s Source) problem(line, col, length int, msg, hint string) Problem {
	return Problem{File: s.File, Line: line, Column: col, Len: length, Msg: msg, Hint: hint, Snippet: s.line(line)}
}

// lines is how many lines there are, as YAML counts them.
func (s Source) lines() int {
	n := 1
	for _, br := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(s.Data, []byte(br))
	}
	return n
}

// Line returns the n-th line, counted from 1, or "".
func (s Source) line(n int) string {
	rest := s.Data
	for ; n > 1; n-- {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return ""
		}
		rest = rest[i+1:]
	}
	if i := bytes.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return strings.TrimSuffix(string(rest), "\r")
}

// yamlBreak ends a line where YAML says so, by which nodes count theirs.
var yamlBreak = regexp.MustCompile(`\r\n|[\n\r\x{85}\x{2028}\x{2029}]`)

// Document is the text of the document with that line, as it stands between its marks (--- or ...).
func (s Source) Document(line int) string {
	from := 0
	for at, n := 0, 1; at < len(s.Data); n++ {
		next := len(s.Data)
		if br := yamlBreak.FindIndex(s.Data[at:]); br != nil {
			next = at + br[1]
		}
		text := s.Data[at:next]
		mark := bytes.HasPrefix(text, []byte("---")) || bytes.HasPrefix(text, []byte("..."))
		switch {
		case !mark || len(text) > 3 && !bytes.ContainsAny(text[3:4], " \t\r\n"): // text such as ----- in a rule's own
		case n < line:
			from = next
		case n == line: // --- {id: AU-01}
			from = at
		default:
			return string(s.Data[from:at])
		}
		at = next
	}
	return string(s.Data[from:])
}

// At is the problem at node n, with the node's text marked.
func (s Source) At(n *yaml.Node, msg, hint string) Problem {
	if n == nil || n.Line == 0 {
		return Problem{File: s.File, Msg: msg, Hint: hint}
	}
	length := 1
	if n.Kind == yaml.ScalarNode {
		length = utf8.RuneCountInString(n.Value)
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			length += 2
		}
	}
	p := s.problem(n.Line, n.Column, max(length, 1), msg, hint)
	p.Len = max(1, min(p.Len, utf8.RuneCountInString(p.Snippet)-n.Column+1))
	return p
}

type checker struct {
	src   Source
	found Problems
	nodes int
	done  bool
}

func (c *checker) walk(n *yaml.Node, depth int) {
	if c.done {
		return
	}
	if c.nodes++; c.nodes > maxNodes {
		c.stop(n, "more than 500000 values once aliases are expanded", "write less, or use fewer aliases")
		return
	}
	if depth > maxDepth {
		c.stop(n, fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
		return
	}
	switch n.Kind {
	case yaml.AliasNode:
		c.walk(n.Alias, depth+1)
	case yaml.MappingNode:
		seen := make(map[string]*yaml.Node, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := Resolve(n.Content[i])
			switch {
			case key.Kind != yaml.ScalarNode:
				c.add(n.Content[i], "a key must be plain text", "")
			case key.ShortTag() == "!!merge":
				c.add(key, "merge keys (<<) are not supported", "write the keys out, or use an alias as the whole value")
			case seen[key.Value] != nil:
				c.add(n.Content[i], fmt.Sprintf("%q is already set on line %d", key.Value, seen[key.Value].Line), "keep one of the two")
			default:
				seen[key.Value] = n.Content[i]
			}
			c.walk(n.Content[i+1], depth+1)
		}
	default:
		for _, child := range n.Content {
			c.walk(child, depth+1)
		}
	}
}

func (c *checker) add(n *yaml.Node, msg, hint string) {
	c.found = append(c.found, c.src.At(n, msg, hint))
}

func (c *checker) stop(n *yaml.Node, msg, hint string) {
	c.done = true
	c.add(n, msg, hint)
}

// Resolve follows an alias to the node that it stands for.
func Resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && i < maxDepth; i++ {
		n = n.Alias
	}
	return n
}
