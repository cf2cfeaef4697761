package tap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func under(role string, change func(*Options)) Options {
	o := Options{
		Command: []string{os.Args[0]}, Environ: as(role), Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Signals: make(chan os.Signal), Sink: &memorySink{},
	}
	if change != nil {
		change(&o)
	}
	return o
}

func mustRun(t *testing.T, o Options) (int, Stats) {
	t.Helper()
	tap, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	code, err := tap.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return code, tap.Stats()
}

// pieces hands out data in chunks of the given sizes, in turn.
type pieces struct {
	data  []byte
	sizes []int
	n     int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := min(p.sizes[p.n%len(p.sizes)], len(b), len(p.data))
	p.n++
	copy(b, p.data[:n])
	p.data = p.data[n:]
	return n, nil
}

func TestBytesPassUnchanged(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		lines := rapid.SliceOfN(rapid.OneOf(
			rapid.SliceOfN(rapid.Byte(), 0, 5000),
			rapid.SampledFrom([][]byte{[]byte(hello), []byte("[]"), []byte("\r"), []byte(`{"id":1,"method":"tools/call","params":{}}`), bytes.Repeat([]byte("["), 3000)}),
		), 0, 12).Draw(r, "lines")
		in := bytes.Join(lines, []byte("\n"))
		sizes := rapid.SliceOfN(rapid.IntRange(1, 70_000), 1, 5).Draw(r, "sizes")
		var out bytes.Buffer
		sink := &memorySink{}
		if _, err := Run(context.Background(), under("", func(o *Options) {
			o.Command = []string{"cat"} // starts in a moment, where the test binary does not
			o.Stdin, o.Stdout, o.Sink, o.MaxMessage = &pieces{data: in, sizes: sizes}, &out, sink, 2000
		})); err != nil {
			r.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), in) {
			r.Fatalf("%d bytes in, %d out", len(in), out.Len())
		}
		events(t, sink.all())
	})
}

func TestHundredMegabyteMessage(t *testing.T) {
	in := append([]byte(`{"id":7,"method":"tools/call","params":{"name":"big","arguments":{"x":"`), bytes.Repeat([]byte("a"), 100<<20)...)
	in = append(in, "\"}}}\n"...)
	var out bytes.Buffer
	sink := &memorySink{}
	if _, st := mustRun(t, under("echo", func(o *Options) { o.Stdin, o.Stdout, o.Sink = bytes.NewReader(in), &out, sink })); st.Dropped != 0 {
		t.Errorf("stats: %+v", st)
	}
	if !bytes.Equal(out.Bytes(), in) {
		t.Fatal("bytes changed")
	}
	calls := ofType(events(t, sink.all()), "tool_call")
	if len(calls) != 1 && len(calls) != 2 { // the echo is a request of the server's, too
		t.Fatalf("%d calls", len(calls))
	}
	if e := calls[0]; e.MCP.Tool != "big" || e.MCP.RequestID != "7" || !e.IO.Truncated || *e.IO.ArgsBytes != int64(len(in)-1) || e.IO.Args != nil {
		t.Errorf("event: %+v %+v", e.MCP, e.IO)
	}
}

func TestLargeResponseIsMatchedByTheIDAtItsEnd(t *testing.T) {
	l := newLines(t, func(o *Options) { o.MaxMessage = 1000 })
	l.client(`{"id":9,"method":"tools/call","params":{"name":"x","arguments":{"a":1}}}`)
	l.server(`{"result":{"content":[{"type":"text","text":"` + strings.Repeat("b", 5000) + `"}]},"jsonrpc":"2.0","id":9}`)
	list := l.events()
	if len(list) != 1 || list[0].MCP.RequestID != "9" || !list[0].IO.Truncated || list[0].Outcome != "unknown" || list[0].Reason != "too_large" || *list[0].IO.ResultBytes < 5000 {
		t.Fatalf("events: %+v", list)
	}
}

func TestBinaryOnBothOutputs(t *testing.T) {
	const n = 300_000
	var out, errOut bytes.Buffer
	sink := &memorySink{}
	mustRun(t, under(fmt.Sprintf("noise=%d", n), func(o *Options) { o.Stdout, o.Stderr, o.Sink = &out, &errOut, sink }))
	if want := garbage(n); !bytes.Equal(out.Bytes(), want) || !bytes.Equal(errOut.Bytes(), want) {
		t.Errorf("stdout %d, stderr %d bytes", out.Len(), errOut.Len())
	}
	events(t, sink.all())
}

func TestExitCodes(t *testing.T) {
	for _, want := range []int{0, 1, 77} {
		if code, _ := mustRun(t, under(fmt.Sprintf("exit=%d", want), nil)); code != want {
			t.Errorf("exit %d became %d", want, code)
		}
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	plain := t.TempDir() + "/not-executable"
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for command, want := range map[string]int{"no-such-command-here": 127, "/no/such/file": 127, plain: 126, t.TempDir(): 126} {
		code, err := Run(t.Context(), under("", func(o *Options) { o.Command = []string{command} }))
		if code != want || err == nil || !strings.Contains(err.Error(), command) {
			t.Errorf("%s: exit %d, %v", command, code, err)
		}
	}
	if _, err := New(Options{Sink: &memorySink{}}); err == nil {
		t.Error("no command was accepted")
	}
	if _, err := New(Options{Command: []string{"x"}}); err == nil {
		t.Error("no sink was accepted")
	}
}

func TestServerDiesInTheMiddleOfAMessage(t *testing.T) {
	client, in := io.Pipe()
	defer in.Close()
	go fmt.Fprintln(in, `{"id":1,"method":"tools/call","params":{"name":"x","arguments":{}}}`)
	var out bytes.Buffer
	sink := &memorySink{}
	code, _ := mustRun(t, under("die", func(o *Options) { o.Stdin, o.Stdout, o.Sink = client, &out, sink }))
	if code != 128+9 || out.String() != `{"jsonrpc":"2.0","id":1,"resu` {
		t.Errorf("exit %d, stdout %q", code, out.String())
	}
	list := events(t, sink.all())
	calls, broken := ofType(list, "tool_call"), ofType(list, "error")
	if len(calls) != 1 || calls[0].Outcome != "unknown" || calls[0].Reason != "server_exit" || len(broken) != 1 || broken[0].Labels["from"] != "server" {
		t.Errorf("events: %+v", list)
	}
	if last := list[len(list)-1]; last.Type != "heartbeat" || last.Labels["exit_code"] != "137" {
		t.Errorf("last event: %+v", last)
	}
}

// speaking lets the test read what the server says.
func speaking(t *testing.T, o *Options) *bufio.Reader {
	t.Helper()
	r, w := io.Pipe()
	o.Stdout = w
	t.Cleanup(func() { r.Close() })
	return bufio.NewReader(r)
}

func readyPID(t *testing.T, out *bufio.Reader) (pid int) {
	t.Helper()
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(line, "ready %d", &pid); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return pid
}

func TestSignalsAreForwarded(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		signals := make(chan os.Signal, 1)
		stdin, in := io.Pipe()
		o := under("signals", func(o *Options) { o.Signals, o.Stdin = signals, stdin })
		out := speaking(t, &o)
		done := make(chan int, 1)
		go func() {
			code, _ := Run(context.Background(), o)
			done <- code
		}()
		readyPID(t, out)
		signals <- s
		if line, _ := out.ReadString('\n'); strings.TrimSpace(line) != s.String() {
			t.Errorf("the server got %q for %v", line, s)
		}
		if code := <-done; code != 40 {
			t.Errorf("exit %d", code)
		}
		in.Close()
	}
}

// The tap as a process of its own: real signals, real pipes.
func TestTapProcess(t *testing.T) {
	begin := func(server string) (*exec.Cmd, io.WriteCloser, *bufio.Reader, int) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(as("tap"), "TAP_TEST_SERVER="+server)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		outPipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(outPipe)
		return cmd, in, out, readyPID(t, out)
	}
	t.Run("SIGTERM", func(t *testing.T) {
		cmd, in, out, _ := begin("signals")
		defer in.Close()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if line, _ := out.ReadString('\n'); line != "terminated\n" {
			t.Errorf("the server got %q", line)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 40 {
			t.Errorf("tap ended with %v", err)
		}
	})
	t.Run("SIGKILL takes the server along", func(t *testing.T) {
		if !takesAlong {
			t.Skip("this system has no parent-death signal")
		}
		cmd, in, _, pid := begin("stubborn")
		defer in.Close()
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		eventually(t, "the server is gone", func() bool { return gone(pid) })
	})
}

// gone also takes a zombie that waits for its reaper, who is not us.
func gone(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

func TestStubbornServerIsEndedWhenTheClientLeaves(t *testing.T) {
	stdin, in := io.Pipe()
	o := under("stubborn", func(o *Options) { o.Stdin, o.Grace = stdin, 50*time.Millisecond })
	out := speaking(t, &o)
	done := make(chan int, 1)
	go func() {
		code, _ := Run(context.Background(), o)
		done <- code
	}()
	pid := readyPID(t, out)
	in.Close()
	if code := <-done; code != 128+9 {
		t.Errorf("exit %d", code)
	}
	if !gone(pid) || syscall.Kill(pid, 0) == nil {
		t.Error("the server is still there, or a zombie")
	}
}

func TestEndOfContextEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	stdin, in := io.Pipe()
	defer in.Close()
	sink := &memorySink{}
	o := under("stubborn", func(o *Options) { o.Stdin, o.Sink, o.Grace = stdin, sink, 50*time.Millisecond })
	out := speaking(t, &o)
	done := make(chan int, 1)
	go func() {
		code, _ := Run(ctx, o)
		done <- code
	}()
	readyPID(t, out)
	cancel()
	if code := <-done; code != 128+9 {
		t.Errorf("exit %d", code)
	}
	if list := ofType(events(t, sink.all()), "heartbeat"); len(list) != 1 || list[0].Reason != "server_exit" {
		t.Errorf("heartbeats after the end of the context: %+v", list)
	}
}

func TestClosedClientOutputReachesTheServer(t *testing.T) {
	stdin, in := io.Pipe()
	defer in.Close()
	r, w := io.Pipe()
	r.Close()
	// It writes far more than a pipe holds: only a broken pipe lets it end.
	code, _ := mustRun(t, under("noise=5000000", func(o *Options) { o.Stdin, o.Stdout = stdin, w }))
	if code != 128+int(syscall.SIGPIPE) {
		t.Errorf("exit %d", code)
	}
}

// The client wants an end and does not read the rest: the tap ends all the same.
func TestEndsAlthoughTheClientDoesNotRead(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	stdin, in := io.Pipe()
	defer in.Close()
	r, w := io.Pipe()
	defer r.Close()
	first := make(chan struct{})
	go func() {
		defer close(first)
		_, _ = r.Read(make([]byte, 1)) // and never again
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = Run(ctx, under("noise=5000000", func(o *Options) { o.Stdin, o.Stdout, o.Grace = stdin, w, 50*time.Millisecond }))
	}()
	<-first
	cancel()
	eventually(t, "the tap ends", func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}
