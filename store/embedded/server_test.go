package embedded_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"picket/store/embedded"
	"picket/store/embedded/embeddedtest"
)

// with adds URL parameters to a DSN of embeddedtest.
func with(dsn string, kv ...string) string {
	q := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		q.Set(kv[i], kv[i+1])
	}
	return dsn + "&" + q.Encode()
}

func do(t *testing.T, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if req.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestPing(t *testing.T) {
	base, _, _ := strings.Cut(embeddedtest.Start(t), "?")
	for path, want := range map[string]string{"/ping": "Ok.\n", "/": "Ok.\n", "": "Ok.\n"} {
		if res, body := do(t, "GET", base+path, ""); res.StatusCode != 200 || body != want {
			t.Errorf("GET %q: %d %q", path, res.StatusCode, body)
		}
	}
	if res, _ := do(t, "GET", base+"/nothing", ""); res.StatusCode != 404 {
		t.Errorf("unknown path: %d", res.StatusCode)
	}
	if res, _ := do(t, "DELETE", base+"/?query=SELECT+1", ""); res.StatusCode != 405 {
		t.Errorf("DELETE: %d", res.StatusCode)
	}
}

func TestStatements(t *testing.T) {
	u := embeddedtest.Start(t)
	must(t, u, "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	for _, sql := range []string{
		"INSERT INTO t VALUES (1, 'one'), (2, concat('t', 'wo'))",
		"INSERT INTO t (b, a) FORMAT TSV\nthree\t3\n",
		`INSERT INTO t FORMAT JSONEachRow {"a":4,"b":"four"}`,
		"INSERT INTO t SELECT 5, 'five'",
		"INSERT INTO t (a) WITH x AS (SELECT 6 AS a) SELECT a FROM x",
	} {
		must(t, u, sql)
	}
	for _, c := range [][2]string{
		{"SELECT a, b FROM t ORDER BY a FORMAT CSV", "1,\"one\"\n2,\"two\"\n3,\"three\"\n4,\"four\"\n5,\"five\"\n6,\"\""},
		{"SHOW TABLES", "t"},
		{"EXISTS TABLE t", "1"},
		{"WITH 1 AS x SELECT x", "1"},
		{"(SELECT 1) UNION ALL (SELECT 1)", "1\n1"},
		{"SELECT 1 WHERE 0", ""},
		{"DESCRIBE TABLE t FORMAT JSONCompactEachRow", `["a", "UInt32", "", "", "", "", ""]` + "\n" + `["b", "String", "", "", "", "", ""]`},
		{"SELECT count() FROM numbers(3) SETTINGS max_threads = 1", "3"},
		{"SELECT 1 AS x FORMAT PrettyCompact", "   ┌─x─┐\n1. │ 1 │\n   └───┘"},
		{"SET max_threads = 3", ""},
		{"USE system", ""},
		{"SELECT currentDatabase() = 'system', getSetting('max_threads') = 3", "0\t0"},
		{"ALTER TABLE t ADD COLUMN c UInt8", ""},
		{"OPTIMIZE TABLE t FINAL", ""},
		{"SELECT sum(a), sum(c) FROM t", "21\t0"},
		{"DROP TABLE t", ""},
		{"SHOW TABLES", ""},
	} {
		if got := must(t, u, c[0]); got != c[1] {
			t.Errorf("%s\n got %q\nwant %q", c[0], got, c[1])
		}
	}
}

// Formats with a head and a foot are one document, also when the result has many blocks.
func TestLargeDocuments(t *testing.T) {
	u := embeddedtest.Start(t)
	const rows = 300_000
	sql := fmt.Sprintf("SELECT number AS n FROM numbers(%d) FORMAT ", rows)
	var doc struct{ Data [][]uint64 }
	if err := json.Unmarshal([]byte(must(t, u, sql+"JSONCompact")), &doc); err != nil || len(doc.Data) != rows {
		t.Errorf("JSONCompact: %v, %d rows", err, len(doc.Data))
	}
	csv := must(t, u, sql+"CSVWithNames")
	if lines := strings.Split(csv, "\n"); len(lines) != rows+1 || lines[0] != `"n"` || lines[rows] != strconv.Itoa(rows-1) || strings.Count(csv, `"n"`) != 1 {
		t.Errorf("CSVWithNames: %d lines, %d heads", len(lines), strings.Count(csv, `"n"`))
	}
	if lines := strings.Split(must(t, u, sql+"TSV"), "\n"); len(lines) != rows || lines[rows-1] != strconv.Itoa(rows-1) {
		t.Errorf("TSV: %d lines", len(lines))
	}
}

func TestAnswerHeaders(t *testing.T) {
	u := embeddedtest.Start(t)
	res, body := do(t, "POST", with(u, "query_id", "my-id"), "SELECT 1 AS x FORMAT JSON")
	var doc struct {
		Data []map[string]int
		Rows int
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Rows != 1 || doc.Data[0]["x"] != 1 {
		t.Errorf("JSON: %v in %s", err, body)
	}
	for name, want := range map[string]string{
		"X-ClickHouse-Format": "JSON", "X-ClickHouse-Query-Id": "my-id", "Content-Type": "application/json; charset=UTF-8",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	must(t, u, "CREATE TABLE t (a UInt8) ENGINE = Memory")
	res, _ = do(t, "POST", u, "INSERT INTO t VALUES (1), (2)")
	var sum map[string]string
	if err := json.Unmarshal([]byte(res.Header.Get("X-ClickHouse-Summary")), &sum); err != nil || sum["written_rows"] != "2" {
		t.Errorf("summary of an insert: %v, %v", sum, err)
	}
	if _, body := do(t, "POST", with(u, "default_format", "CSV"), "SELECT 'x'"); body != "\"x\"\n" {
		t.Errorf("default_format: %q", body)
	}
	if _, body := do(t, "POST", u, "SELECT 'x'", "X-ClickHouse-Format", "JSONCompactEachRow"); body != "[\"x\"]\n" {
		t.Errorf("X-ClickHouse-Format: %q", body)
	}
}

func TestExceptions(t *testing.T) {
	u := embeddedtest.Start(t)
	base, _, _ := strings.Cut(u, "?")
	outfile := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		name, method, url, sql string
		status, code           int
		want                   string
	}{
		{"unknown table", "POST", u, "SELECT * FROM nope", 404, 60, "UNKNOWN_TABLE"},
		{"unknown table for rows", "POST", u, "INSERT INTO nope VALUES (1)", 404, 60, "UNKNOWN_TABLE"},
		{"syntax", "POST", u, "SELEC 1", 400, 62, "Syntax error"},
		{"empty", "POST", u, " -- nothing\n", 400, 62, "Empty query"},
		{"two statements", "POST", u, "SELECT 1; DROP TABLE x", 400, 62, "Multi-statements"},
		{"unknown database", "POST", base + "?database=nope", "SELECT 1", 404, 81, "nope"},
		{"unknown setting", "POST", with(u, "no_such_setting", "1"), "SELECT 1", 404, 115, "no_such_setting"},
		{"bad setting", "POST", with(u, "max_threads", "many"), "SELECT 1", 400, 0, "many"},
		{"missing parameter", "POST", u, "SELECT {x:UInt8}", 400, 456, "`x` is not set"},
		{"GET may not write", "GET", with(u, "query", "CREATE TABLE x (a Int8) ENGINE = Memory"), "", 500, 164, "readonly"},
		{"GET may not insert", "GET", with(u, "query", "INSERT INTO x VALUES (1)"), "", 500, 164, "readonly"},
		{"temporary table", "POST", u, "CREATE TEMPORARY TABLE x (a Int8)", 501, 48, "do not exist in the embedded engine"},
		{"outfile", "POST", u, "SELECT 1 INTO OUTFILE '" + outfile + "'", 403, 497, "refuses \"outfile\""},
		{"session", "POST", with(u, "session_id", "s"), "SELECT 1", 501, 48, "session_id"},
		{"time limit", "POST", with(u, "max_execution_time", "0.3"), "SELECT max(sipHash64(number)) FROM numbers(100000000000)", 408, 159, "Timeout exceeded"},
		{"result limit", "POST", with(u, "max_result_bytes", "1000"), "SELECT number FROM numbers(100000) FORMAT JSON", 500, 396, "Limit for result exceeded"},
		{"while running", "POST", u, "SELECT throwIf(number = 5) FROM numbers(10)", 500, 395, "throwIf"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := do(t, c.method, c.url, c.sql)
			code := res.Header.Get("X-ClickHouse-Exception-Code")
			if res.StatusCode != c.status || c.code != 0 && code != strconv.Itoa(c.code) || !strings.Contains(body, c.want) {
				t.Errorf("got %d, code %s: %s", res.StatusCode, code, body)
			}
			if !strings.HasPrefix(body, "Code: "+code+". DB::Exception: ") || !strings.HasSuffix(body, ")\n") {
				t.Errorf("not worded as ClickHouse does: %q", body)
			}
		})
	}
	if _, err := os.Stat(outfile); err == nil {
		t.Error("INTO OUTFILE wrote a file")
	}
	if got := must(t, u, "SELECT currentDatabase() LIKE 'test_%'"); got != "1" {
		t.Errorf("the session after failures: %q", got)
	}
}

// A failure after the first megabyte cannot change the status; it must not pass for an end.
func TestExceptionMidStream(t *testing.T) {
	u := embeddedtest.Start(t)
	const sql = "SELECT throwIf(number = 3000000) FROM numbers(10000000)"
	res, body := do(t, "POST", with(u, "max_threads", "1"), sql)
	tag := res.Header.Get("X-ClickHouse-Exception-Tag")
	if res.StatusCode != 200 || !strings.Contains(body, "\r\n__exception__\r\n"+tag+"\r\nCode: 395.") || !strings.HasSuffix(body, tag+"\r\n__exception__\r\n") {
		t.Errorf("%d ... %q", res.StatusCode, body[max(0, len(body)-500):])
	}
	if res, _ := do(t, "POST", with(u, "max_threads", "1", "wait_end_of_query", "1"), sql); res.StatusCode != 500 {
		t.Errorf("wait_end_of_query: %d", res.StatusCode)
	}
}

func TestSettingsDoNotLeak(t *testing.T) {
	u := embeddedtest.Start(t)
	const ask = "SELECT getSetting('max_block_size'), getSetting('max_execution_time'), getSetting('implicit_select')"
	before := must(t, u, ask)
	if got := must(t, with(u, "max_block_size", "123", "max_execution_time", "7"), ask); !strings.HasPrefix(got, "123\t7\t") {
		t.Errorf("settings of the request: %q", got)
	}
	post(t, with(u, "max_block_size", "321", "max_execution_time", "9", "no_such", "1"), ask)
	post(t, u, "SET max_block_size = 456, max_execution_time = 8")
	for range 8 { // every reader
		if got := must(t, u, ask); got != before {
			t.Errorf("left behind: %q, before %q", got, before)
		}
	}
}

func TestQueryParameters(t *testing.T) {
	u := embeddedtest.Start(t)
	got := must(t, with(u, "param_n", "5", "param_s", `it's \\ "x"`, "param_null", `\N`, "param_a", "[1,2]", "param_empty", ""),
		"SELECT {n:UInt8} + 1, {s:String}, {null:Nullable(String)} IS NULL, {a:Array(UInt8)}[2], {empty:String} = ''")
	if want := "6\t" + `it\'s \\ "x"` + "\t1\t2\t1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	must(t, u, "CREATE TABLE t (a UInt8) ENGINE = Memory")
	must(t, with(u, "param_t", "t"), "INSERT INTO {t:Identifier} VALUES (7)")
	if got := must(t, with(u, "param_t", "t"), "SELECT * FROM {t:Identifier}"); got != "7" {
		t.Errorf("identifier: %q", got)
	}
}

func TestCompression(t *testing.T) {
	u := embeddedtest.Start(t)
	must(t, u, "CREATE TABLE t (a UInt32) ENGINE = Memory")
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprint(w, "1\n2\n")
	w.Close()
	if res, body := do(t, "POST", with(u, "query", "INSERT INTO t FORMAT TSV"), z.String(), "Content-Encoding", "gzip"); res.StatusCode != 200 {
		t.Fatalf("gzip body: %d %s", res.StatusCode, body)
	}
	if res, _ := do(t, "POST", with(u, "query", "INSERT INTO t FORMAT TSV"), z.String()[:z.Len()-6], "Content-Encoding", "gzip"); res.StatusCode == 200 {
		t.Error("a cut gzip body was taken")
	}
	if res, _ := do(t, "POST", u, "x", "Content-Encoding", "rot13"); res.StatusCode != 501 {
		t.Errorf("unknown encoding: %d", res.StatusCode)
	}
	res, body := do(t, "POST", u, "SELECT sum(a) FROM t", "Accept-Encoding", "gzip")
	if res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %v", res.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "3\n" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestLimitsOfRequests(t *testing.T) {
	s := embeddedtest.Server(t)
	h := s.Handler(embedded.Options{MaxRequestBytes: 100})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprint(w, "SELECT 1"+strings.Repeat(" ", 10_000))
	w.Close()
	for _, body := range []string{strings.Repeat(" ", 200) + "SELECT 1", z.String()} {
		req, rec := newRecorded(body)
		if body == z.String() {
			req.Header.Set("Content-Encoding", "gzip")
		}
		if h.ServeHTTP(rec, req); rec.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%d bytes: %d %s", len(body), rec.Code, rec.Body)
		}
	}
}

func TestOnlyOwnClients(t *testing.T) {
	u := embeddedtest.Start(t)
	if res, _ := do(t, "POST", u, "SELECT 1", "Host", "evil.example"); res.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("foreign host name: %d", res.StatusCode)
	}
	if res, _ := do(t, "POST", u, "SELECT 1", "Origin", "https://evil.example"); res.StatusCode != http.StatusForbidden {
		t.Errorf("script of a foreign site: %d", res.StatusCode)
	}
	if res, _ := do(t, "POST", u, "SELECT 1", "Host", "localhost:1"); res.StatusCode != 200 {
		t.Errorf("localhost: %d", res.StatusCode)
	}
	for _, addr := range []string{":0", "0.0.0.0:0", "example.com:0", "[::]:0"} {
		if err := embeddedtest.Server(t).Start(addr); err == nil || !strings.Contains(err.Error(), "other machines") {
			t.Errorf("listen on %s: %v", addr, err)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	u := embeddedtest.StartSecured(t, "picket", "right", nil)
	basic := func(user, password string) (*http.Response, string) {
		return do(t, "POST", strings.Replace(u, "http://", "http://"+user+":"+password+"@", 1), "SELECT 1")
	}
	type answer struct {
		res  *http.Response
		body string
	}
	ask := func(res *http.Response, body string) answer { return answer{res, body} }
	for name, a := range map[string]answer{
		"none":       ask(do(t, "POST", u, "SELECT 1")),
		"basic":      ask(basic("picket", "wrong")),
		"headers":    ask(do(t, "POST", u, "SELECT 1", "X-ClickHouse-User", "picket", "X-ClickHouse-Key", "wrong")),
		"url":        ask(do(t, "POST", with(u, "user", "picket", "password", "wrong"), "SELECT 1")),
		"other user": ask(basic("default", "right")),
	} {
		if a.res.StatusCode != 403 || a.res.Header.Get("X-ClickHouse-Exception-Code") != "516" || !strings.Contains(a.body, "Authentication failed: password is incorrect") {
			t.Errorf("%s: %d %s", name, a.res.StatusCode, a.body)
		}
	}
	for name, a := range map[string]answer{
		"basic":   ask(basic("picket", "right")),
		"headers": ask(do(t, "POST", u, "SELECT 1", "X-ClickHouse-User", "picket", "X-ClickHouse-Key", "right")),
		"url":     ask(do(t, "POST", with(u, "user", "picket", "password", "right"), "SELECT 1")),
	} {
		if a.res.StatusCode != 200 || a.body != "1\n" {
			t.Errorf("right password by %s: %d %s", name, a.res.StatusCode, a.body)
		}
	}
}

// Two inserts under one token store once, in the table and through a materialised view.
func TestDeduplication(t *testing.T) {
	u := embeddedtest.Start(t)
	must(t, u, "CREATE TABLE t (k String, n UInt64) ENGINE = MergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100")
	must(t, u, "CREATE TABLE sums (k String, n UInt64) ENGINE = SummingMergeTree ORDER BY k SETTINGS non_replicated_deduplication_window = 100")
	must(t, u, "CREATE MATERIALIZED VIEW v TO sums AS SELECT k, sum(n) AS n FROM t GROUP BY k")
	send := func(token, rows string) {
		if status, body := post(t, u+"&"+insertQuery("INSERT INTO t FORMAT TSV", token), rows); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
	}
	send("a", "x\t1\ny\t2\n")
	send("a", "x\t1\ny\t2\n")
	send("a", "x\t1\ny\t2\n")
	const ask = "SELECT (SELECT count() FROM t), (SELECT sum(n) FROM sums)"
	// Its own settings do not keep those of the URL out.
	for range 2 {
		if status, body := post(t, u+"&"+insertQuery("INSERT INTO t (k, n) SETTINGS max_insert_threads = 1 FORMAT TSV", "a"), "x\t1\ny\t2\n"); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	}
	if got := must(t, u, ask); got != "2\t3" {
		t.Errorf("after one batch five times: %q", got)
	}
	send("b", "x\t1\ny\t2\n") // the same rows under another token are another batch
	if got := must(t, u, ask); got != "4\t6" {
		t.Errorf("after a second batch: %q", got)
	}
}

func TestFileOfPathIsPrivate(t *testing.T) {
	info, err := os.Stat(filepath.Join(embeddedtest.Server(t).Path(), "lock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}
