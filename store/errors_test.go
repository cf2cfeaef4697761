package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/detect/secret"
	"picket/internal/probe/probetest"
	"picket/store/embedded/embeddedtest"
)

const password = "hunter2-canary"

// openError tries to open c and returns what it says; the password must not be in it.
func openError(t *testing.T, c Config) error {
	t.Helper()
	c.DialTimeout = 2 * time.Second
	db, err := Open(t.Context(), c)
	if err == nil {
		_ = db.Close()
		t.Fatal("opened")
	}
	if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, password) {
		t.Errorf("the password is in %s", s)
	}
	return err
}

func wantError(t *testing.T, c Config, class Class, words ...string) {
	t.Helper()
	err := openError(t, c)
	text := err.Error()
	if got := Classify(err); got != class {
		t.Errorf("class %v, want %v: %s", got, class, text)
	}
	if strings.Count(text, "connection refused") > 1 {
		t.Errorf("it is said twice: %s", text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in: %s", w, text)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		c    Config
		want string
	}{
		"scheme":          {Config{URL: "ftp://x"}, "use http, https or clickhouse"},
		"no scheme":       {Config{URL: "localhost:8123"}, "use http, https or clickhouse"},
		"no host":         {Config{URL: "http://"}, "no host"},
		"user in the URL": {Config{URL: "http://u:" + password + "@h"}, "leave user and password out of the URL"},
		"not a URL":       {Config{URL: "http://u:" + password + "@h:port"}, "not a URL"},
		"path":            {Config{URL: "http://h/picket"}, "the database is its own setting"},
		"database":        {Config{URL: "http://h", Database: "a`; DROP"}, "use letters, digits and _ only"},
		"database dot":    {Config{URL: "http://h", Database: "a.b"}, "use letters, digits and _ only"},
		"database empty":  {Config{URL: "http://h", Database: " "}, "use letters, digits and _ only"},
		"tls over http":   {Config{URL: "http://h", TLS: TLS{CAFile: "ca.pem"}}, "write https://"},
		"compression":     {Config{URL: "http://h", Compression: "gzip"}, "use none, lz4 or zstd"},
		"ca file":         {Config{URL: "https://h", TLS: TLS{CAFile: "/does/not/exist"}}, "clickhouse.tls: read /does/not/exist: no such file"},
		"key without":     {Config{URL: "https://h", TLS: TLS{CertFile: "/does/not/exist"}}, "cert_file and key_file: give both"},
	} {
		t.Run(name, func(t *testing.T) {
			c.c.Password = secret.New(password)
			wantError(t, c.c, Operator, c.want)
		})
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	wantError(t, Config{URL: "http://" + addr, Password: secret.New(password)}, Retry, "connection refused", "nothing listens on "+addr, "is ClickHouse running")
	wantError(t, Config{URL: "clickhouse://" + addr, Password: secret.New(password)}, Retry, "connection refused", "nothing listens on "+addr)
}

func TestUnknownHost(t *testing.T) {
	wantError(t, Config{URL: "http://no-such-host.invalid", Password: secret.New(password)}, Retry, "no-such-host.invalid", "check the URL")
}

func TestWrongPassword(t *testing.T) {
	c := fromDSN(t, embeddedtest.StartSecured(t, "picket", password, nil))
	c.User, c.Password = "picket", secret.New("wrong-"+password)
	wantError(t, c, Operator, `refused user "picket"`, "wrong password or no such user", "check user and password")
	c.Password = secret.Value{}
	wantError(t, c, Operator, "no password is set")
	c.Password = secret.New(password)
	dial(t, c)
}

func TestNotClickHouse(t *testing.T) {
	agents := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case agents <- r.UserAgent():
		default:
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	wantError(t, Config{URL: s.URL, Password: secret.New(password), Version: "v1.2"}, Retry, "an HTTP server answers there, not ClickHouse", "HTTP status 404")
	if got := <-agents; !strings.HasPrefix(got, "picket/v1.2 ") {
		t.Errorf("the server hears from %q", got)
	}
}

// Whatever listens at the address, by each protocol that a URL asks for: the error says what it is, and what to write.
func TestSomethingElseListens(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	pair := web.TLS.Certificates[0]
	ca := TLS{CAFile: writePEM(t, "web.pem", "CERTIFICATE", web.Certificate().Raw)}
	says, always := probetest.Says, probetest.Always
	const port = "a port of ClickHouse (HTTP 8123"
	for name, tt := range map[string]struct {
		addr                string
		class               Class
		http, native, https []string
	}{
		"broker":            {says(t, probetest.Kafka(probetest.Broker)), Operator, []string{"a Kafka broker answers there"}, []string{"a Kafka broker"}, []string{"a Kafka broker"}},
		"controller":        {says(t, probetest.Kafka(probetest.Controller)), Operator, []string{"a Kafka controller answers there"}, []string{"a Kafka controller"}, []string{"a Kafka controller"}},
		"native protocol":   {says(t, always(probetest.ClickHouseNative)), Operator, []string{"native protocol answers there", "write clickhouse://HERE, or"}, nil, []string{"write clickhouse://HERE, or"}},
		"native with TLS":   {says(t, always(probetest.ClickHouseNative), pair), Operator, []string{"expects TLS: write https://HERE"}, []string{"expects TLS: write clickhouse://HERE?secure=true"}, []string{"write clickhouse://HERE?secure=true, or"}},
		"ClickHouse's HTTP": {says(t, always(probetest.ClickHouse)), Operator, nil, []string{"HTTP interface answers there", "write http://HERE"}, []string{"does not speak TLS: write http://"}},
		"web server":        {says(t, always(probetest.Web)), Retry, []string{"an HTTP server (nginx/1.27)", "check clickhouse.url"}, []string{"nginx"}, []string{"nginx"}},
		"web with TLS":      {says(t, always(probetest.Web), pair), Operator, []string{"expects TLS: write https://HERE"}, []string{"expects TLS"}, nil},
		"ssh":               {says(t, always(probetest.SSH)), Retry, []string{`begins with "SSH-2.0-OpenSSH_9.6"`}, []string{"SSH"}, []string{"SSH"}},
		"hangs up":          {says(t, always("")), Retry, []string{"hangs up without an answer", port}, []string{"hangs up", port}, []string{"hangs up", port}},
		"silent":            {probetest.Silent(t), Retry, []string{"answers nothing", port}, []string{"answers nothing", port}, []string{"answers nothing", port}},
	} {
		for scheme, words := range map[string][]string{"http": tt.http, "clickhouse": tt.native, "https": tt.https} {
			if words == nil {
				continue
			}
			t.Run(name+" by "+scheme, func(t *testing.T) {
				t.Parallel()
				c := Config{URL: scheme + "://" + tt.addr, Password: secret.New(password), ReadTimeout: 50 * time.Millisecond}
				if scheme == "https" {
					c.TLS = ca
				}
				here := []string{"clickhouse at " + c.URL}
				for _, w := range words {
					here = append(here, strings.ReplaceAll(w, "HERE", tt.addr))
				}
				wantError(t, c, tt.class, here...)
			})
		}
	}
}

func TestStoppedByTheContext(t *testing.T) {
	db := connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Ping(ctx); Classify(err) != Stopped {
		t.Errorf("%v", err)
	}
}

func TestUnknownTableIsForAnOperator(t *testing.T) {
	db := connect(t)
	_, _, err := db.Query(t.Context(), "SELECT * FROM events")
	if Classify(err) != Operator || !strings.Contains(err.Error(), "run `picket migrate`") {
		t.Errorf("%v", err)
	}
	_, _, err = db.Query(t.Context(), "SELEC 1")
	if Classify(err) != Retry || !strings.Contains(err.Error(), "code 62") {
		t.Errorf("%v", err)
	}
}

// authority signs certificates for servers and clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = writePEM(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// issue makes a certificate for 127.0.0.1 unless change says otherwise.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) (tls.Certificate, TLS) {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "clickhouse"}, NotBefore: time.Now().Add(-2 * time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := TLS{CertFile: writePEM(t, "cert.pem", "CERTIFICATE", der), KeyFile: writePEM(t, "key.pem", "PRIVATE KEY", k)}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, files
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	serve := func(change func(*x509.Certificate), config *tls.Config) Config {
		cert, _ := ca.issue(t, change)
		config.Certificates = []tls.Certificate{cert}
		config.MinVersion = tls.VersionTLS12
		c := fromDSN(t, embeddedtest.StartSecured(t, "picket", password, config))
		c.User, c.Password, c.TLS.CAFile = "picket", secret.New(password), ca.file
		return c
	}
	good := serve(nil, &tls.Config{})
	dial(t, good)

	c := good
	c.TLS.CAFile = ""
	wantError(t, c, Operator, "signed by an authority that is not known here", "clickhouse.tls.ca_file")
	c = good
	c.URL, c.TLS = strings.Replace(c.URL, "https:", "http:", 1), TLS{}
	wantError(t, c, Operator, "the server expects TLS", "https://")
	c = good
	c.TLS.ServerName = "clickhouse.internal"
	wantError(t, c, Operator, `not for "clickhouse.internal" but for 127.0.0.1`, "tls.server_name")

	c = serve(func(x *x509.Certificate) { x.NotAfter = time.Now().Add(-time.Hour) }, &tls.Config{})
	wantError(t, c, Operator, "its certificate expired on ", "renew it")
	c = serve(func(x *x509.Certificate) {
		x.NotBefore = time.Now().Add(time.Hour)
		x.NotAfter = time.Now().Add(2 * time.Hour)
	}, &tls.Config{})
	wantError(t, c, Operator, "not valid before", "check the clock")

	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	c = serve(nil, &tls.Config{MaxVersion: tls.VersionTLS12})
	dial(t, c)
	c.TLS.MinVersion = tls.VersionTLS13
	wantError(t, c, Operator, "protocol version", "clickhouse.tls.min_version")

	c = serve(nil, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	wantError(t, c, Operator, "client certificate", "tls.cert_file")
	_, files := ca.issue(t, nil)
	c.TLS.CertFile, c.TLS.KeyFile = files.CertFile, files.KeyFile
	dial(t, c)

	plain := fromDSN(t, embeddedtest.Start(t))
	plain.URL = strings.Replace(plain.URL, "http:", "https:", 1)
	wantError(t, plain, Operator, "the port does not speak TLS")
}
