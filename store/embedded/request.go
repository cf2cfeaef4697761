package embedded

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// request is what one HTTP request asks for.
type request struct {
	work
	readOnly bool // by GET, as in ClickHouse
	protocol string

	head string // the query parameter
	url  map[string]string

	compress bool   // answer in ClickHouse's compressed blocks
	method   string // of those blocks
	encoding string // Content-Encoding of the answer
}

// notSettings are URL parameters that ClickHouse's HTTP interface keeps for itself.
var notSettings = map[string]bool{
	"query": true, "database": true, "default_format": true, "user": true, "password": true, "query_id": true,
	"quota_key": true, "stacktrace": true, "compress": true, "decompress": true, "client_protocol_version": true,
	"buffer_size": true, "wait_end_of_query": true, "role": true, "session_check": true, "session_timeout": true,
	"add_http_cors_header": true, "enable_http_compression": true, "log_comment": true, "readonly": true,
	"async_insert": true, "wait_for_async_insert": true, // see connect: an answer means "stored"
	"send_progress_in_http_headers": true, "http_headers_progress_interval_ms": true, "cancel_http_readonly_queries_on_client_close": true,
}

func parseRequest(r *http.Request) (*request, *Error) {
	q := r.URL.Query()
	if q.Has("session_id") {
		return nil, exception(codeNotImplemented, "HTTP sessions (session_id) do not exist in the embedded engine: send settings with each request")
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return nil, exception(codeNotImplemented, "External tables (multipart/form-data) do not exist in the embedded engine")
	}
	w := &request{url: map[string]string{}, head: q.Get("query"), protocol: q.Get("client_protocol_version")}
	w.readOnly = r.Method == http.MethodGet || r.Method == http.MethodHead
	w.database = first(q.Get("database"), r.Header.Get("X-ClickHouse-Database"), "default")
	w.format = first(r.Header.Get("X-ClickHouse-Format"), q.Get("default_format"), "TabSeparated")
	w.id = first(q.Get("query_id"), r.Header.Get("X-ClickHouse-Query-Id"), uuid.NewString())
	if len(w.id) > 256 {
		return nil, exception(codeBadArguments, "Query id is too long")
	}
	for name, values := range q {
		value := values[len(values)-1]
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			w.params = append(w.params, Param{param, value})
		} else if !notSettings[name] {
			w.settings = append(w.settings, Setting{name, value})
		}
	}
	w.compress = q.Get("compress") == "1"
	w.method = q.Get("network_compression_method")
	if q.Get("enable_http_compression") != "0" {
		w.encoding = acceptedEncoding(r.Header.Get("Accept-Encoding"))
	}
	return w, nil
}

// bound limits the result, unless the client chose a limit.
func (w *request) bound(bytes int64) {
	for _, s := range w.settings {
		if s.Name == "max_result_bytes" {
			return
		}
	}
	w.settings = append(w.settings, Setting{"max_result_bytes", strconv.FormatInt(bytes, 10)}, Setting{"result_overflow_mode", "throw"})
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// body decodes and reads the whole body. It is in memory before a connection is taken: a
// slow client must not hold the one writer, and half a body must insert nothing.
func (s *Server) body(r *http.Request) (body, *Error) {
	var in io.Reader = r.Body
	closer := func() {}
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, exception(codeCannotDecompres, "Cannot read gzip body: %s", err)
		}
		in = z
	case "deflate":
		z, err := zlib.NewReader(in)
		if err != nil {
			return nil, exception(codeCannotDecompres, "Cannot read deflate body: %s", err)
		}
		in = z
	case "br":
		in = brotli.NewReader(in)
	case "lz4":
		in = lz4.NewReader(in)
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(128<<20))
		if err != nil {
			return nil, exception(codeCannotDecompres, "Cannot read zstd body: %s", err)
		}
		in, closer = z, z.Close
	default:
		return nil, exception(codeNotImplemented, "Unknown Content-Encoding %q", enc)
	}
	defer closer()
	if r.URL.Query().Get("decompress") == "1" {
		in = blockReader{compress.NewReader(in)}
	}
	return s.read(in)
}

// pieces of bodies are used again: a body that is sent in chunks does not say how long it is,
// and a buffer that grows to its size takes twice of it.
var pieces = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// body is what was sent, in pieces.
type body [][]byte

func (s *Server) read(in io.Reader) (b body, bad *Error) {
	for left := s.o.MaxRequestBytes; left >= 0; left -= int64(len(b[len(b)-1])) {
		piece := pieces.Get().(*[256 << 10]byte)[:0]
		b = append(b, piece)
		for len(piece) < cap(piece) {
			n, err := in.Read(piece[len(piece):cap(piece)])
			piece = piece[:len(piece)+n]
			b[len(b)-1] = piece
			if err == io.EOF && int64(len(piece)) <= left {
				return b, nil
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				b.release()
				return nil, exception(codeNetwork, "Cannot read the request body: %s", err)
			}
		}
	}
	b.release()
	return nil, exception(codeTooLarge, "Request body is larger than %d bytes", s.o.MaxRequestBytes)
}

// release gives the memory back; nothing may use it any more.
func (b body) release() {
	for _, piece := range b {
		pieces.Put((*[256 << 10]byte)(piece[:cap(piece)]))
	}
}

// blockReader reads ClickHouse's compressed blocks. They have no end mark: the stream ends
// where a next block would begin, and anywhere else it is cut off.
type blockReader struct{ r *compress.Reader }

func (b blockReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && errors.Is(err, io.EOF) {
		if strings.HasSuffix(err.Error(), "header: EOF") {
			return n, io.EOF
		}
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// join makes the statement out of the query parameter and the body, and tells rows apart.
// Only the rows are still of the body.
func (w *request) join(b body) {
	if head, ok := splitInsert(w.head); ok {
		w.insert(head, w.head[head.data:], b)
		return
	}
	all := bytes.Join(b, nil)
	if w.head != "" && len(all) > 0 {
		all = append([]byte(w.head+"\n"), all...)
	}
	w.sql = w.head
	if len(all) > 0 {
		w.sql = unsafe.String(&all[0], len(all)) // nobody writes to all any more
	}
	if head, ok := splitInsert(w.sql); ok {
		w.insert(head, w.sql[head.data:], nil)
	}
}

// insert makes it one that brings its rows along.
func (w *request) insert(head insertHead, rows string, b body) {
	w.sql, w.format, w.set = head.sql, head.format, head.set
	w.rows = append([][]byte{unsafe.Slice(unsafe.StringData(rows), len(rows))}, b...)
}

// authenticate compares user and password in the order in which ClickHouse looks for them.
func (s *Server) authenticate(r *http.Request) *Error {
	q := r.URL.Query()
	user, password := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	if user == "" && password == "" {
		var ok bool
		if user, password, ok = r.BasicAuth(); !ok {
			user, password = q.Get("user"), q.Get("password")
		}
	}
	user = first(user, "default")
	right := subtle.ConstantTimeCompare([]byte(user), []byte(s.o.User))
	if s.o.Password != "" {
		right &= subtle.ConstantTimeCompare([]byte(password), []byte(s.o.Password))
	}
	if right == 1 {
		return nil
	}
	return &Error{Code: codeAuthentication, Message: fmt.Sprintf(
		"Code: %d. DB::Exception: %s: Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)", codeAuthentication, user)}
}
