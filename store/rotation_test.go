package store

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"picket/detect/secret"
	"picket/internal/tlsfile"
	"picket/store/embedded"
	"picket/store/embedded/embeddedtest"
)

// Certificates and authorities are renewed beside a process that runs, which takes them for its next connection.
func TestCertificatesAreReplaced(t *testing.T) {
	old, renewed := newAuthority(t), newAuthority(t)
	var server atomic.Pointer[tls.Certificate]
	var peer atomic.Value
	pool := x509.NewCertPool()
	pool.AddCert(old.cert)
	front := httptest.NewUnstartedServer(embeddedtest.Server(t).Handler(embedded.Options{User: "picket", Password: password}))
	front.Config.SetKeepAlivesEnabled(false) // every request is a connection
	front.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{
			Certificates: []tls.Certificate{*server.Load()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
			VerifyConnection: func(s tls.ConnectionState) error {
				peer.Store(s.PeerCertificates[0].Subject.CommonName)
				return nil
			},
		}, nil
	}}
	issue := func(a *authority, name string) (tls.Certificate, TLS) {
		return a.issue(t, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: name} })
	}
	cert, _ := issue(old, "server")
	server.Store(&cert)
	front.StartTLS()
	t.Cleanup(front.Close)
	replace := func(file, by string) {
		t.Helper()
		data, err := os.ReadFile(by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	_, files := issue(old, "first")
	files.CAFile = old.file
	var log bytes.Buffer
	files.Watch = &tlsfile.Watch{Section: "clickhouse.tls", Log: slog.New(slog.NewTextHandler(&log, nil))}
	db := dial(t, Config{URL: front.URL, User: "picket", Password: secret.New(password), TLS: files})
	ping := func(want string) {
		t.Helper()
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := peer.Load(); got != want {
			t.Errorf("the server met %v, want %s", got, want)
		}
	}
	ping("first")
	_, next := issue(old, "second")
	replace(files.CertFile, next.CertFile)
	ping("first") // the key is not there yet
	replace(files.KeyFile, next.KeyFile)
	ping("second")
	if s := log.String(); strings.Count(s, "\n") != 2 || !strings.Contains(s, "stay in use") || !strings.Contains(s, "read again") {
		t.Errorf("the log says %q", s)
	}

	cert, _ = issue(renewed, "server")
	server.Store(&cert)
	replace(files.KeyFile, renewed.file) // a mistake
	err := db.Ping(t.Context())
	for _, want := range []string{"authority that is not known here", "as they were before", files.KeyFile} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	replace(files.KeyFile, next.KeyFile)
	replace(files.CAFile, renewed.file)
	ping("second")
}
