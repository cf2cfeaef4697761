package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"picket/ingest/kafka/kafkatest"
)

// binary is built once for the test process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "picket-e2e-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "picket")
	out, err := exec.Command("go", "build", "-o", file, "picket/cmd/picket").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build picket: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "3"); err != nil { // they wait more than they compute
		panic(err)
	}
	code := m.Run()
	kafkatest.Stop()
	if file, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// proc is a process, with what it says on standard error line by line.
type proc struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu    sync.Mutex
	lines []string
}

// start runs picket with a configuration. The process ends with the test.
func start(t *testing.T, name, cfg string, args ...string) *proc {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{t: t, name: name, cmd: exec.Command(file, append([]string{"--config", cfg}, args...)...), done: make(chan struct{})}
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
	})
	go func() {
		p.err = p.cmd.Wait()
		w.Close()
		reading.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			lines := p.log()
			t.Logf("%s said last:\n%s", p.name, strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return p
}

func (p *proc) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// kill is kill -9. It returns when the process is gone.
func (p *proc) kill() {
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGKILL)
	<-p.done
}

// alive reports whether the process has not ended.
func (p *proc) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// interrupt is Ctrl-C: the process must end by itself, with code 0, within 5 s.
func (p *proc) interrupt() {
	p.t.Helper()
	began := time.Now()
	p.signal(os.Interrupt)
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		p.t.Fatalf("%s has not stopped 20s after Ctrl-C", p.name)
	}
	took := time.Since(began)
	p.t.Logf("%s stopped %s after Ctrl-C", p.name, took.Round(time.Millisecond))
	if took > 5*time.Second {
		p.t.Errorf("%s took %s to stop", p.name, took)
	}
	if p.err != nil {
		p.t.Errorf("%s: %v", p.name, p.err)
	}
}

func (p *proc) log() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// said returns the JSON log lines with this message, of the role if it is not "".
func (p *proc) said(msg, role string) (out []logLine) {
	for _, line := range p.log() {
		var l logLine
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == msg && (role == "" || l.Role == role) {
			out = append(out, l)
		}
	}
	return out
}

type logLine struct {
	Msg, Role, Level, Err string
	Attempt               int
	Wait                  took
}

// took is a duration as a line of JSON has it.
type took time.Duration

func (t *took) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*t = took(d)
	return err
}

// eventually polls cond, which may take its time, until it holds.
func eventually(t *testing.T, within time.Duration, what string, cond func() bool) {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Since(began) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-tick.C
	}
	t.Logf("%6.1fs  %s", time.Since(began).Seconds(), what)
}

// get is the body of an answer, whatever its status; "" without one.
func get(url string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		return ""
	}
	return b.String()
}

// ports are dealt below the range that the kernel deals out, so that no outgoing
// connection sits on the port of a server that is down for a moment.
var ports atomic.Int64

// freePort finds n ports in a row and returns the first.
func freePort(t *testing.T, n int) int {
	t.Helper()
	ports.CompareAndSwap(0, int64(12000+os.Getpid()%700*10))
next:
	for range 500 {
		first := int(ports.Add(int64(n))) - n
		for p := first; p < first+n; p++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
			if err != nil {
				continue next
			}
			l.Close()
		}
		return first
	}
	t.Fatal("no free port")
	return 0
}
