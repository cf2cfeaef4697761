package channeltest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

type faultKind int

const (
	failWith faultKind = iota
	hang
	acceptDrop
	answerWith
)

type fault struct {
	kind   faultKind
	status int
	header http.Header
	body   string
}

// Wire is the part that the fakes share: how to reach them, and how to make
// them fail. Its methods may be called from any goroutine.
type Wire struct {
	tb     testing.TB
	handle http.Handler

	mu     sync.Mutex
	faults []fault
	down   bool
	count  int
	server *httptest.Server
}

// FailNext answers the next n requests with the status; they have no effect. A
// 429 says Retry-After: 3.
func (w *Wire) FailNext(n, status int) {
	h := http.Header{}
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", "3")
	}
	w.add(n, fault{kind: failWith, status: status, header: h, body: http.StatusText(status)})
}

// AnswerNext answers the next request with a status and a body; it has no effect.
func (w *Wire) AnswerNext(status int, body string) {
	w.add(1, fault{kind: answerWith, status: status, body: body})
}

// HangNext gives the next n requests no answer until the caller gives up.
func (w *Wire) HangNext(n int) { w.add(n, fault{kind: hang}) }

// AcceptButDrop lets the next n requests have their effect and then breaks the
// connection: failed, but persisted.
func (w *Wire) AcceptButDrop(n int) { w.add(n, fault{kind: acceptDrop}) }

// SetDown makes every request fail with 503 until it is called with false.
func (w *Wire) SetDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

// Requests is how many requests came in, failed ones included.
func (w *Wire) Requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// URL is the fake's address on loopback; the first call starts the server.
func (w *Wire) URL() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server == nil {
		w.server = httptest.NewServer(http.HandlerFunc(w.serve))
		w.tb.Cleanup(func() {
			w.server.CloseClientConnections()
			w.server.Close()
		})
	}
	return w.server.URL
}

// Client reaches the fake without a socket, at any address.
func (w *Wire) Client() *http.Client { return &http.Client{Transport: direct{w}} }

func (w *Wire) add(n int, f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range n {
		w.faults = append(w.faults, f)
	}
}

func (w *Wire) next() (fault, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	if w.down {
		return fault{kind: failWith, status: http.StatusServiceUnavailable, body: "down"}, true
	}
	if len(w.faults) == 0 {
		return fault{}, false
	}
	f := w.faults[0]
	w.faults = w.faults[1:]
	return f, true
}

var errDropped = errors.New("connection reset by the fake")

// answer returns errDropped where a client sees the connection break.
func (w *Wire) answer(r *http.Request) (*httptest.ResponseRecorder, error) {
	// Read first: a server notices that the client left only after that.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	f, broken := w.next()
	if broken {
		switch f.kind {
		case hang:
			<-r.Context().Done()
			return nil, r.Context().Err()
		case acceptDrop:
			w.handle.ServeHTTP(rec, r)
			return nil, errDropped
		default:
			for k, v := range f.header {
				rec.Header()[k] = v
			}
			rec.WriteHeader(f.status)
			_, _ = rec.WriteString(f.body)
			return rec, nil
		}
	}
	w.handle.ServeHTTP(rec, r)
	return rec, nil
}

func (w *Wire) serve(rw http.ResponseWriter, r *http.Request) {
	rec, err := w.answer(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for k, v := range rec.Header() {
		rw.Header()[k] = v
	}
	rw.WriteHeader(rec.Code)
	_, _ = rw.Write(rec.Body.Bytes())
}

// direct is an http.RoundTripper into the handler.
type direct struct{ w *Wire }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = r.URL.RequestURI()
	rec, err := d.w.answer(in)
	if err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}
