package embedded

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"unsafe"
)

// Param is a value for a {name:Type} placeholder, in ClickHouse's escaped text form.
type Param struct{ Name, Value string }

// Stats are the engine's figures of one statement.
type Stats struct {
	ReadRows, ReadBytes, WrittenRows, WrittenBytes, ResultRows uint64
	Elapsed                                                    float64
}

// Error is an exception of the engine.
type Error struct {
	Code    int
	Message string // as ClickHouse words it: "Code: 60. DB::Exception: ..."
}

func (e *Error) Error() string { return e.Message }

var (
	codePrefix   = regexp.MustCompile(`^(?:Code: (\d+)\. DB::Exception: )+`)
	errNoMessage = errors.New("libchdb gave no result and no reason")
)

// newError reads the code. libchdb wraps a message once per layer ("Code: 60.
// DB::Exception: Code: 60. ..."); clients expect one.
func newError(msg string) *Error {
	m := codePrefix.FindStringSubmatchIndex(msg)
	if m == nil {
		return &Error{Code: 1002, Message: "Code: 1002. DB::Exception: " + msg + " (UNKNOWN_EXCEPTION)"}
	}
	code, _ := strconv.Atoi(msg[m[2]:m[3]])
	return &Error{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s", code, msg[m[1]:])}
}

// conn is one libchdb connection: a session that runs one statement at a time. Whoever
// took it from its pool owns it until it is put back.
type conn struct {
	lib    *library
	handle *uintptr
}

func (l *library) open(args ...string) (*conn, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]*byte, 0, len(args)+2)
	for _, a := range append([]string{"clickhouse"}, args...) {
		b := append([]byte(a), 0)
		pin.Pin(&b[0])
		argv = append(argv, &b[0])
	}
	argc := int32(len(argv))
	argv = append(argv, nil)
	var h *uintptr
	l.keepSignals(func() { h = l.connect(argc, &argv[0]) })
	if h == nil || *h == 0 {
		return nil, errors.New("libchdb refused the connection")
	}
	return &conn{lib: l, handle: h}, nil
}

func (c *conn) close() {
	c.lib.keepSignals(func() { c.lib.closeConn(c.handle) })
	c.handle = nil
}

// run executes sql and hands the whole result to w.
func (c *conn) run(w io.Writer, sql, format string, params []Param) (Stats, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	p := newParams(&pin, params)
	s, n := cBytes(sql)
	f, fn := cBytes(format)
	names, nameLens, values, valueLens, np := p.args()
	r := c.lib.query(*c.handle, s, n, f, fn, names, nameLens, values, valueLens, np)
	runtime.KeepAlive(p)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	return c.take(w, r)
}

// exec runs a statement whose result nobody reads.
func (c *conn) exec(sql string) error {
	_, err := c.run(io.Discard, sql, "TSV", nil)
	return err
}

// take copies a result out of C memory and frees it.
func (c *conn) take(w io.Writer, r uintptr) (Stats, error) {
	if r == 0 {
		return Stats{}, errNoMessage
	}
	defer c.lib.free(r)
	if msg := c.lib.resultError(r); msg != "" {
		return Stats{}, newError(msg)
	}
	st := Stats{
		ReadRows: c.lib.scannedRows(r), ReadBytes: c.lib.scannedBytes(r), ResultRows: c.lib.rowsRead(r),
		WrittenRows: c.lib.rowsWritten(r), WrittenBytes: c.lib.bytesWritten(r), Elapsed: c.lib.elapsed(r),
	}
	if n := c.lib.length(r); n > 0 {
		if _, err := w.Write(unsafe.Slice(c.lib.buffer(r), n)); err != nil {
			return st, &clientError{err}
		}
	}
	return st, nil
}

// clientError is a failure to give or take bytes on the client's side.
type clientError struct{ err error }

func (e *clientError) Error() string { return e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// stream executes a SELECT and hands its result to w chunk by chunk.
func (c *conn) stream(w io.Writer, sql, format string, params []Param) (Stats, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	p := newParams(&pin, params)
	s, n := cBytes(sql)
	f, fn := cBytes(format)
	names, nameLens, values, valueLens, np := p.args()
	h := c.lib.streamQuery(*c.handle, s, n, f, fn, names, nameLens, values, valueLens, np)
	runtime.KeepAlive(p)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	if h == 0 {
		return Stats{}, errNoMessage
	}
	defer c.lib.free(h)
	if msg := c.lib.resultError(h); msg != "" {
		if strings.Contains(msg, "Streaming query is not supported for query") {
			return c.run(w, sql, format, params) // refused before anything ran
		}
		return Stats{}, newError(msg)
	}
	var total Stats
	for {
		chunk := &countWriter{w: w}
		st, err := c.take(chunk, c.lib.streamFetch(*c.handle, h))
		total.ReadRows += st.ReadRows
		total.ReadBytes += st.ReadBytes
		total.ResultRows += st.ResultRows
		if err != nil {
			c.lib.streamStop(*c.handle, h)
			return total, err
		}
		if chunk.n == 0 {
			return total, nil
		}
	}
}

type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// insert runs an INSERT without FORMAT clause with the rows in data.
func (c *conn) insert(sql, format string, params []Param, data [][]byte) (Stats, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	p := newParams(&pin, params)
	s, n := cBytes(sql)
	f, fn := cBytes(format)
	names, nameLens, values, valueLens, np := p.args()
	h := c.lib.insert(*c.handle, s, n, f, fn, names, nameLens, values, valueLens, np)
	runtime.KeepAlive(p)
	runtime.KeepAlive(sql)
	runtime.KeepAlive(format)
	if h == 0 {
		return Stats{}, errNoMessage
	}
	defer c.lib.insertFree(h)
	if msg := c.lib.insertError(h); msg != "" {
		return Stats{}, newError(msg)
	}
	const most = 1 << 20 // at once
	for _, piece := range data {
		for len(piece) > 0 {
			n := min(len(piece), most)
			if c.lib.insertAppend(h, &piece[0], uintptr(n)) != 0 {
				return c.take(io.Discard, c.lib.insertDone(h)) // which says why
			}
			piece = piece[n:]
		}
	}
	return c.take(io.Discard, c.lib.insertDone(h))
}

// Statement classes of chdb_classify_query_n.
const (
	classReadOnly = 0
	classControl  = 3
	classUnknown  = 4
)

// classify asks the engine's own parser what sql would do. Nothing runs.
func (c *conn) classify(sql string) (analysis, error) {
	a := analysis{size: uint32(unsafe.Sizeof(analysis{}))}
	s, n := cBytes(sql)
	rc := c.lib.classify(*c.handle, s, n, nil, 0, &a)
	runtime.KeepAlive(sql)
	if rc != 0 {
		return a, errors.New("classify the statement: libchdb refused")
	}
	return a, nil
}
