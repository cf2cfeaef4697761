// Package probetest gives tests servers that are not the ones that were expected.
package probetest

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// What other servers answer to any first request. ClickHouse's are of its version 26.7.
const (
	ClickHouse       = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\nX-ClickHouse-Summary: {}\r\nContent-Length: 4\r\n\r\nOk.\n"
	ClickHouseNative = "HTTP/1.0 400 Bad Request\r\n\r\nPort 9000 is for clickhouse-client program\r\nYou must use port 8123 for HTTP.\r\n"
	Web              = "HTTP/1.1 404 Not Found\r\nServer: nginx/1.27\r\nContent-Length: 5\r\n\r\nnope\n"
	SSH              = "SSH-2.0-OpenSSH_9.6\r\n"
)

// Broker and Controller are Kafka's answers to the request for its versions, to a client's first request: one
// that can take records, and one that cannot.
const (
	Broker     = "\x00\x00\x00\x16" + "\x00\x00\x00\x01" + "\x00\x00" + "\x00\x00\x00\x02" + "\x00\x00\x00\x00\x00\x09" + "\x00\x12\x00\x00\x00\x03"
	Controller = "\x00\x00\x00\x16" + "\x00\x00\x00\x01" + "\x00\x00" + "\x00\x00\x00\x02" + "\x00\x01\x00\x00\x00\x09" + "\x00\x12\x00\x00\x00\x03"
)

// Says listens, and answers each connection's first bytes with what text makes of them, once; "" hangs up. With
// a certificate it speaks TLS.
func Says(t testing.TB, text func(request []byte) string, pair ...tls.Certificate) (addr string) {
	t.Helper()
	return listen(t, pair, func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 4096)
		if n, err := c.Read(b); err == nil {
			_, _ = c.Write([]byte(text(b[:n])))
		}
	})
}

// Lines is Says for what waits for the end of a line, as servers of HTTP do: a client of another protocol hears nothing.
func Lines(t testing.TB, text string) (addr string) {
	t.Helper()
	return listen(t, nil, func(c net.Conn) {
		defer c.Close()
		t.Cleanup(func() { c.Close() })
		if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
			_, _ = io.WriteString(c, text)
		}
	})
}

// Always is a text for Says that does not depend on the request.
func Always(text string) func([]byte) string { return func([]byte) string { return text } }

// Kafka answers its own requests with text, and hangs up on others, as Kafka does.
func Kafka(text string) func([]byte) string {
	return func(request []byte) string {
		if len(request) < 8 || request[0] != 0 {
			return ""
		}
		return text
	}
}

// Silent listens, takes connections and answers nothing.
func Silent(t testing.TB, pair ...tls.Certificate) (addr string) {
	t.Helper()
	return listen(t, pair, func(c net.Conn) {
		if tc, ok := c.(*tls.Conn); ok {
			_ = tc.Handshake()
		}
		t.Cleanup(func() { c.Close() })
	})
}

func listen(t testing.TB, pair []tls.Certificate, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if len(pair) > 0 {
		l = tls.NewListener(l, &tls.Config{Certificates: pair})
	}
	var working sync.WaitGroup
	t.Cleanup(func() { l.Close(); working.Wait() })
	working.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			working.Go(func() { serve(c) })
		}
	})
	return addr
}
