package tap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The test binary is also the servers under the tap, and the tap itself.
func TestMain(m *testing.M) {
	switch role := os.Getenv("TAP_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "tap":
		os.Exit(tapProcess())
	default:
		os.Exit(fakeServer(role))
	}
}

func tapProcess() int {
	code, err := Run(context.Background(), Options{
		Command: []string{os.Args[0]}, Environ: as(os.Getenv("TAP_TEST_SERVER")), Sink: &memorySink{},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

func as(role string) []string { return append(os.Environ(), "TAP_TEST_ROLE="+role) }

func fakeServer(role string) int {
	name, arg, _ := strings.Cut(role, "=")
	switch name {
	case "echo": // what comes in goes out
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "noise": // arg bytes of anything, to both outputs
		n, _ := strconv.Atoi(arg)
		_, _ = os.Stdout.Write(garbage(n))
		_, _ = os.Stderr.Write(garbage(n))
	case "exit":
		n, _ := strconv.Atoi(arg)
		return n
	case "die": // in the middle of a message, by a signal
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Print(`{"jsonrpc":"2.0","id":1,"resu`)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "signals": // tells which signal came, and ends
		ch := make(chan os.Signal, 1)
		signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		fmt.Println("ready", os.Getpid())
		fmt.Println(<-ch)
		return 40
	case "stubborn": // neither the end of stdin nor SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready", os.Getpid())
		select {}
	case "script": // answers each line with a fixed response to its id, taken from the environment
		var answers map[string]json.RawMessage
		_ = json.Unmarshal([]byte(arg), &answers)
		in := bufio.NewScanner(os.Stdin)
		in.Buffer(nil, 8<<20)
		for in.Scan() {
			var req struct{ ID json.RawMessage }
			if json.Unmarshal(in.Bytes(), &req) == nil && answers[string(req.ID)] != nil {
				fmt.Printf("%s\n", answers[string(req.ID)])
			}
		}
	}
	return 0
}

// garbage is repeatable binary with newlines, quotes and braces in it.
func garbage(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// memorySink keeps what it gets.
type memorySink struct {
	mu      sync.Mutex
	records [][]byte
}

func (s *memorySink) Send(_ context.Context, records [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		s.records = append(s.records, bytes.Clone(r))
	}
	return nil
}

func (s *memorySink) all() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.records...)
}

// sinkFunc makes a function a Sink.
type sinkFunc func(ctx context.Context, records [][]byte) error

func (f sinkFunc) Send(ctx context.Context, records [][]byte) error { return f(ctx, records) }

var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.Compile("testdata/event.schema.json")
})

// events checks every record against the schema and the consumer's limits, and decodes it.
func events(tb testing.TB, records [][]byte) []event {
	tb.Helper()
	s, err := schema()
	if err != nil {
		tb.Fatal(err)
	}
	var list []event
	seqs := int64(-1)
	for _, r := range records {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(r))
		if err != nil {
			tb.Fatalf("record is not JSON: %v\n%s", err, r)
		}
		if err := s.Validate(v); err != nil {
			tb.Fatalf("%v\n%s", err, r)
		}
		if len(r) > 256<<10 {
			tb.Fatalf("record has %d bytes", len(r))
		}
		if depth := depthOf(r); depth > 32 {
			tb.Fatalf("record is %d deep", depth)
		}
		if keys := keysOf(v); keys > 512 {
			tb.Fatalf("record has %d keys", keys)
		}
		var e event
		if err := json.Unmarshal(r, &e); err != nil {
			tb.Fatal(err)
		}
		if int64(e.Seq) <= seqs {
			tb.Fatalf("seq %d after %d", e.Seq, seqs)
		}
		seqs = int64(e.Seq)
		list = append(list, e)
	}
	return list
}

func keysOf(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, e := range v {
			n += keysOf(e)
		}
	case []any:
		for _, e := range v {
			n += keysOf(e)
		}
	}
	return n
}

// lines is an observer without processes: lines in, events out.
type lines struct {
	tb   testing.TB
	o    *observer
	tap  *Tap
	now  time.Time
	sink memorySink
}

func newLines(tb testing.TB, change func(*Options)) *lines {
	tb.Helper()
	l := &lines{tb: tb, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	opt := Options{Command: []string{"/usr/bin/notes-server"}, Sink: &l.sink, ClientID: "local:ann@desk", Instance: "desk:1:00", Now: func() time.Time { return l.now }}
	if change != nil {
		change(&opt)
	}
	t, err := New(opt)
	if err != nil {
		tb.Fatal(err)
	}
	l.tap = t
	l.o = t.observer(newQueue[message](10, 1<<30), newQueue[[]byte](t.opt.Buffer, t.opt.BufferBytes), make(chan struct{}, 1))
	return l
}

// line lets one line go by, one millisecond after the one before.
func (l *lines) line(dir direction, text string) {
	l.now = l.now.Add(time.Millisecond)
	f := framer{dir: dir, max: l.tap.opt.MaxMessage, emit: l.o.observe}
	f.feed([]byte(text+"\n"), l.now)
}

func (l *lines) client(text string) { l.line(toServer, text) }
func (l *lines) server(text string) { l.line(toClient, text) }

func (l *lines) events() []event {
	l.tb.Helper()
	l.o.greeted()
	for len(l.o.outbox.ch) > 0 {
		r := <-l.o.outbox.ch
		l.o.outbox.done(int64(len(r)))
		_ = l.sink.Send(context.Background(), [][]byte{r})
	}
	return events(l.tb, l.sink.all())
}

func ofType(list []event, kind string) (some []event) {
	for _, e := range list {
		if e.Type == kind {
			some = append(some, e)
		}
	}
	return some
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("still not so after 20 s: %s", what)
		}
	}
}
