package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Options say where the engine keeps its data and what it allows. Zero values mean the defaults named.
type Options struct {
	Path    string // data directory; required
	LibPath string // libchdb, as Fetch returns it; required

	Logger *slog.Logger // discards by default

	Readers     int           // connections for reads, that is reads at a time; 4
	ReadTimeout time.Duration // max_execution_time of a read that sets none; 60 s
	ReadMemory  int64         // max_memory_usage of a read that sets none; 2 GiB

	MaxRequestBytes int64 // of one request body, decompressed; 256 MiB
	MaxResultBytes  int64 // max_result_bytes of a read that cannot be streamed and sets none; 256 MiB
	MaxRequests     int   // requests in work or waiting, the rest is refused with 503; 64

	User, Password string      // who may ask; with no Password anyone named User ("default") may
	TLS            *tls.Config // serve HTTPS
	AllowRemote    bool        // listen on an address other machines can reach

	users string // what the engine's one user may do: usersXML, but in tests of roles
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = time.Minute
	}
	if o.ReadMemory <= 0 {
		o.ReadMemory = 2 << 30
	}
	if o.MaxRequestBytes <= 0 {
		o.MaxRequestBytes = 256 << 20
	}
	if o.MaxResultBytes <= 0 {
		o.MaxResultBytes = 256 << 20
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = 64
	}
	if o.User == "" {
		o.User = "default"
	}
	if o.users == "" {
		o.users = usersXML
	}
}

// Server is ClickHouse in this process behind its HTTP interface.
type Server struct {
	o      Options
	engine *engine
	slots  chan struct{} // one token per request in work or waiting
	bodies chan struct{} // one token per request whose body is in memory
	http   *http.Server

	mu       sync.Mutex
	listener net.Listener
	served   chan struct{} // closed when Serve has returned
	closed   bool
}

// Open loads libchdb and starts the engine on o.Path. A process can run one engine at a
// time, and a path belongs to one process.
func Open(o Options) (*Server, error) {
	o.setDefaults()
	if o.Path == "" || o.LibPath == "" {
		return nil, errors.New("open embedded ClickHouse: Path and LibPath are required")
	}
	start := time.Now()
	e, err := openEngine(o)
	if err != nil {
		return nil, err
	}
	s := newFront(o, e)
	s.http = &http.Server{
		Handler:           s.guarded(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    1 << 20, // a query may be in the URL
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	o.Logger.Info("embedded ClickHouse started", "version", e.version, "path", e.path, "took", time.Since(start).Round(time.Millisecond))
	return s, nil
}

func newFront(o Options, e *engine) *Server {
	return &Server{o: o, engine: e, slots: make(chan struct{}, o.MaxRequests), bodies: make(chan struct{}, 8)}
}

func (s *Server) guarded() http.Handler {
	// Scripts of web pages can reach loopback ports; they must not reach the data.
	return http.NewCrossOriginProtection().Handler(s.onlyOwnNames(s))
}

// Handler is the HTTP interface of the same engine under other conditions: the user,
// password and request limits of o. It must not be used after Close.
func (s *Server) Handler(o Options) http.Handler {
	o.setDefaults()
	return newFront(o, s.engine).guarded()
}

// Path is the data directory, absolute.
func (s *Server) Path() string { return s.engine.path }

// Version is the ClickHouse version of the engine.
func (s *Server) Version() string { return s.engine.version }

// Start listens on addr and serves until Close. Port 0 takes a free one.
func (s *Server) Start(addr string) error {
	if !s.o.AllowRemote {
		if err := checkLoopback(addr); err != nil {
			return fmt.Errorf("serve embedded ClickHouse on %s: %w", addr, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.listener != nil {
		return fmt.Errorf("serve embedded ClickHouse on %s: already started or closed", addr)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("serve embedded ClickHouse: %w", err)
	}
	s.listener = ln
	s.served = make(chan struct{})
	serve := ln
	if s.o.TLS != nil {
		serve = tls.NewListener(ln, s.o.TLS)
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(serve); !errors.Is(err, http.ErrServerClosed) {
			s.o.Logger.Error("embedded ClickHouse stopped serving", "error", err)
		}
	}()
	return nil
}

func checkLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("other machines could reach it, and that has to be allowed explicitly")
}

// onlyOwnNames refuses requests for a host name that somebody else's DNS points at
// loopback (DNS rebinding).
func (s *Server) onlyOwnNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if _, err := netip.ParseAddr(host); !s.o.AllowRemote && host != "localhost" && host != "" && err != nil {
			http.Error(w, "this ClickHouse answers only to localhost and IP addresses", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Addr is host:port as listened on, or "" before Start.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// URL is what clients connect to.
func (s *Server) URL() string {
	if s.o.TLS != nil {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Close stops taking requests, waits for those in work until ctx ends, then kills them,
// and stops the engine. Everything that was answered with 200 is on disk.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	started := s.listener != nil
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	if already {
		return nil
	}
	var errs []error
	if started {
		if err := s.http.Shutdown(ctx); err != nil {
			errs = append(errs, s.http.Close())
		}
		<-s.served
	}
	if err := s.engine.close(ctx); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
