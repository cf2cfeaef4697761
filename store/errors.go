package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"picket/internal/probe"
)

// Class says what a failure calls for. Whatever it is, a writer keeps its batch and
// tries again: nothing is split, dropped or skipped on an error of the store.
type Class int

const (
	Retry    Class = iota // passes by itself: network, overload, restart
	Operator              // needs a person; start with it is refused
	Stopped               // the context ended
)

func (c Class) String() string { return [...]string{"retry", "operator", "stopped"}[c] }

// Classify says what an error of this package calls for.
func Classify(err error) Class {
	var ce *ConfigError
	switch {
	case errors.As(err, &ce):
		return Operator
	case errors.Is(err, context.Canceled):
		return Stopped
	}
	return Retry
}

// Codes of ClickHouse, from its ErrorCodes.cpp.
const (
	codeNoSuchColumn     = 16
	codeUnknownSetting   = 115
	codeUnknownIdent     = 47
	codeTypeMismatch     = 53
	codeUnknownTable     = 60
	codeUnknownDatabase  = 81
	codeReadOnly         = 164
	codeUnknownUser      = 192
	codeWrongPassword    = 193
	codeRequiredPassword = 194
	codeIPNotAllowed     = 195
	codeAccessDenied     = 497
	codeAuthFailed       = 516
)

// The embedded engine is migrated by run itself.
const migrateHint = "run `picket migrate` (with the embedded engine: restart `picket run`)"

// explain says what an error means for the one who reads it. Texts name the user, never the password.
func (t *target) explain(err error) error {
	if err == nil {
		return nil
	}
	var (
		ce      *ConfigError
		ex      *clickhouse.Exception
		urlErr  *url.Error
		httpErr *clickhouse.HTTPError
	)
	switch {
	case errors.As(err, &ce):
		return err
	case errors.As(err, &ex):
		return t.explainException(ex)
	}
	if out := t.explainTLS(err); out != nil {
		var old oldFiles
		if errors.As(err, &old) {
			return fmt.Errorf("%w; %w", out, old)
		}
		return out
	}
	if errors.As(err, &urlErr) {
		err = urlErr.Err // the URL carries the statement, which says nothing here
	}
	at := "clickhouse at " + t.where()
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", at, err)
	case errors.As(err, &dns):
		return fmt.Errorf("%s: host %s is not known: check the URL: %w", at, dns.Name, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		var dial *net.OpError
		if errors.As(err, &dial) {
			err = dial.Err // the address is named already
		}
		return fmt.Errorf("%s: %w: nothing listens on %s; is ClickHouse running, and is the port right (HTTP 8123, HTTPS 8443, native 9000)?", at, err, t.addr)
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return fmt.Errorf("%s: no answer in time: %w", at, err)
	case errors.As(err, &httpErr):
		return fmt.Errorf("%s: HTTP status %d, and not from ClickHouse: %s", at, httpErr.StatusCode, shorten(httpErr.Err.Error()))
	}
	return fmt.Errorf("%s: %w", at, err)
}

// explainOpen is explain for a first connection, where something else than ClickHouse may listen: unless
// the server said itself what is wrong, a second look finds out what it is.
func (t *target) explainOpen(ctx context.Context, err error, conf *tls.Config) error {
	out := t.explain(err)
	var dns *net.DNSError
	var ex *clickhouse.Exception
	record := errors.As(err, new(tls.RecordHeaderError)) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
	if Classify(out) != Retry && !record || ctx.Err() != nil || errors.As(err, &dns) || errors.As(err, &ex) || errors.Is(err, syscall.ECONNREFUSED) {
		return out
	}
	at, a := "clickhouse at "+t.where(), probe.Look(ctx, t.addr, conf)
	switch a.Kind {
	case probe.TLS:
		if conf == nil {
			return configErrorf(err, "%s: the server expects TLS: write %s", at, t.url(t.native, true))
		}
	case probe.ClickHouseNative:
		if !t.native {
			return configErrorf(err, "%s: %s, not HTTP: write %s, or use the HTTP port (8123, HTTPS 8443)", at, a, t.url(true, a.Secure))
		}
	case probe.ClickHouse:
		if t.native {
			return configErrorf(err, "%s: %s, not the native protocol: write %s, or use the native port (9000, with TLS 9440)", at, a, t.url(false, a.Secure))
		}
	case probe.Broker, probe.Controller:
		return configErrorf(err, "%s: %s, not ClickHouse: check clickhouse.url", at, a)
	case probe.HTTP, probe.Other:
		return fmt.Errorf("%s: %s, not ClickHouse: check clickhouse.url, or the proxy in front of it %w", at, a, errLooked{err})
	case probe.Silent, probe.HangsUp:
		return fmt.Errorf("%s: %s: is %s a port of ClickHouse (HTTP 8123, HTTPS 8443, native 9000, with TLS 9440), and does a firewall or a proxy stand in between? %w", at, a, t.addr, errLooked{err})
	}
	return out
}

// url is how the same address is written for another protocol.
func (t *target) url(native, secure bool) string {
	switch {
	case native && secure:
		return "clickhouse://" + t.addr + "?secure=true"
	case native:
		return "clickhouse://" + t.addr
	case secure:
		return "https://" + t.addr
	}
	return "http://" + t.addr
}

// errLooked keeps what the driver met, in short, behind what was found out.
type errLooked struct{ err error }

func (e errLooked) Unwrap() error { return e.err }

func (e errLooked) Error() string {
	var status *clickhouse.HTTPError
	if errors.As(e.err, &status) {
		return fmt.Sprintf("(HTTP status %d)", status.StatusCode)
	}
	err := e.err
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return "(" + shorten(err.Error()) + ")"
}

func (t *target) explainException(ex *clickhouse.Exception) error {
	at := "clickhouse at " + t.where()
	switch ex.Code {
	case codeUnknownUser, codeWrongPassword, codeRequiredPassword, codeAuthFailed:
		hint := "check user and password"
		if !t.Password.IsSet() {
			hint = "no password is set"
		}
		return configErrorf(ex, "%s refused user %q: wrong password or no such user (code %d): %s", at, t.User, ex.Code, hint)
	case codeIPNotAllowed:
		return configErrorf(ex, "%s does not let user %q in from this address (code %d)", at, t.User, ex.Code)
	case codeUnknownDatabase:
		return configErrorf(ex, "%s has no database %q: %s, or correct the name", at, t.Database, migrateHint)
	case codeUnknownTable:
		return configErrorf(ex, "%s, database %q, lacks a table: %s (%s)", at, t.Database, migrateHint, shorten(ex.Message))
	case codeNoSuchColumn, codeUnknownIdent, codeTypeMismatch:
		return configErrorf(ex, "%s, database %q, does not fit this version: %s (%s)", at, t.Database, migrateHint, shorten(ex.Message))
	case codeAccessDenied, codeReadOnly:
		return configErrorf(ex, "%s: user %q may not do this: %s", at, t.User, shorten(ex.Message))
	case codeUnknownSetting:
		return configErrorf(ex, "%s does not know a setting that exactly-once storage needs; use ClickHouse 24.8 or newer: %s", at, shorten(ex.Message))
	}
	return fmt.Errorf("%s: code %d: %s: %w", at, ex.Code, shorten(ex.Message), errServer{ex})
}

// errServer keeps the exception reachable without printing it a second time.
type errServer struct{ ex *clickhouse.Exception }

func (e errServer) Error() string { return e.ex.CodeName }
func (e errServer) Unwrap() error { return e.ex }

func (t *target) explainTLS(err error) error {
	at := "clickhouse at " + t.where()
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		now := time.Now()
		if c := invalid.Cert; now.Before(c.NotBefore) {
			return configErrorf(err, "%s: its certificate is not valid before %s: check the clock here", at, c.NotBefore.UTC().Format(time.DateTime))
		}
		return configErrorf(err, "%s: its certificate expired on %s UTC: renew it on the server", at, invalid.Cert.NotAfter.UTC().Format(time.DateTime))
	case errors.As(err, &invalid):
		return configErrorf(err, "%s: its certificate is not usable: %v", at, invalid)
	case errors.As(err, &unknown):
		return configErrorf(err, "%s: its certificate is signed by an authority that is not known here: set clickhouse.tls.ca_file to the authority's certificate", at)
	case errors.As(err, &host):
		return configErrorf(err, "%s: its certificate is not for %q but for %s: correct the URL, or set tls.server_name", at, host.Host, names(host.Certificate))
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return configErrorf(err, "%s: the port does not speak TLS: write http:// or use the TLS port (8443, native 9440)", at)
	}
	if _, alert, ok := strings.Cut(err.Error(), "remote error: tls: "); ok { // crypto/tls keeps the type to itself
		hint := ""
		switch {
		case strings.Contains(alert, "protocol version"):
			hint = ": set clickhouse.tls.min_version to \"1.2\" if that is acceptable"
		case strings.Contains(alert, "certificate"):
			hint = ": the server asks for a client certificate that it knows; set tls.cert_file and tls.key_file"
		}
		return configErrorf(err, "%s: it refused the TLS handshake (%s)%s", at, shorten(alert), hint)
	}
	return nil
}

// oldFiles is why files that were replaced are not in use.
type oldFiles struct{ err error }

func (e oldFiles) Error() string {
	return "with the files of clickhouse.tls as they were before: " + e.err.Error()
}

func names(c *x509.Certificate) string {
	var ns []string
	ns = append(ns, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		ns = append(ns, ip.String())
	}
	if len(ns) == 0 {
		return "no host at all"
	}
	return strings.Join(ns, ", ")
}

// shorten keeps the first line of a message: what follows is the server's stack or the statement.
func shorten(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
