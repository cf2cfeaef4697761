package tap

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const benchCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_text_file","arguments":{"path":"/srv/notes/todo.txt"}}}` + "\n"

// One round trip of a message through an echoing server: alone, under the tap,
// and under the tap while the sink hangs.
func BenchmarkRoundTrip(b *testing.B) {
	roundTrips := func(b *testing.B, in io.Writer, out io.Reader) {
		answers := bufio.NewReader(out)
		for b.Loop() {
			if _, err := io.WriteString(in, benchCall); err != nil {
				b.Fatal(err)
			}
			if _, err := answers.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("alone", func(b *testing.B) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = as("echo")
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		roundTrips(b, in, out)
		in.Close()
		_ = cmd.Wait()
	})
	for name, sink := range map[string]Sink{
		"tap":           sinkFunc(func(context.Context, [][]byte) error { return nil }),
		"tap-sink-hung": sinkFunc(func(ctx context.Context, _ [][]byte) error { <-ctx.Done(); return ctx.Err() }),
	} {
		b.Run(name, func(b *testing.B) {
			// Pipes of the system, as a client has them.
			stdin, in, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			out, stdout, err := os.Pipe()
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = Run(context.Background(), under("echo", func(o *Options) {
					o.Stdin, o.Stdout, o.Sink, o.FlushTimeout = stdin, stdout, sink, time.Millisecond
				}))
			}()
			roundTrips(b, in, out)
			in.Close()
			<-done
		})
	}
}

// Bytes through an echoing server, a megabyte a message: what the copy for the observer costs.
func BenchmarkThroughput(b *testing.B) {
	line := `{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("x", 1<<20) + "\"}\n"
	b.SetBytes(int64(len(line)))
	fr := framer{max: 1 << 20, emit: func(message) {}}
	now := time.Now()
	for b.Loop() {
		for rest := line; len(rest) > 0; rest = rest[min(len(rest), 64<<10):] {
			fr.feed([]byte(rest[:min(len(rest), 64<<10)]), now)
		}
	}
}

// What one call and its response cost the observer, beside the bytes' path.
func BenchmarkObserve(b *testing.B) {
	l := newLines(b, nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.client(benchCall[:len(benchCall)-1])
		l.server(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"milk, bread"}]}}`)
		for len(l.o.outbox.ch) > 0 {
			l.o.outbox.done(int64(len(<-l.o.outbox.ch)))
		}
		if l.tap.Stats().Dropped != 0 {
			b.Fatalf("dropped after %d", i)
		}
	}
}
