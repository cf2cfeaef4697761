package tap

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// Whatever goes by, in whatever chunks: no panic, and every event is one that the consumer takes.
func FuzzObserver(f *testing.F) {
	f.Add([]byte(hello+"\n"+helloBack+"\n"), uint16(7), uint16(100))
	f.Add([]byte(`[{"id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":1,"A":2}}}]`+"\n"+`{"id":1,"result":{"isError":true,"content":[{"text":"forbidden"}]}}`+"\n"), uint16(1), uint16(1000))
	f.Add([]byte("\x00\xff{\"id\":1e5,\"error\":[]}\n{\"id\":{},\"method\":3}\n"), uint16(3), uint16(16))
	if fixture, err := os.ReadFile(filesystemFixture); err == nil {
		f.Add(bytes.ReplaceAll(bytes.ReplaceAll(fixture, []byte(`{"from":"client","line":`), nil), []byte("}}\n"), []byte("}\n")), uint16(900), uint16(5000))
	}
	f.Fuzz(func(t *testing.T, data []byte, chunk, most uint16) {
		l := newLines(t, func(o *Options) { o.MaxMessage, o.DigestKey, o.MaxCalls = int(most)+1, []byte("k"), 3 })
		total := int64(len(data))
		observe := func(m message) {
			if m.size > total || len(m.head) > l.tap.opt.MaxMessage || len(m.tail) > tailBytes {
				t.Fatalf("message of %d, head %d, tail %d", m.size, len(m.head), len(m.tail))
			}
			l.o.observe(m)
		}
		framers := []framer{{dir: toServer, max: l.tap.opt.MaxMessage, emit: observe}, {dir: toClient, max: l.tap.opt.MaxMessage, emit: observe}}
		for i := 0; len(data) > 0; i++ {
			n := min(int(chunk)+1, len(data))
			l.now = l.now.Add(time.Millisecond)
			framers[i%2].feed(data[:n], l.now)
			data = data[n:]
		}
		for i := range framers {
			framers[i].flush(l.now)
		}
		if st := l.tap.Stats(); l.o.panics != 0 {
			t.Fatalf("the observer panicked; %+v", st)
		}
		l.o.finish(0)
		l.events()
	})
}

// The framer must find the same lines however the bytes are cut.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("a\n\nbcd\nlonger than the limit\nx"), uint8(3), uint8(5))
	f.Fuzz(func(t *testing.T, data []byte, chunk, most uint8) {
		var got []message
		fr := framer{max: int(most) + 1, emit: func(m message) { got = append(got, m) }}
		for rest := data; len(rest) > 0; {
			n := min(int(chunk)+1, len(rest))
			fr.feed(rest[:n], time.Time{})
			rest = rest[n:]
		}
		fr.flush(time.Time{})
		for _, line := range bytes.Split(data, []byte("\n")) {
			head := line[:min(len(line), int(most)+1)]
			if len(line) == len(head) && len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			if len(got) == 0 {
				t.Fatalf("no message for %q", line)
			}
			m := got[0]
			got = got[1:]
			if !bytes.Equal(m.head, head) || m.size != int64(len(line)) || m.cut() && !bytes.HasSuffix(line, m.tail) {
				t.Fatalf("%q became %q … %q of %d", line, m.head, m.tail, m.size)
			}
		}
		if len(got) != 0 {
			t.Fatalf("%d messages too many", len(got))
		}
	})
}
