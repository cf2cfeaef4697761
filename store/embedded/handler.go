package embedded

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// ServeHTTP is ClickHouse's HTTP interface.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-ClickHouse-Server-Display-Name", "picket-embedded")
	h.Set("X-ClickHouse-Timezone", s.engine.timezone)
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.URL.Path {
	case "/":
	case "/ping", "/replicas_status":
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		_, _ = io.WriteString(w, "Ok.\n")
		return
	default:
		http.Error(w, "There is no handle "+r.URL.Path+"\n\nUse / or /ping.", http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if r.Method != http.MethodPost && r.URL.RawQuery == "" {
		_, _ = io.WriteString(w, "Ok.\n") // ClickHouse's answer to somebody who looks whether it is there
		return
	}
	req, bad := parseRequest(r)
	if bad != nil {
		s.newResponse(w, &request{}, false).fail(bad.Code, s.text(bad))
		return
	}
	out := s.newResponse(w, req, r.URL.Query().Get("wait_end_of_query") == "1")
	if bad := s.authenticate(r); bad != nil {
		out.fail(bad.Code, s.text(bad))
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		e := exception(codeTooManyQueries, "Too many simultaneous queries. Maximum: %d", s.o.MaxRequests)
		out.fail(e.Code, s.text(e))
		return
	}
	st, err := s.answer(r, req, out)
	if err != nil {
		e := asError(err)
		var client *clientError
		if !errors.As(err, &client) {
			s.o.Logger.Debug("embedded ClickHouse refused a statement", "query_id", req.id, "code", e.Code)
		}
		out.fail(e.Code, s.text(e))
		return
	}
	_ = out.finish(st) // the client is gone, nothing is left to do
}

// stall is how long a client may take to send a body, or to take a piece of an answer.
const stall = time.Minute

func (s *Server) answer(r *http.Request, req *request, out *response) (Stats, error) {
	// Bodies are in memory, so only a few requests may have one at a time.
	if r.ContentLength != 0 {
		select {
		case s.bodies <- struct{}{}:
			defer func() { <-s.bodies }()
		case <-r.Context().Done():
			return Stats{}, &clientError{r.Context().Err()}
		}
	}
	// A client that stalls must give its place up. Afterwards a read may take its time.
	control := http.NewResponseController(out.w)
	_ = control.SetReadDeadline(time.Now().Add(stall)) // what is no network connection cannot stall
	body, bad := s.body(r)
	_ = control.SetReadDeadline(time.Time{})
	if bad != nil {
		return Stats{}, bad
	}
	defer body.release()
	req.join(body)
	if handled, err := req.hello(out, s.engine); handled {
		return Stats{ResultRows: 1}, err
	}
	if bad := req.fence(); bad != nil {
		return Stats{}, bad
	}
	if req.rows != nil {
		if req.readOnly {
			return Stats{}, getIsReadOnly()
		}
		return s.engine.do(r.Context(), s.engine.writer, req.work, out)
	}
	return s.route(r, req, out)
}

func getIsReadOnly() *Error {
	return exception(codeReadOnly, "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries")
}

// streamable formats have neither head nor foot. libchdb writes each chunk of a stream as a
// document of its own, so of other formats the whole result is made in memory, with a bound.
var streamable = map[string]bool{
	"native": true, "rowbinary": true, "msgpack": true, "csv": true,
	"tabseparated": true, "tabseparatedraw": true, "tsv": true, "tsvraw": true, "raw": true,
	"jsoneachrow": true, "jsonlines": true, "ndjson": true, "jsonstringseachrow": true,
	"jsoncompacteachrow": true, "jsoncompactstringseachrow": true,
}

// route lets the engine's parser say what the statement is, and picks the connection.
func (s *Server) route(r *http.Request, req *request, out *response) (Stats, error) {
	word := firstWord(req.sql)
	if word == "" {
		return Stats{}, exception(codeSyntax, "Syntax error: Empty query")
	}
	a, err := s.engine.classify(req.sql)
	if err != nil {
		return Stats{}, err
	}
	if a.statements > 1 {
		return Stats{}, exception(codeSyntax, "Syntax error (Multi-statements are not allowed)")
	}
	pool := s.engine.writer
	switch {
	case a.class == classReadOnly, a.class == classUnknown:
		// What does not parse goes to a reader too: it cannot write, and it says why.
		pool = s.engine.readers
		req.format = outputFormat(req.sql, req.format)
		req.stream = a.class == classReadOnly && streamable[strings.ToLower(req.format)]
		if !req.stream {
			req.bound(s.o.MaxResultBytes)
		}
		out.w.Header().Set("X-ClickHouse-Format", req.format)
		out.w.Header().Set("Content-Type", contentType(req.format))
	case req.readOnly:
		return Stats{}, getIsReadOnly()
	case word == "USE", word == "SET":
		return s.engine.sessionless(r.Context(), req.work)
	case word == "KILL":
		return s.engine.runKill(req.work, out)
	case word == "SELECT", word == "CREATE" && a.class == classControl, strings.HasPrefix(word, "BEGIN"):
		return Stats{}, exception(codeNotImplemented, "temporary tables and transactions do not exist in the embedded engine")
	}
	return s.engine.do(r.Context(), pool, req.work, out)
}
