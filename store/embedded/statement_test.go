package embedded

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
)

func TestSplitInsert(t *testing.T) {
	for _, c := range []struct {
		sql, head, format, rows string // head "" means not cut
	}{
		{"INSERT INTO t FORMAT TSV\n1\t2\n", "INSERT INTO t ", "TSV", "1\t2\n"},
		{"INSERT INTO t FORMAT TSV \r\n1\n", "INSERT INTO t ", "TSV", "1\n"},
		{"insert into t(a, b) format JSONEachRow {\"a\":1}", "insert into t(a, b) ", "JSONEachRow", "{\"a\":1}"},
		{"INSERT INTO t VALUES (1),(2)", "INSERT INTO t ", "Values", " (1),(2)"},
		{"INSERT INTO t (`format`, \"values\", select) VALUES (1)", "INSERT INTO t (`format`, \"values\", select) ", "Values", " (1)"},
		{"-- FORMAT X\nINSERT /* VALUES */ INTO t SETTINGS a='FORMAT Y' FORMAT Native", "-- FORMAT X\nINSERT /* VALUES */ INTO t SETTINGS a='FORMAT Y' ", "Native", ""},
		{"INSERT INTO t SELECT 1 FORMAT TSV", "", "", ""},
		{"INSERT INTO t (a) WITH x AS (SELECT 1) SELECT * FROM x", "", "", ""},
		{"INSERT INTO t FROM INFILE 'x' FORMAT CSV", "", "", ""},
		{"INSERT INTO t (a, b)", "", "", ""},
		{"SELECT 1 FORMAT TSV", "", "", ""},
		{"", "", "", ""},
		{"INSERT INTO t FORMAT", "", "", ""},
		{"INSERT INTO 't", "", "", ""},
	} {
		got, ok := splitInsert(c.sql)
		if ok != (c.head != "") || ok && (got.sql != c.head || got.format != c.format || c.sql[got.data:] != c.rows) {
			t.Errorf("%q: got %+v, %v", c.sql, got, ok)
		}
	}
}

func TestOutputFormat(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT 1":             "Default",
		"SELECT 1 FORMAT JSON": "JSON",
		"SELECT 1 format Pretty SETTINGS max_threads=1;": "Pretty",
		"SELECT 'FORMAT CSV' -- FORMAT XML":              "Default",
		"SELECT $x$ FORMAT CSV $x$, `FORMAT` FROM t":     "Default",
		"SELECT (SELECT format FROM t)":                  "Default",
		"SELECT 'it''s' FORMAT TSV":                      "TSV",
		`SELECT 'a\'b' FORMAT TSV # comment`:             "TSV",
	} {
		if got := outputFormat(sql, "Default"); got != want {
			t.Errorf("%q: got %s, want %s", sql, got, want)
		}
	}
}

func TestSetNames(t *testing.T) {
	got := setNames("SET a = 1, b='x = y', c = [1, 2]")
	if want := []string{"a", "b", "c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzLexer(f *testing.F) {
	for _, s := range []string{"INSERT INTO t FORMAT TSV\n1", "SELECT $a$ x $a$ '\\", "/* ", "{}[]()", "`a", "SET x='y'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		l := lexer{sql: sql}
		for last := 0; ; {
			tok := l.next()
			if tok.kind == tokenEnd {
				break
			}
			if tok.start < last || tok.end <= tok.start || tok.end > len(sql) {
				t.Fatalf("token %+v after %d in %q", tok, last, sql)
			}
			last = tok.end
		}
		if h, ok := splitInsert(sql); ok && (h.data > len(sql) || h.format == "") {
			t.Fatalf("%+v in %q", h, sql)
		}
		outputFormat(sql, "")
		setNames(sql)
		firstWord(sql)
	})
}

// Wherever the stream of compressed blocks is cut, it must not look complete.
func TestCompressedBodyCutAnywhere(t *testing.T) {
	var whole bytes.Buffer
	w := newBlockWriter(&whole, "ZSTD")
	first := 0
	for _, s := range []string{"first block", "second block"} {
		if _, err := io.WriteString(w, s); err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = whole.Len()
		}
	}
	for n := range whole.Len() + 1 {
		got, err := io.ReadAll(blockReader{compress.NewReader(bytes.NewReader(whole.Bytes()[:n]))})
		between := n == 0 || n == first || n == whole.Len()
		if between != (err == nil) {
			t.Errorf("cut at %d of %d: %q, %v", n, whole.Len(), got, err)
		}
	}
}

func TestErrorIsUnwrapped(t *testing.T) {
	e := newError("Code: 241. DB::Exception: Code: 241. DB::Exception: too much. (MEMORY_LIMIT_EXCEEDED)")
	if e.Code != 241 || e.Message != "Code: 241. DB::Exception: too much. (MEMORY_LIMIT_EXCEEDED)" {
		t.Errorf("got %+v", e)
	}
	if e := newError("plain"); e.Code != 1002 || !strings.HasPrefix(e.Message, "Code: 1002. DB::Exception: plain") {
		t.Errorf("got %+v", e)
	}
	if e := asError(&clientError{errors.New("gone")}); e.Code != codeNetwork {
		t.Errorf("got %+v", e)
	}
}

func TestAcceptedEncoding(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "x, br;q=0.5": "br", "gzip;q=0, zstd": "zstd", "LZ4": "lz4",
	} {
		if got := acceptedEncoding(header); got != want {
			t.Errorf("%q: got %q", header, got)
		}
	}
}
