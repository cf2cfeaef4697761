package embedded_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"picket/store/embedded"
	"picket/store/embedded/embeddedtest"
)

func TestGoKeepsItsSignals(t *testing.T) {
	p := startChild(t, filepath.Join(t.TempDir(), "data"))
	const want = "runtime error: invalid memory address or nil pointer dereference"
	if p.lines["nil"] != want {
		t.Errorf("a nil dereference beside the engine: %q", p.lines["nil"])
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var last string
	for p.out.Scan() {
		last = p.out.Text()
	}
	if err := p.cmd.Wait(); err != nil || last != "closed "+want {
		t.Errorf("stop on SIGTERM: %v, last line %q", err, last)
	}
}

// A read that would go on for a minute is killed when the time to stop is over.
func TestStopKillsWhatRuns(t *testing.T) {
	p := startChild(t, filepath.Join(t.TempDir(), "data"))
	answered := make(chan int, 1)
	go func() {
		status, _, _ := tryPost(p.url, "SELECT max(sipHash64(number, 'slow')) FROM numbers(100000000000)")
		answered <- status
	}()
	awaitRunning(t, p.url, "slow", 1)
	start := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var last string
	for p.out.Scan() {
		last = p.out.Text()
	}
	if err := p.cmd.Wait(); err != nil || !strings.HasPrefix(last, "closed ") {
		t.Errorf("stop: %v, last line %q", err, last)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if status := <-answered; status == http.StatusOK {
		t.Error("the killed read was answered with 200")
	}
}

func TestOneEngineOnePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	p := startChild(t, path)
	if got := p.lines["second"]; !strings.Contains(got, "this process already runs it at "+path) {
		t.Errorf("a second path in one process: %q", got)
	}
	other := startChild(t, path)
	want := fmt.Sprintf("open embedded ClickHouse: %s is in use by process %d", path, p.cmd.Process.Pid)
	if got := other.lines["error"]; got != want {
		t.Errorf("a second process on one path:\n got %q\nwant %q", got, want)
	}
	if !embedded.InUse(path) {
		t.Error("InUse says that nobody has the path")
	}
}

func TestSamePathTwiceInOneProcess(t *testing.T) {
	s := embeddedtest.Server(t)
	lib, err := embedded.Fetch(context.Background(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = embedded.Open(embedded.Options{Path: s.Path(), LibPath: lib})
	if err == nil || !strings.Contains(err.Error(), "already open in this process") {
		t.Errorf("got %v", err)
	}
}

func TestConfigOfWorkingDirectoryIsNotRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.xml"), []byte("<clickhouse><broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startChild(t, filepath.Join(t.TempDir(), "data"), "PWD="+dir)
	if p.url == "" {
		t.Fatalf("did not start beside a foreign config.xml: %v", p.lines)
	}
	if got := must(t, p.url, "SELECT 1"); got != "1" {
		t.Errorf("got %q", got)
	}
}

func TestKilledProcessKeepsAnsweredInserts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	p := startChild(t, path)
	must(t, p.url, `CREATE TABLE e (token String, n UInt32) ENGINE = MergeTree ORDER BY n
		SETTINGS non_replicated_deduplication_window = 10000`)
	const rows = 1000
	body := func(token string) string {
		var b strings.Builder
		for n := range rows {
			b.WriteString(token + "\t" + strconv.Itoa(n) + "\n")
		}
		return b.String()
	}
	insert := func(url, token string) (int, error) {
		status, _, err := tryPost(url+"/?"+insertQuery("INSERT INTO e FORMAT TSV", token), body(token))
		return status, err
	}
	// Kill the process in the middle of a stream of inserts from three clients.
	var mu sync.Mutex
	answered, sent := map[string]bool{}, map[string]bool{}
	enough := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 3 {
		clients.Go(func() {
			for i := 0; ; i++ {
				token := fmt.Sprintf("%d-%d", c, i)
				mu.Lock()
				sent[token] = true
				mu.Unlock()
				status, err := insert(p.url, token)
				if err != nil {
					return
				}
				mu.Lock()
				answered[token] = status == http.StatusOK
				if len(answered) == 60 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	clients.Wait()
	_ = p.cmd.Wait()

	p = startChild(t, path)
	stored := map[string]bool{}
	for line := range strings.Lines(must(t, p.url, "SELECT token, count() FROM e GROUP BY token")) {
		token, n, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if stored[token] = true; n != strconv.Itoa(rows) {
			t.Errorf("token %s has %s rows of %d: not all or nothing", token, n, rows)
		}
	}
	for token, ok := range answered {
		if !ok || !stored[token] {
			t.Errorf("token %s: answered 200: %v, stored after kill -9: %v", token, ok, stored[token])
		}
	}
	// What was not answered is sent again under its token: once in the end, all of it.
	for token := range sent {
		if status, err := insert(p.url, token); err != nil || status != http.StatusOK {
			t.Fatalf("send %s again: %d %v", token, status, err)
		}
	}
	if got, want := must(t, p.url, "SELECT count() FROM e"), strconv.Itoa(len(sent)*rows); got != want {
		t.Errorf("after replay %s rows, want %s", got, want)
	}
	t.Logf("%d inserts answered before the kill, %d sent, %d found", len(answered), len(sent), len(stored))
}

// insertQuery is the URL query of an INSERT with a deduplication token.
func insertQuery(sql, token string) string {
	return url.Values{
		"query":                      {sql},
		"insert_deduplication_token": {token},
		"async_insert":               {"0"},
		"deduplicate_blocks_in_dependent_materialized_views": {"1"},
	}.Encode()
}
