// Package embeddedtest gives tests a real ClickHouse: the embedded engine on a free
// loopback port, one per test process because libchdb runs only one, and a database of
// its own for each call.
//
// The engine is not stopped: it ends with the test process, and the next one that uses
// this package removes the data it left.
package embeddedtest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"picket/store/embedded"
)

// The engine exists once per process, so does what holds it.
var (
	start   = sync.OnceValues(open)
	counter atomic.Int64
)

// Start returns the URL of an engine with a new, empty database in it:
// http://127.0.0.1:<port>?database=<name>. It is a DSN for clickhouse-go and a base for
// plain HTTP requests. Without npm the test is skipped; with CI set it fails.
func Start(t testing.TB) (dsn string) {
	t.Helper()
	s := Server(t)
	db := fmt.Sprintf("test_%d", counter.Add(1))
	res, err := http.Post(s.URL(), "text/plain", strings.NewReader("CREATE DATABASE "+db))
	if err != nil {
		t.Fatalf("create a database: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("create a database: %s", res.Status)
	}
	return s.URL() + "?" + url.Values{"database": {db}}.Encode()
}

// StartSecured is Start with a user and password to log in with, and with TLS if config
// is not nil: for tests of what a client does when they are wrong. The DSN has neither;
// over TLS clickhouse-go wants &secure=true added.
func StartSecured(t testing.TB, user, password string, config *tls.Config) (dsn string) {
	t.Helper()
	u, err := url.Parse(Start(t))
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(Server(t).Handler(embedded.Options{User: user, Password: password}))
	if front.TLS = config; config != nil {
		front.StartTLS()
	} else {
		front.Start()
	}
	t.Cleanup(front.Close)
	return front.URL + "?" + u.RawQuery
}

// Server is the engine behind Start.
func Server(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := start()
	Check(t, err)
	return s
}

// Check skips a test that has no npm to fetch the engine with, and fails it on any other
// error and in CI.
func Check(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, embedded.ErrNoNPM) && os.Getenv("CI") == "" {
		t.Skipf("needs the ClickHouse engine: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const dirPrefix = "picket-embeddedtest-"

func open() (*embedded.Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	lib, err := embedded.Fetch(ctx, "", nil)
	if err != nil {
		return nil, err
	}
	if err := removeOld(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", dirPrefix)
	if err != nil {
		return nil, err
	}
	s, err := embedded.Open(embedded.Options{Path: filepath.Join(dir, "data"), LibPath: lib})
	if err != nil {
		return nil, err
	}
	return s, s.Start("127.0.0.1:0")
}

// removeOld deletes the data of test processes that have ended.
func removeOld() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < time.Minute || embedded.InUse(filepath.Join(dir, "data")) {
			continue // a young one may be about to be locked
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}
