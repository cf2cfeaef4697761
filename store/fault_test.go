package store

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"picket/store/embedded/embeddedtest"
)

// What a proxy does to one insert.
const (
	passOn    = 'p'
	refuse    = 'r' // 503 before the engine sees it
	drop      = 'd' // the connection breaks before the engine sees it
	cutBody   = 'c' // the connection breaks in the middle of the rows
	loseReply = 'l' // stored, and the connection breaks before the answer
	garble    = 'g' // stored, and the answer is not ClickHouse's
)

// faulty is a proxy in front of the engine: the n-th insert meets the n-th letter of its plan.
type faulty struct {
	plan    string
	inserts atomic.Int64
	to      *url.URL
	rt      http.RoundTripper
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	letter := byte(passOn)
	if q := r.URL.Query().Get("query"); strings.HasPrefix(q, "INSERT") {
		if n := int(f.inserts.Add(1)) - 1; n < len(f.plan) {
			letter = f.plan[n]
		}
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(f.to); p.Out.Host = p.In.Host },
		Transport: f.rt,
	}
	switch letter {
	case refuse:
		http.Error(w, "upstream is away", http.StatusServiceUnavailable)
	case drop:
		panic(http.ErrAbortHandler)
	case cutBody:
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body[:len(body)/2])))
		r.ContentLength = int64(len(body) / 2)
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case loseReply:
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case garble:
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
	default:
		proxy.ServeHTTP(w, r)
	}
}

// plans are all ways in which the first inserts may go wrong, two faults long for each of
// dead letters, events and ledger.
func plans() []string {
	out := []string{""}
	for _, a := range "rdclg" {
		for _, where := range []string{"", "p", "pp"} {
			out = append(out, where+string(a))
			for _, b := range "dl" {
				out = append(out, where+string(a)+string(b))
			}
		}
	}
	return out
}

func TestFaultPairs(t *testing.T) {
	slow(t)
	c := fromDSN(t, embeddedtest.Start(t))
	engine, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	for i, plan := range plans() {
		t.Run("plan "+plan, func(t *testing.T) {
			f := &faulty{plan: plan, to: engine, rt: http.DefaultTransport}
			s := httptest.NewServer(f)
			t.Cleanup(s.Close)
			cc := c
			cc.URL, cc.Database = s.URL, fmt.Sprintf("%s_%d", c.Database, i)
			cc.Compression = []Compression{NoCompression, LZ4, ZSTD}[i%3]
			direct := cc
			direct.URL = c.URL
			db := dial(t, direct)
			if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
				t.Fatal(err)
			}
			w := NewWriter(dial(t, cc), WriterOptions{})
			faults := 0
			for {
				id, b := batch(w, 0, 100) // each attempt as after a crash: everything made anew
				err := w.Insert(t.Context(), id, b)
				if err == nil {
					break
				}
				if Classify(err) != Retry {
					t.Fatalf("class %v: %v", Classify(err), err)
				}
				if faults++; faults > len(plan) {
					t.Fatalf("%d faults by a plan of %d: %v", faults, len(plan), err)
				}
			}
			if want := len(strings.Trim(plan, "p")); faults < want-1 { // the client itself may repeat once
				t.Errorf("%d faults seen of %d", faults, want)
			}
			checkExact(t, db, 0, 100)
			wantNumber(t, db, 1, "SELECT count() FROM {db}.ingest_ledger")
			wantNumber(t, db, 2, "SELECT count() FROM {db}.dead_letters")
		})
	}
}
