package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// Kind is what listens.
type Kind int

const (
	Nobody           Kind = iota // no connection, by now
	Silent                       // takes connections, and answers none
	HangsUp                      // takes connections, and ends them
	Broker                       // a Kafka broker
	Controller                   // the port where Kafka's controllers talk to each other
	ClickHouse                   // ClickHouse's HTTP interface
	ClickHouseNative             // ClickHouse's native protocol
	HTTP                         // another HTTP server
	TLS                          // some server that wants TLS, and was looked at without
	Other                        // says something else
)

// Answer is what a look found.
type Answer struct {
	Kind    Kind
	Secure  bool // it was heard through TLS
	said    string
	gateway bool // it says that it speaks for another, which it could not reach or understand
}

// Foreign reports whether what answers there is surely no broker, which may only be slow: a gateway that
// knows HTTP may have one behind it.
func (a Answer) Foreign() bool {
	switch a.Kind {
	case ClickHouse, ClickHouseNative, Other:
		return true
	case HTTP:
		return !a.gateway
	}
	return false
}

func (a Answer) String() string {
	switch a.Kind {
	case Silent:
		return "it takes connections and answers nothing"
	case HangsUp:
		return "it takes connections and hangs up without an answer"
	case Broker:
		return "a Kafka broker answers there"
	case Controller:
		return "a Kafka controller answers there"
	case ClickHouse:
		return "ClickHouse's HTTP interface answers there"
	case ClickHouseNative:
		return "ClickHouse's native protocol answers there"
	case HTTP:
		return "an HTTP server" + a.said + " answers there"
	case TLS:
		return "a server that wants TLS answers there"
	case Other:
		return fmt.Sprintf("what answers there begins with %q", a.said)
	}
	return "nobody answers there any more"
}

// each bounds one connection of a look, of which there are at most three.
const each = time.Second

// Look connects to an address and asks in the protocols that Picket's servers speak. With a
// configuration for TLS it asks through TLS where the server has that.
func Look(ctx context.Context, addr string, conf *tls.Config) Answer {
	l := look{addr: addr, conf: conf}
	heard := l.ask(ctx, "GET /ping HTTP/1.0\r\n\r\n")
	if heard.Kind != Silent && heard.Kind != HangsUp {
		return heard
	}
	if conf == nil && l.wantsTLS(ctx) {
		return Answer{Kind: TLS}
	}
	if !heard.Secure { // TLS was not answered either
		l.conf = nil
	}
	if kafka := l.ask(ctx, apiVersions); kafka.Kind == Broker || kafka.Kind == Controller {
		return kafka
	}
	return heard
}

type look struct {
	addr string
	conf *tls.Config
}

// ask sends a request and judges what comes back.
func (l look) ask(ctx context.Context, request string) Answer {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	conn, err := l.dial(ctx)
	switch {
	case errors.Is(err, errSilent):
		return Answer{Kind: Silent}
	case err != nil:
		return Answer{Kind: Nobody}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, err = io.WriteString(conn, request)
	answer := make([]byte, 4096)
	n := 0
	for err == nil && n < len(answer) && !enough(answer[:n]) {
		var m int
		m, err = conn.Read(answer[n:])
		n += m
	}
	a := Answer{Kind: HangsUp}
	switch {
	case n > 0:
		a = judge(answer[:n])
	case ctx.Err() != nil:
		a.Kind = Silent
	}
	_, a.Secure = conn.(*tls.Conn)
	return a
}

var errSilent = errors.New("no answer to the TLS handshake")

// dial connects, through TLS if that is asked for and the server has it.
func (l look) dial(ctx context.Context) (net.Conn, error) {
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	if err != nil || l.conf == nil {
		return plain, err
	}
	conn := tls.Client(plain, l.named())
	if err := conn.HandshakeContext(ctx); err != nil {
		plain.Close()
		if ctx.Err() != nil {
			return nil, errSilent
		}
		if record := new(tls.RecordHeaderError); !errors.As(err, record) && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	}
	return conn, nil
}

func (l look) named() *tls.Config {
	conf := l.conf.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(l.addr)
	}
	return conf
}

// wantsTLS reports whether anything like a TLS server answers; whose it is does not matter here.
func (l look) wantsTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return false
	}
	defer plain.Close()
	l.conf = &tls.Config{MinVersion: tls.VersionTLS12}
	err = tls.Client(plain, l.named()).HandshakeContext(ctx)
	var cert *tls.CertificateVerificationError
	return err == nil || errors.As(err, &cert) || strings.Contains(err.Error(), "remote error: tls")
}

// apiVersions is Kafka's request 18 in version 0, which every broker of every listener answers first.
const apiVersions = "\x00\x00\x00\x10" + "\x00\x12\x00\x00" + "\x00\x00\x00\x01" + "\x00\x06picket"

// enough reports whether an answer can be judged: HTTP ends by itself, and Kafka says how long it is.
func enough(b []byte) bool {
	if len(b) < 4 || bytes.HasPrefix(b, []byte("HTTP")) {
		return false
	}
	n := binary.BigEndian.Uint32(b)
	return n > 1<<16 || len(b) >= int(n)+4
}

func judge(b []byte) Answer {
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/")):
		return judgeHTTP(b)
	case len(b) > 1 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3: // a TLS record
		return Answer{Kind: TLS}
	case len(b) >= 14 && binary.BigEndian.Uint32(b[4:]) == 1: // the number of our request
		for keys := b[14:]; len(keys) >= 6; keys = keys[6:] {
			if binary.BigEndian.Uint16(keys) == 0 { // produce, which controllers do not have
				return Answer{Kind: Broker}
			}
		}
		return Answer{Kind: Controller}
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return Answer{Kind: Other, said: short(line)}
}

func judgeHTTP(b []byte) Answer {
	text := string(b)
	switch {
	case strings.Contains(text, "clickhouse-client"): // the native port knows a browser's request
		return Answer{Kind: ClickHouseNative}
	case strings.Contains(text, "HTTP request to an HTTPS server"), strings.Contains(text, "HTTP request was sent to HTTPS port"):
		return Answer{Kind: TLS}
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return Answer{Kind: HTTP}
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body) // as much as came
	for name := range res.Header {
		if strings.HasPrefix(name, "X-Clickhouse") {
			return Answer{Kind: ClickHouse}
		}
	}
	if strings.TrimSpace(string(body)) == "Ok." {
		return Answer{Kind: ClickHouse}
	}
	a := Answer{Kind: HTTP, gateway: res.StatusCode >= http.StatusBadGateway && res.StatusCode <= http.StatusGatewayTimeout}
	if server := short(res.Header.Get("Server")); server != "" {
		a.said = " (" + server + ")"
	}
	return a
}

// short is text of a stranger, fit for an error.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.TrimSpace(s))
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
