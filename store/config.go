package store

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"picket/detect/secret"
	"picket/internal/tlsfile"
)

// Compression of what travels to ClickHouse.
type Compression string

const (
	AutoCompression Compression = "auto" // as if unset: none on this machine, else lz4
	NoCompression   Compression = "none"
	LZ4             Compression = "lz4"
	ZSTD            Compression = "zstd"
)

// TLS holds where certificates are. Certificates are asked for with https:// and, on the
// native protocol, with clickhouse://host:port?secure=true. The files may be replaced: each new
// connection takes them as they are.
type TLS struct {
	CAFile     string // additional to the system's authorities when empty, instead of them when set
	CertFile   string // client certificate, with KeyFile
	KeyFile    string
	ServerName string         // when the certificate names another host than the URL
	MinVersion uint16         // TLS 1.2 when unset
	Watch      *tlsfile.Watch // hears of files that cannot be read anew; may be nil
}

// Config says where ClickHouse is. Zero values mean the defaults named.
type Config struct {
	URL         string // http://host:8123, https://host:8443, clickhouse://host:9000
	User        string // "default"
	Password    secret.Value
	Database    string // "picket"
	TLS         TLS
	Compression Compression // none on loopback, lz4 elsewhere

	Version     string        // of the program, which names itself to the server; its query log shows it
	DialTimeout time.Duration // 5 s
	ReadTimeout time.Duration // longest silence of the server, 60 s
	MaxConns    int           // 8
}

// ConfigError is a mistake that only an operator can mend: a wrong password, a bad
// certificate, a missing database. Retrying does not help; at start it is exit 78.
type ConfigError struct {
	Text string
	Err  error
}

func (e *ConfigError) Error() string { return e.Text }
func (e *ConfigError) Unwrap() error { return e.Err }

func configErrorf(err error, format string, args ...any) *ConfigError {
	return &ConfigError{Text: fmt.Sprintf(format, args...), Err: err}
}

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func checkName(what, name string) error {
	if !validName.MatchString(name) {
		return configErrorf(nil, "clickhouse %s %q: use letters, digits and _ only, not starting with a digit, at most 63", what, name)
	}
	return nil
}

// target is a Config that was checked.
type target struct {
	Config
	addr   string
	native bool
}

func (c Config) check() (*target, error) {
	t := &target{Config: c}
	t.setDefaults()
	if err := checkName("database", t.Database); err != nil {
		return nil, err
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, configErrorf(nil, "clickhouse url: not a URL; write it like http://127.0.0.1:8123") // err would quote it, password and all
	}
	if u.User != nil {
		return nil, configErrorf(nil, "clickhouse url: leave user and password out of the URL, and set user and password")
	}
	port, secure := "", false
	switch u.Scheme {
	case "http":
		port = "8123"
	case "https":
		port, secure = "8443", true
	case "clickhouse":
		t.native, port = true, "9000"
		if secure = u.Query().Get("secure") == "true"; secure {
			port = "9440"
		}
	default:
		return nil, configErrorf(nil, "clickhouse url: scheme %q: use http, https or clickhouse, like http://127.0.0.1:8123", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, configErrorf(nil, "clickhouse url: no host; write it like %s://127.0.0.1:%s", u.Scheme, port)
	}
	if u.Path != "" && u.Path != "/" {
		return nil, configErrorf(nil, "clickhouse url: path %q: leave it out, the database is its own setting", u.Path)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	t.addr = net.JoinHostPort(u.Hostname(), port)
	if !secure && t.TLS != (TLS{}) {
		return nil, configErrorf(nil, "clickhouse.tls is set, but %s://%s does not use TLS: write https:// or clickhouse://...?secure=true", u.Scheme, t.addr)
	}
	if !slices.Contains([]Compression{NoCompression, LZ4, ZSTD}, t.Compression) {
		return nil, configErrorf(nil, "clickhouse compression %q: use none, lz4 or zstd", t.Compression)
	}
	if !secure {
		t.TLS.ServerName = ""
		return t, nil
	}
	if t.TLS.ServerName == "" {
		t.TLS.ServerName = u.Hostname()
	}
	return t, nil
}

func (t *target) setDefaults() {
	if t.User == "" {
		t.User = "default"
	}
	if t.Database == "" {
		t.Database = "picket"
	}
	if t.DialTimeout <= 0 {
		t.DialTimeout = 5 * time.Second
	}
	if t.ReadTimeout <= 0 {
		t.ReadTimeout = time.Minute
	}
	if t.MaxConns <= 0 {
		t.MaxConns = 8
	}
	if t.Compression == "" || t.Compression == AutoCompression {
		t.Compression = LZ4
		if u, err := url.Parse(t.URL); err == nil && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()) {
			t.Compression = NoCompression
		}
	}
}

// tls is nil without TLS.
func (t *target) tls() (*tlsfile.Client, error) {
	if t.TLS.ServerName == "" {
		return nil, nil
	}
	c, err := tlsfile.New(tlsfile.Files{
		CA: t.TLS.CAFile, Cert: t.TLS.CertFile, Key: t.TLS.KeyFile, ServerName: t.TLS.ServerName, MinVersion: max(t.TLS.MinVersion, tls.VersionTLS12), Watch: t.TLS.Watch,
	})
	if err != nil {
		return nil, configErrorf(err, "clickhouse.tls: %v", err)
	}
	return c, nil
}

// dialTLS takes the files as they are now: certificates are renewed while we run.
func (t *target) dialTLS(files *tlsfile.Client) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		conf, old := files.Config()
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: t.DialTimeout}, Config: conf}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil && old != nil {
			err = fmt.Errorf("%w; %w", err, oldFiles{old})
		}
		return conn, err
	}
}

func (t *target) options() (*clickhouse.Options, error) {
	files, err := t.tls()
	if err != nil {
		return nil, err
	}
	o := &clickhouse.Options{
		Protocol:     clickhouse.HTTP,
		Addr:         []string{t.addr},
		Auth:         clickhouse.Auth{Username: t.User, Password: t.Password.Reveal()},
		DialTimeout:  t.DialTimeout,
		ReadTimeout:  t.ReadTimeout,
		MaxOpenConns: t.MaxConns,
		MaxIdleConns: t.MaxConns,
		ClientInfo:   clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{"picket", t.Version}}},
	}
	if files != nil {
		o.TLS, _ = files.Config() // says that it is TLS; connections are dialTLS's
	}
	if t.native {
		o.Protocol = clickhouse.Native
		if files != nil {
			o.DialContext = t.dialTLS(files)
		}
		switch t.Compression {
		case LZ4:
			o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
		case ZSTD:
			o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionZSTD}
		}
	}
	o.TransportFunc = func(base *http.Transport) (http.RoundTripper, error) {
		if files != nil {
			dial := t.dialTLS(files)
			base.DialTLSContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) }
		}
		if t.Compression == NoCompression {
			return base, nil
		}
		return markPacked{base}, nil
	}
	return o, nil
}

// markPacked tells the server that the blocks of insertNative are compressed. It is not a
// setting of the insert's context: the driver would send it with the query by which it
// greets a new connection too, and that one's body is plain.
type markPacked struct{ next http.RoundTripper }

func (m markPacked) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Content-Type") == "application/octet-stream" {
		r = r.Clone(r.Context())
		q := r.URL.Query()
		q.Set("decompress", "1")
		r.URL.RawQuery = q.Encode()
	}
	return m.next.RoundTrip(r)
}

func (t *target) where() string {
	return strings.SplitN(t.URL, "?", 2)[0]
}
