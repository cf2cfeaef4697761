package tap

import (
	"bytes"
	"io"
	"time"
)

type direction uint8

const (
	toServer direction = iota
	toClient
)

func (d direction) String() string {
	if d == toServer {
		return "client"
	}
	return "server"
}

// message is one line of one direction.
type message struct {
	dir  direction
	at   time.Time // when its last byte was read, before it was passed on
	head []byte    // whole line, or its first bytes where it is too long
	tail []byte    // last bytes of a line that is too long
	size int64     // length of the line as it went by
}

func (m *message) cut() bool { return m.size > int64(len(m.head)) }

func (m *message) held() int64 { return int64(cap(m.head) + cap(m.tail)) }

const tailBytes = 512

// framer cuts a stream into lines. One goroutine owns it; emit must not block.
type framer struct {
	dir  direction
	max  int
	emit func(message)

	head, tail []byte
	size       int64
}

func (f *framer) feed(chunk []byte, at time.Time) {
	for len(chunk) > 0 {
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			f.add(chunk)
			return
		}
		f.add(chunk[:i])
		f.flush(at)
		chunk = chunk[i+1:]
	}
}

func (f *framer) add(p []byte) {
	f.size += int64(len(p))
	if room := f.max - len(f.head); room > 0 {
		n := min(room, len(p))
		f.head = append(f.head, p[:n]...)
		p = p[n:]
	}
	if len(p) == 0 {
		return
	}
	// Only what exceeds the head: a line that is cut is longer than max, so its end is here.
	p = p[max(0, len(p)-tailBytes):]
	f.tail = append(f.tail[max(0, min(len(f.tail), len(f.tail)+len(p)-tailBytes)):], p...)
}

// flush ends the current line; blank lines are nothing.
func (f *framer) flush(at time.Time) {
	m := message{dir: f.dir, at: at, head: f.head, tail: f.tail, size: f.size}
	f.head, f.tail, f.size = nil, nil, 0
	if len(bytes.TrimSpace(m.head)) > 0 || m.cut() {
		f.emit(m)
	}
}

// pass copies src to dst and shows f a copy of what went by, after it went by.
// When dst fails and drain is set, it goes on reading, so that the sender is
// not blocked by a receiver that is gone.
func pass(dst io.Writer, src io.Reader, f *framer, now func() time.Time, before func(), drain bool) (written int64, err error) {
	buf := make([]byte, 64<<10)
	for {
		before()
		n, rerr := src.Read(buf)
		if n > 0 {
			at := now()
			if err == nil {
				var w int
				w, err = dst.Write(buf[:n])
				written += int64(w)
			}
			if f != nil {
				f.feed(buf[:n], at)
			}
			if err != nil && !drain {
				return written, err
			}
		}
		if rerr != nil {
			if f != nil {
				f.flush(now())
			}
			if rerr == io.EOF {
				rerr = nil
			}
			if err == nil {
				err = rerr
			}
			return written, err
		}
	}
}
