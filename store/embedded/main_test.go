package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"picket/store/embedded"
	"picket/store/embedded/embeddedtest"
)

// The tests of whole processes start this binary again as an engine of its own, some with other rights than the fence's.
const (
	envChild = "EMBEDDED_TEST_CHILD"
	envUsers = "EMBEDDED_TEST_USERS"
)

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		if err := child(); err != nil {
			fmt.Println("error", err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child serves $EMBEDDED_TEST_CHILD until SIGTERM, and proves first that Go's own signal
// handling outlived the library: a nil dereference is a panic that can be recovered.
func child() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	lib, err := embedded.Fetch(ctx, "", nil)
	if err != nil {
		return err
	}
	o := embedded.Options{Path: os.Getenv(envChild), LibPath: lib}
	s, err := embedded.Open(o.WithUsers(os.Getenv(envUsers)))
	if err != nil {
		return err
	}
	if err := s.Start("127.0.0.1:0"); err != nil {
		return err
	}
	if _, err := embedded.Open(embedded.Options{Path: os.Getenv(envChild) + "-other", LibPath: lib}); err != nil {
		fmt.Println("second", err)
	}
	fmt.Println("nil", dereferenceNil())
	fmt.Println("url", s.URL())
	<-ctx.Done()
	shutdown, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.Close(shutdown); err != nil {
		return err
	}
	fmt.Println("closed", dereferenceNil())
	return nil
}

func dereferenceNil() (what any) {
	defer func() { what = recover() }()
	var p *struct{ n int }
	return p.n
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	url   string
	lines map[string]string // by their first word, of those before the url
	out   *bufio.Scanner
}

func startChild(t testing.TB, path string, env ...string) *process {
	t.Helper()
	embeddedtest.Server(t) // skips without npm, and fetches once for everybody
	p := &process{lines: map[string]string{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	p.cmd = exec.CommandContext(ctx, os.Args[0])
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append(os.Environ(), append(env, envChild+"="+path)...)
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if dir := configDir(env); dir != "" {
		p.cmd.Dir = dir
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	p.out = bufio.NewScanner(stdout)
	for p.out.Scan() {
		name, rest, _ := strings.Cut(p.out.Text(), " ")
		p.lines[name] = rest
		if name == "url" {
			p.url = rest
			break
		}
	}
	return p
}

// configDir is the working directory a test asks for.
func configDir(env []string) string {
	for _, e := range env {
		if dir, ok := strings.CutPrefix(e, "PWD="); ok {
			return dir
		}
	}
	return ""
}

// post sends one statement and returns status and answer.
func post(t testing.TB, url, sql string) (int, string) {
	t.Helper()
	status, body, err := tryPost(url, sql)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}

func tryPost(url, sql string) (int, string, error) {
	res, err := http.Post(url, "text/plain", strings.NewReader(sql))
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// must is post for statements that have to work.
func must(t testing.TB, url, sql string) string {
	t.Helper()
	status, body := post(t, url, sql)
	if status != http.StatusOK {
		t.Fatalf("%s\n%d %s", sql, status, body)
	}
	return strings.TrimSuffix(body, "\n")
}

func newRecorded(body string) (*http.Request, *httptest.ResponseRecorder) {
	req := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
	return req, httptest.NewRecorder()
}
