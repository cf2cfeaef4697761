package kafka_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"picket/detect/secret"
	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
	"picket/internal/probe/probetest"
)

// Whatever listens at a broker's address, the error says what it is.
func TestSomethingElseListens(t *testing.T) {
	says, always := probetest.Says, probetest.Always
	login := &kafka.SASLConfig{Mechanism: "PLAIN", Username: "picket", Password: secret.New("hunter2-not-it")}
	for name, tt := range map[string]struct {
		addr, text string
		permanent  bool
	}{
		"controller":        {says(t, probetest.Kafka(probetest.Controller)), "a Kafka controller answers there", true},
		"ClickHouse's HTTP": {says(t, always(probetest.ClickHouse)), "ClickHouse's HTTP interface answers there, not Kafka", true},
		"ClickHouse's 9000": {says(t, always(probetest.ClickHouseNative)), "ClickHouse's native protocol answers there, not Kafka", true},
		"web server":        {says(t, always(probetest.Web)), "an HTTP server (nginx/1.27) answers there, not Kafka", false},
		"ssh":               {says(t, always(probetest.SSH)), `begins with "SSH-2.0-OpenSSH_9.6", not Kafka`, false},
		"hangs up":          {says(t, always("")), "hangs up without an answer", false},
		"silent":            {probetest.Silent(t), "takes connections and answers nothing", false},
	} {
		for how, c := range map[string]kafka.Config{"plain": {}, "sasl": {SASL: login}, "tls": {TLS: &kafka.TLSConfig{Enabled: true}}} {
			t.Run(name+" by "+how, func(t *testing.T) {
				t.Parallel()
				c.Brokers, c.DialTimeout = []string{tt.addr}, 500*time.Millisecond
				err := c.Check(t.Context())
				if err == nil || !strings.Contains(err.Error(), "connect to kafka at "+tt.addr+": ") || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("error %v does not say %q", err, tt.text)
				}
				if kafka.Permanent(err) != tt.permanent {
					t.Errorf("permanent: %t, want %t", !tt.permanent, tt.permanent)
				}
			})
		}
	}
}

// What waits for more, as servers of HTTP do, is known long before a broker would have to answer.
func TestSomethingElseWaits(t *testing.T) {
	login := &kafka.SASLConfig{Mechanism: "PLAIN", Username: "picket", Password: secret.New("hunter2-not-it")}
	for name, tt := range map[string]struct {
		says, text string
		permanent  bool
	}{
		"ClickHouse": {probetest.ClickHouse, "ClickHouse's HTTP interface answers there, not Kafka", true},
		"web server": {probetest.Web, "an HTTP server (nginx/1.27) answers there, not Kafka", false},
	} {
		for how, c := range map[string]kafka.Config{"plain": {}, "sasl": {SASL: login}, "tls": {TLS: &kafka.TLSConfig{Enabled: true}}} {
			t.Run(name+" by "+how, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				c.Brokers, c.DialTimeout = []string{probetest.Lines(t, tt.says)}, time.Minute
				err := c.Check(t.Context())
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
				if err == nil || !strings.Contains(err.Error(), tt.text) || kafka.Permanent(err) != tt.permanent {
					t.Errorf("permanent %t: error %v does not say %q", kafka.Permanent(err), err, tt.text)
				}
			})
		}
	}
}

// A broker that is slow to answer is waited for, also behind a gateway that answers HTTP for it.
func TestASlowBrokerIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		http  string
		looks int64 // connections of a look
	}{
		"alone":            {"", 3},
		"behind a gateway": {"HTTP/1.1 503 Service Unavailable\r\nServer: envoy\r\nContent-Length: 0\r\n\r\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var looks atomic.Int64
			looked := make(chan struct{})
			addr := between(t, kafkatest.Embedded(t)[0], func(n int, in *bufio.Reader, out io.Writer) bool {
				if n == 0 {
					select {
					case <-looked:
						return true
					case <-t.Context().Done():
						return false
					}
				}
				if looks.Add(1) == tt.looks {
					defer close(looked)
				}
				if begin, err := in.Peek(3); err == nil && string(begin) == "GET" {
					_, _ = io.WriteString(out, tt.http)
				}
				return false
			})
			if err := (kafka.Config{Brokers: []string{addr}, DialTimeout: 20 * time.Second}).Check(t.Context()); err != nil {
				t.Errorf("after %d connections: %v", looks.Load(), err)
			}
		})
	}
}

// A broker that comes up between an attempt and the look at what listens there is no mistake in the settings.
func TestABrokerThatComesUpIsNoMistake(t *testing.T) {
	t.Parallel()
	pki, pair := brokerPair(t)
	addr := between(t, probetest.Says(t, probetest.Kafka(probetest.Broker), pair), func(n int, _ *bufio.Reader, _ io.Writer) bool {
		return n > 0
	})
	err := kafka.Config{Brokers: []string{addr}, TLS: &kafka.TLSConfig{Enabled: true, CAFile: pki.CAFile}, DialTimeout: 2 * time.Second}.Check(t.Context())
	if err == nil || kafka.Permanent(err) || strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("permanent %t: %v", kafka.Permanent(err), err)
	}
}

// between passes the connections on that pass lets through, and ends the others.
func between(t *testing.T, to string, pass func(n int, in *bufio.Reader, out io.Writer) bool) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var working sync.WaitGroup
	t.Cleanup(func() { l.Close(); working.Wait() })
	serve := func(n int, in net.Conn) {
		defer in.Close()
		first := bufio.NewReader(in)
		if !pass(n, first, in) {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer out.Close()
		working.Go(func() {
			_, _ = io.Copy(in, out)
			in.Close()
		})
		_, _ = io.Copy(out, first)
	}
	working.Go(func() {
		for n := 0; ; n++ {
			in, err := l.Accept()
			if err != nil {
				return
			}
			working.Go(func() { serve(n, in) })
		}
	})
	return l.Addr().String()
}
