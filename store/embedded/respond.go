package embedded

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// acceptedEncoding picks the first encoding of the header that we can write.
func acceptedEncoding(accept string) string {
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.ReplaceAll(params, " ", "") == "q=0" {
			continue
		}
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "gzip", "deflate", "br", "zstd", "lz4":
			return name
		}
	}
	return ""
}

func encoder(w io.Writer, encoding string) io.WriteCloser {
	switch encoding {
	case "gzip":
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		return z
	case "deflate":
		return zlib.NewWriter(w)
	case "br":
		return brotli.NewWriterLevel(w, 3)
	case "lz4":
		return lz4.NewWriter(w)
	case "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nopCloser{w} // cannot happen: the options are constant
		}
		return z
	default:
		return nopCloser{w}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// blockWriter writes ClickHouse's compressed blocks, the way compress=1 asks for.
type blockWriter struct {
	w io.Writer
	z *compress.Writer
}

const blockSize = 1 << 20

func newBlockWriter(w io.Writer, method string) *blockWriter {
	m := compress.LZ4
	if strings.EqualFold(method, "ZSTD") {
		m = compress.ZSTD
	}
	return &blockWriter{w, compress.NewWriter(compress.LevelZero, m)}
}

func (b *blockWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), blockSize)
		if err := b.z.Compress(rest[:n]); err != nil {
			return 0, err
		}
		if _, err := b.w.Write(b.z.Data); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// responseBuffer is how much of an answer is held back so that an exception can still
// become a status.
const responseBuffer = 1 << 20

// response holds the beginning of an answer back, and encodes it.
type response struct {
	w     http.ResponseWriter
	req   *request
	limit int
	tag   string

	held    bytes.Buffer
	started bool
	out     io.Writer
	encode  io.WriteCloser
}

func (s *Server) newResponse(w http.ResponseWriter, req *request, waitEnd bool) *response {
	h := w.Header()
	r := &response{w: w, req: req, limit: responseBuffer, tag: newTag()}
	if waitEnd {
		r.limit = 64 << 20
	}
	h.Set("X-ClickHouse-Query-Id", req.id)
	h.Set("X-ClickHouse-Exception-Tag", r.tag)
	return r
}

func (r *response) Write(p []byte) (int, error) {
	if !r.started {
		if r.held.Len()+len(p) <= r.limit {
			return r.held.Write(p)
		}
		if err := r.start(http.StatusOK); err != nil {
			return 0, err
		}
	}
	r.allow()
	return r.out.Write(p)
}

// allow gives the client time for the next piece: one that stalls holds a connection of the engine.
func (r *response) allow() {
	_ = http.NewResponseController(r.w).SetWriteDeadline(time.Now().Add(stall))
}

// start sends the status and what was held back.
func (r *response) start(status int) error {
	r.started = true
	r.allow()
	if r.req.encoding != "" {
		r.w.Header().Set("Content-Encoding", r.req.encoding)
	}
	r.w.Header().Add("Vary", "Accept-Encoding")
	r.w.WriteHeader(status)
	r.encode = encoder(r.w, r.req.encoding)
	r.out = r.encode
	if r.req.compress {
		r.out = newBlockWriter(r.encode, r.req.method)
	}
	_, err := r.out.Write(r.held.Bytes())
	r.held = bytes.Buffer{}
	return err
}

// finish ends a good answer.
func (r *response) finish(st Stats) error {
	if !r.started {
		r.w.Header().Set("X-ClickHouse-Summary", summary(st, r.held.Len()))
		if r.held.Len() == 0 { // clickhouse-go reads an empty result off the length
			r.w.Header().Set("Content-Length", "0")
			r.w.WriteHeader(http.StatusOK)
			return nil
		}
		if err := r.start(http.StatusOK); err != nil {
			return err
		}
	}
	return r.encode.Close()
}

// fail ends an answer with an exception, by status if that is still possible.
func (r *response) fail(code int, msg string) {
	if r.started {
		out := r.out
		if r.req.compress { // the client looks for the frame in the bytes as they come
			out = &blockWriter{r.encode, compress.NewWriter(compress.LevelZero, compress.None)}
		}
		_, _ = io.WriteString(out, midStream(r.tag, msg))
		_ = r.encode.Close()
		return
	}
	r.held = *bytes.NewBufferString(msg)
	h := r.w.Header()
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	if err := r.start(httpStatus(code)); err == nil {
		_ = r.encode.Close()
	}
}

func summary(st Stats, bytes int) string {
	return fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d","written_bytes":"%d","total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d","elapsed_ns":"%d"}`,
		st.ReadRows, st.ReadBytes, st.WrittenRows, st.WrittenBytes, st.ResultRows, bytes, int64(st.Elapsed*1e9))
}

// contentType follows ClickHouse's output formats.
func contentType(format string) string {
	f := strings.ToLower(format)
	switch {
	case strings.HasPrefix(f, "jsoneachrow"), strings.HasPrefix(f, "jsoncompacteachrow"), strings.HasPrefix(f, "jsonstringseachrow"), strings.HasPrefix(f, "prettyjsoneachrow"), strings.HasPrefix(f, "ndjson"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(f, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(f, "csv"):
		return "text/csv; charset=UTF-8; header=" + map[bool]string{true: "present", false: "absent"}[strings.Contains(f, "withnames")]
	case strings.HasPrefix(f, "tabseparated"), strings.HasPrefix(f, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case f == "xml":
		return "application/xml; charset=UTF-8"
	case strings.HasPrefix(f, "pretty"), f == "vertical", f == "values", f == "markdown", f == "sqlinsert", f == "null":
		return "text/plain; charset=UTF-8"
	default:
		return "application/octet-stream"
	}
}
