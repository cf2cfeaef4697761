package diag

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

type shared struct {
	Level string `yaml:"level"`
}

type sub struct {
	Port uint16 `yaml:"port"`
}

type pair struct{ a, b string }

func (p *pair) DecodeNode(d *Ctx, n *yaml.Node) {
	a, b, ok := strings.Cut(n.Value, "=")
	if !ok {
		d.Errorf(n, "expected a=b")
		return
	}
	p.a, p.b = a, b
}

func decode(t *testing.T, text string, into any) Problems {
	t.Helper()
	src := Source{File: "x.yaml", Data: []byte(text)}
	docs, problems := Parse(src)
	for _, doc := range docs {
		problems = append(problems, Decode(src, doc, into)...)
	}
	problems.Sort()
	return problems
}

func TestDecodeFillsEveryType(t *testing.T) {
	var got struct {
		Name    string            `yaml:"name"`
		N       int               `yaml:"n"`
		F       float64           `yaml:"f"`
		On      bool              `yaml:"on"`
		Window  time.Duration     `yaml:"window"`
		Days    time.Duration     `yaml:"days"`
		Expires time.Time         `yaml:"expires"`
		Tags    []string          `yaml:"tags"`
		Env     map[string]string `yaml:"env"`
		Sub     *sub              `yaml:"sub"`
		Raw     *yaml.Node        `yaml:"raw"`
		Pair    pair              `yaml:"pair"`
		Shared  shared            `yaml:",inline"`
		Kept    string            `yaml:"kept"`
	}
	got.Kept = "default"
	p := decode(t, `
name: a
n: 7
f: 2
on: true
window: 5m
days: 1d12h
expires: 2027-01-31
tags: &t [x, y]
env: {A: b}
sub: {port: 9092}
raw: *t
pair: k=v
level: high
`, &got)
	if len(p) > 0 {
		t.Fatal(p)
	}
	want := "a 7 2 true 5m0s 36h0m0s 2027-01-31 [x y] map[A:b] 9092 2 {k v} {high} default"
	s := fmt.Sprint(got.Name, " ", got.N, got.F, got.On, got.Window, got.Days, got.Expires.Format(" 2006-01-02 "), got.Tags, got.Env, " ", got.Sub.Port, len(got.Raw.Content), got.Pair, got.Shared, " ", got.Kept)
	if strings.Join(strings.Fields(s), " ") != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestEveryProblemInOnePassWithPosition(t *testing.T) {
	var got struct {
		Name      string            `yaml:"name,required"`
		Threshold int               `yaml:"threshold"`
		Window    time.Duration     `yaml:"window"`
		Wait      time.Duration     `yaml:"wait"`
		Tags      []string          `yaml:"tags"`
		On        bool              `yaml:"on"`
		Sub       sub               `yaml:"sub"`
		Version   string            `yaml:"version"`
		Expires   time.Time         `yaml:"expires"`
		Env       map[string]string `yaml:"env"`
		Pair      pair              `yaml:"pair"`
	}
	p := decode(t, `treshold: 5
window: 5x
wait: 5
tags: one
on: maybe
sub: {port: 99999}
version: 1.10
expires: tomorrow
env: [a]
pair: nope
`, &got)
	want := `x.yaml:1:1: "name" is missing
x.yaml:1:1: unknown key "treshold" (did you mean "threshold"?)
x.yaml:2:9: expected a duration such as 5m, found 5x
x.yaml:3:7: expected a duration such as 5m, found 5 (write the unit: 5s or 5m)
x.yaml:4:7: expected a list, found "one" (write [one])
x.yaml:5:5: expected true or false, found "maybe"
x.yaml:6:13: 99999 is out of range
x.yaml:7:10: expected text, found the number 1.10 (write it in quotes: "1.10")
x.yaml:8:10: expected a date such as 2027-01-31, found "tomorrow"
x.yaml:9:6: expected keys with values, found a list
x.yaml:10:7: expected a=b`
	var lines []string
	for _, q := range p {
		lines = append(lines, q.String())
	}
	if s := sortedFirstTwo(lines); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	if !strings.HasSuffix(p.Error(), "(and 10 more)") {
		t.Error(p.Error())
	}
	var asProblems Problems
	if !errors.As(fmt.Errorf("load: %w", p.Err()), &asProblems) {
		t.Error("Problems is lost behind %w")
	}
}

// Two problems share a place; their order is not part of the promise.
func sortedFirstTwo(lines []string) string {
	if len(lines) > 1 && lines[0] > lines[1] {
		lines[0], lines[1] = lines[1], lines[0]
	}
	return strings.Join(lines, "\n")
}

func TestParseRefuses(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	for _, tt := range []struct{ name, in, want string }{
		{"syntax", "a: b\nc: d: e\n", "x.yaml:2:1: invalid YAML: mapping values are not allowed"},
		{"tab", "a:\n\tb: c\n", "x.yaml:2:1: a tab in the indentation (YAML indents with spaces)"},
		{"duplicate", "a: 1\nb: 2\na: 3\n", `x.yaml:3:1: "a" is already set on line 1`},
		{"merge", "a: &a {x: 1}\nb:\n  <<: *a\n", "x.yaml:3:3: merge keys (<<) are not supported"},
		{"bomb", bomb, "more than 500000 values"},
		{"self", "a: &a [*a]\n", "x.yaml"},
		{"deep", strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested deeper than 64 levels"},
		{"bytes", "a: b\nc: \"\xff\"\n", "x.yaml:2:5: not valid UTF-8"},
		{"unclosed", "b: [\"1\"]\na: [1, 2\n", "x.yaml:2:4: invalid YAML: did not find expected ',' or ']' (its ] is missing)"},
		{"unclosed, with more below it", "a: {b: [1, 2]\nc: {d: 1}\n", "x.yaml:1:4: invalid YAML: did not find expected ',' or '}' (its } is missing)"},
		{"crossed", "z: 0\na: {b: [1, 2}\n", "x.yaml:2:13: invalid YAML: did not find expected ',' or ']' (the [ from line 2, column 8 wants its ] first)"},
		{"no comma", "z: |\n  - [\ny: {k: 1} # [\nx:\n  - {a: ['it''s # 1', b] c: 1}\n", "x.yaml:5:26: invalid YAML: did not find expected ',' or '}' (a comma is missing before this)"},
		{"no comma, lines below", "a: {\n  b: \"\\\"[\",\n  c: \"d\"\n  e: 1}\n", "x.yaml:4:3: invalid YAML: did not find expected ',' or '}' (a comma is missing before this)"},
		{"closed too early", "a: {b: [1]}, c: 1\n", "x.yaml:1:12: invalid YAML: did not find expected key (nothing may follow the bracket"},
		{"bracket in a value", "a: [b[0]]\n", "x.yaml:1:6: invalid YAML: did not find expected ',' or ']' (quote the whole value"},
		{"unclosed, at the last character", "k: {u: \"\na: b\n\"", "x.yaml:1:4: invalid YAML: did not find expected ',' or '}' (its } is missing)"},
		{"anchor", "a: *x\n", "unknown anchor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, p := Parse(Source{File: "x.yaml", Data: []byte(tt.in)})
			if len(p) == 0 || !strings.Contains(p.Error(), tt.want) {
				t.Errorf("got %v, want %q", p, tt.want)
			}
		})
	}
}

// Every document is found by the line of its node, whatever surrounds it.
func TestDocumentAsItStands(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"a: 1\n", []string{"a: 1\n"}},
		{"a: 1", []string{"a: 1"}},
		{"# head\n\na: 1 # one\n---\n# of b\nb: |\n  ---\n  text\n# end\n", []string{"# head\n\na: 1 # one\n", "# of b\nb: |\n  ---\n  text\n# end\n"}},
		{"# the file\n--- # first\na: 1\n...\n---\n---\n# nothing\n---\nb: 2\n...\n", []string{"a: 1\n", "b: 2\n"}},
		{"--- {a: 1}\n--- {b: 2}\n", []string{"--- {a: 1}\n", "--- {b: 2}\n"}},
		{"---a: 1\n---\n...b: 2\n", []string{"---a: 1\n", "...b: 2\n"}},
		{"a: 1\r\n---\r\nb: 2\r\n", []string{"a: 1\r\n", "b: 2\r\n"}},
		{"a: \"1\u2028 2\"\n---\nb: 2\n---\nc: 3\n", []string{"a: \"1\u2028 2\"\n", "b: 2\n", "c: 3\n"}},
	} {
		src := Source{Data: []byte(tt.text)}
		docs, problems := Parse(src)
		if len(problems) > 0 || len(docs) != len(tt.want) {
			t.Errorf("%q: %d documents, %v", tt.text, len(docs), problems)
			continue
		}
		for i, doc := range docs {
			if got := src.Document(doc.Line); got != tt.want[i] {
				t.Errorf("%q, line %d: %q, want %q", tt.text, doc.Line, got, tt.want[i])
			}
		}
	}
}

func TestWriteShowsCaretAndHint(t *testing.T) {
	var got struct {
		Threshold int `yaml:"threshold"`
	}
	p := decode(t, "# top\n{treshold: 5, \"\\u001b[31m\": 1}\n", &got)
	var b strings.Builder
	p[:1].Write(&b, false)
	want := `x.yaml:2:2: error: unknown key "treshold"
    {treshold: 5, "\u001b[31m": 1}
     ^~~~~~~~
    did you mean "threshold"?
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	p.Write(&b, false)
	if strings.Contains(b.String(), "\x1b") {
		t.Error("an escape sequence of the source reached the terminal")
	}
}

func TestLongLineIsCutAroundThePlace(t *testing.T) {
	q := Problem{Line: 1, Column: 900, Len: 3, Snippet: strings.Repeat("a", 899) + "BAD" + strings.Repeat("c", 900)}
	line, mark := caret(q)
	if len(line) > 200 || line[strings.IndexByte(mark, '^'):][:3] != "BAD" {
		t.Errorf("%s\n%s", line, mark)
	}
}

func TestClosest(t *testing.T) {
	known := []string{"threshold", "window", "group_by", "tags", "severity", "net.ip", "net.ip_prefix", "mcp.tool"}
	for word, want := range map[string]string{
		"treshold": "threshold", "thershold": "threshold", "Window": "window", "tag": "tags", "group-by": "group_by",
		"groupby": "group_by", "tool": "mcp.tool", "sevrity": "severity", "zebra": "", "": "", "net.ipp": "net.ip",
	} {
		if got := Closest(word, known); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: b\n---\nc: [1, {d: e}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		src := Source{File: "f", Data: data}
		docs, p := Parse(src)
		if len(p) > 0 {
			var b strings.Builder
			p.Write(&b, true)
			return
		}
		for _, doc := range docs {
			var into struct {
				A string            `yaml:"a"`
				B []map[string]int  `yaml:"b"`
				C time.Duration     `yaml:"c"`
				D map[string]string `yaml:"d"`
			}
			Decode(src, doc, &into)
		}
	})
}
