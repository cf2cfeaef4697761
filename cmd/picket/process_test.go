package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
	"picket/store/embedded"
	"picket/store/embedded/embeddedtest"
)

// said is what a process has written so far.
type said struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// process is a command line that goes on: this program, in a process of its own.
type process struct {
	cmd    *exec.Cmd
	out    said
	ended  chan struct{}
	result error // once ended is closed
}

// start runs a command of TestMain; the test's end ends it.
func start(t *testing.T, command string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(command, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		if t.Failed() {
			t.Logf("%s %s:\n%s", command, strings.Join(args, " "), p.out.String())
		}
	})
	return p
}

// says waits until the process has written something, and returns the part in parentheses.
func (p *process) says(t *testing.T, pattern string) (part string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	kafkatest.Eventually(t, 30*time.Second, "it says "+pattern, func() bool {
		m := re.FindStringSubmatch(p.out.String())
		if m != nil {
			part = m[1]
		}
		return m != nil
	})
	return part
}

// stop asks it to stop, as Ctrl-C does, and checks that it does so well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	began := time.Now()
	interrupt(t, p)
	p.wait(t, 10*time.Second)
	if p.result != nil {
		t.Errorf("it ended with %v", p.result)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}

func (p *process) wait(t *testing.T, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	select {
	case <-p.ended:
	case <-ctx.Done():
		t.Fatalf("it did not end within %s", limit)
	}
}

// engine skips a test where the embedded engine cannot be had, and fetches it before the
// test's time limits begin.
func engine(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the embedded ClickHouse engine")
	}
	_, err := embedded.Fetch(t.Context(), "", nil)
	embeddedtest.Check(t, err)
}

func TestRunStops(t *testing.T) {
	engine(t)
	conf := setting(t, "kafka: {embedded: {listen: '127.0.0.1:0'}}\nclickhouse: {embedded: {listen: '127.0.0.1:0'}}")
	p := start(t, "picket", "run", "-c", conf)
	p.says(t, `(picket is running)" version=\S+ roles=store,detect,correlate,notify rules=\d+ alerts_to="clickhouse,preview .nobody is told.*" brokers=127\S+ clickhouse=http://127\S+ admin=http://127`)
	if n := strings.Count(p.out.String(), "brought the tables to this version"); n != 1 {
		t.Errorf("the first start says %d times what it did to the tables", n)
	}
	ready(t, p.says(t, `admin server is up" url=(\S+)`))

	// A second process keeps its hands off the data, and says whose it is.
	pid := strconv.Itoa(p.cmd.Process.Pid)
	picket(t, "run", "-c", conf).want(t, exitUnavailable, "in use by process "+pid, "data_dir")
	away := "kafka:\n  brokers: ['" + p.says(t, `embedded broker is up" address=(\S+)`) + "']\n"
	data := strings.TrimSuffix(conf, "picket.yaml") + "data"
	picket(t, "run", "-c", setting(t, away+fmt.Sprintf("data_dir: %q\nclickhouse: {}", data))).want(t, exitUnavailable, pid, data, "data_dir")

	// Other commands find its servers by the data_dir.
	picket(t, "dead", "list", "-c", conf).want(t, exitOK)
	if e := picket(t, "audit", "-c", conf); e.code != exitOK || !strings.Contains(e.stdout, "mcp.events adds up") {
		t.Errorf("audit beside it: code %d\n%s%s", e.code, e.stdout, e.stderr)
	}

	p.stop(t)
	picket(t, "audit", "-c", conf).want(t, exitConfig, "kafka.brokers is empty, and no 'picket run'", data)
	for _, want := range []string{"msg=stopping", "msg=stopped"} {
		if !strings.Contains(p.out.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if strings.Contains(p.out.String(), "level=ERROR") || strings.Contains(p.out.String(), "level=WARN") {
		t.Error("a start and a stop are nothing to worry about")
	}

	// The same data again: nothing was left locked.
	again := start(t, "picket", "run", "-c", conf)
	again.says(t, `(picket is running)`)
	again.stop(t)
}

// A client's long query must not keep the embedded engine longer than a stop may take.
func TestStopWhileAQueryRuns(t *testing.T) {
	engine(t)
	conf := setting(t, "kafka: {embedded: {listen: '127.0.0.1:0'}}\nclickhouse: {embedded: {listen: '127.0.0.1:0'}}")
	for _, command := range []string{"run", "embedded --kafka 127.0.0.1:0 --clickhouse 127.0.0.1:0"} {
		p := start(t, "picket", append(strings.Fields(command), "-c", conf)...)
		ask := p.says(t, `embedded ClickHouse is up" url=(\S+)`) + "/?query="
		if command == "run" {
			p.says(t, `(picket is running)`)
		}
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			if res, err := http.Get(ask + url.QueryEscape("SELECT sleepEachRow(0.1) FROM numbers(3000) SETTINGS max_block_size = 1")); err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}()
		kafkatest.Eventually(t, 20*time.Second, "the query runs", func() bool {
			res, err := http.Get(ask + url.QueryEscape("SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep%'"))
			if err != nil {
				return false
			}
			defer res.Body.Close()
			n, _ := io.ReadAll(res.Body)
			return strings.TrimSpace(string(n)) == "1"
		})
		p.stop(t)
		<-asked
	}
}

func ready(t *testing.T, admin string) {
	t.Helper()
	kafkatest.Eventually(t, 20*time.Second, "ready", func() bool {
		res, err := http.Get(admin + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode == http.StatusOK
	})
}

// A store that takes a batch and never answers holds a stop up for a moment, and a second
// signal not at all. The servers are in a process of their own.
func TestStopWithHungStore(t *testing.T) {
	engine(t)
	servers := start(t, "picket", "embedded", "--kafka", "127.0.0.1:0", "--clickhouse", "127.0.0.1:0", "-c", setting(t, ""))
	broker := servers.says(t, `kafka: +(\S+)`)
	front := newHangable(t, servers.says(t, `clickhouse: +(\S+)`))
	conf := setting(t, "kafka: {brokers: ['"+broker+"']}\nclickhouse: {url: '"+front.url+"'}")
	picket(t, "topics", "create", "-c", conf).want(t, exitOK)
	hang := func() *process {
		front.hang.Store(false)
		p := start(t, "picket", "run", "-c", conf)
		p.says(t, `(picket is running)`)
		ready(t, p.says(t, `admin server is up" url=(\S+)`))
		front.hang.Store(true)
		producer, err := kafka.NewProducer(kafka.Config{Brokers: []string{broker}}, kafka.ProducerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		if err := producer.Produce(t.Context(), []kafka.Record{{Topic: "mcp.events", Value: []byte(`{"event_type":"error"}`)}}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-front.hit:
		case <-p.ended:
			t.Fatal("it ended by itself")
		}
		return p
	}
	p := hang()
	p.stop(t)

	p = hang()
	began := time.Now()
	interrupt(t, p)
	p.says(t, `(msg=stopping)`)
	interrupt(t, p)
	p.wait(t, 10*time.Second)
	var exit *exec.ExitError
	if ok := errors.As(p.result, &exit); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v, want the signal", p.result)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the second signal waited: %s", took)
	}
	servers.stop(t)
}

func interrupt(t *testing.T, p *process) {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

// hangable stands before a server, and stops answering while hang is set.
type hangable struct {
	url  string
	hang atomic.Bool
	hit  chan struct{} // can be received from while a request hangs
}

func newHangable(t *testing.T, server string) *hangable {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	h := &hangable{hit: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.hang.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then is a client that went away noticed
		for {
			select {
			case h.hit <- struct{}{}:
			case <-r.Context().Done():
				return
			case <-over:
				return
			}
		}
	}))
	t.Cleanup(func() { close(over); s.Close() })
	h.url = s.URL
	return h
}

// clickhouse is a process that serves an engine with a password, for tests: one process
// can have one engine.
func clickhouse() {
	lib, err := embedded.Fetch(context.Background(), "", nil)
	var s *embedded.Server
	if err == nil {
		s, err = embedded.Open(embedded.Options{Path: os.Args[1], LibPath: lib, User: "picket", Password: "right"})
	}
	if err == nil {
		err = s.Start("127.0.0.1:0")
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	select {} // until the test ends it
}
