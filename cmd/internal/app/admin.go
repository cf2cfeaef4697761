package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
)

// stuckAfter is how long a loop may stay away before /healthz wants a restart.
// The slowest honest round is one insert with its timeout.
const stuckAfter = 3 * time.Minute

// profiles serves Go's profiles, without the command line.
func profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// Admin is the server of metrics, health and the preview page. It is up before
// the roles are, so that it can say what they wait for.
type Admin struct {
	http     *http.Server
	listener net.Listener
	served   chan struct{}
}

// StartAdmin listens and serves. Preview may be nil.
func StartAdmin(c config.Admin, reg *prometheus.Registry, health *role.Health, preview http.Handler, log *slog.Logger) (*Admin, error) {
	listen := c.Listen
	l, err := net.Listen("tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("start the admin server: %s is taken by another program: choose another address in admin.listen (port 0 takes a free one): %w", listen, err)
	}
	if err != nil {
		return nil, fmt.Errorf("start the admin server on %s: %w", listen, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := health.Stuck(stuckAfter); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { readyz(w, health) })
	if c.Pprof {
		profiles(mux)
	}
	page := preview
	if page == nil {
		page = http.HandlerFunc(noPreview)
	}
	mux.Handle("/preview", page)
	mux.Handle("/preview.json", page)
	mux.Handle("/preview/", page)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		if err := index.Execute(w, struct {
			Preview bool
			States  []role.State
		}{preview != nil, health.States()}); err != nil {
			log.Debug("write the index page", "err", err)
		}
	})
	a := &Admin{
		http:     &http.Server{Handler: ownNames(l, mux), ReadHeaderTimeout: 5 * time.Second},
		listener: l, served: make(chan struct{}),
	}
	go func() {
		defer close(a.served)
		if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("admin server ended", "err", err)
		}
	}()
	return a, nil
}

// noPreview is there instead of the preview page.
func noPreview(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the preview page is off, as it is where a destination is configured or alerting.preview is never: set alerting.preview to always in the configuration of a picket that runs the role notify, and restart it", http.StatusNotFound)
}

// ownNames refuses, on loopback, requests for a host name that somebody else's DNS points
// there: a page in a browser could read alerts that way (DNS rebinding).
func ownNames(l net.Listener, next http.Handler) http.Handler {
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host != "" && host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, "this server answers only to localhost and IP addresses", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// URL is where it listens.
func (a *Admin) URL() string { return "http://" + a.listener.Addr().String() }

// Stop ends requests in work after a moment.
func (a *Admin) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		a.http.Close()
	}
	<-a.served
}

// readyz says which loops do their work, and why the others do not.
func readyz(w http.ResponseWriter, health *role.Health) {
	states := health.States()
	ready := len(states) > 0
	for _, s := range states {
		ready = ready && s.Ready
	}
	w.Header().Set("Content-Type", "application/json")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(struct { // a client that hung up needs no answer
		Ready bool         `json:"ready"`
		Roles []role.State `json:"roles"`
	}{ready, states})
}

var index = template.Must(template.New("index").Parse(`<!doctype html>
<meta charset="utf-8"><title>Picket</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}.no{color:#c0392b}</style>
<h1>Picket</h1>
<p>{{if .Preview}}<a href="/preview">Messages</a> · {{end}}<a href="/metrics">Metrics</a> · <a href="/healthz">Health</a> · <a href="/readyz">Readiness</a></p>
<table><tr><th>Role<th>State<th>Since</tr>
{{range .States}}<tr><td>{{.Name}}<td>{{if .Ready}}ready{{else}}<span class="no">waiting: {{.Why}}</span>{{end}}<td>{{.Since.Format "15:04:05"}}</tr>
{{end}}</table>`))
