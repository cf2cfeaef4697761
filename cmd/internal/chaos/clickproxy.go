//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// clickProxy stands between one picket and ClickHouse.
type clickProxy struct {
	name   string // of the process
	to     string // host:port of the engine
	gate   *gate
	stored func(who string, p point) // hears of every insert that took effect
	weak   string
	rt     *http.Transport
	srv    *http.Server
	addr   string
}

func (p *clickProxy) start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.addr = l.Addr().String()
	// A connection of its own for each request: one that died with the engine fails nobody else.
	p.rt = &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 2 * time.Minute}
	p.srv = &http.Server{Handler: p}
	go func() { _ = p.srv.Serve(l) }()
	return nil
}

func (p *clickProxy) stop() { _ = p.srv.Close() }

// ServeHTTP reads the whole request before the gate sees it, and goes on when the client is
// dead: a request that was sent is on its way, whatever becomes of its sender.
func (p *clickProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client died in the middle of it
	}
	q := r.URL.Query()
	pt, isInsert := insertPoint(q)
	if isInsert && p.weak == weakToken {
		q.Set("insert_deduplicate", "0")
		q.Set("deduplicate_insert", "disable") // which newer servers go by
	}
	if isInsert && !p.gate.pass(pt) {
		panic(http.ErrAbortHandler)
	}
	out := r.Clone(context.Background())
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host, out.URL.RawQuery = "http", p.to, q.Encode()
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res, err := p.rt.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if isInsert && res.StatusCode == http.StatusOK {
		pt.after = true
		p.stored(p.name, pt)
		if !p.gate.pass(pt) {
			panic(http.ErrAbortHandler)
		}
	}
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(answer)
}

var insertInto = regexp.MustCompile("^INSERT INTO `?\\w+`?\\.`?(\\w+)`?")

// insertPoint reads what an insert is about from its statement and its token.
func insertPoint(q url.Values) (point, bool) {
	m := insertInto.FindStringSubmatch(q.Get("query"))
	if m == nil {
		return point{}, false
	}
	p := point{kind: insert, table: m[1], partition: -1, begin: -1, end: -1}
	// topic:partition:begin-end, and more after a slash
	token := strings.Split(q.Get("insert_deduplication_token"), ":")
	if len(token) < 3 {
		return p, true
	}
	part, err1 := strconv.ParseInt(token[1], 10, 32)
	borders, _, _ := strings.Cut(token[2], "/")
	from, to, _ := strings.Cut(borders, "-")
	begin, err2 := strconv.ParseInt(from, 10, 64)
	end, err3 := strconv.ParseInt(to, 10, 64)
	if err1 == nil && err2 == nil && err3 == nil {
		p.partition, p.begin, p.end = int32(part), begin, end
	}
	return p, true
}
