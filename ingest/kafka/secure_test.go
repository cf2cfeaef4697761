package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"picket/detect/secret"
	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
	"picket/internal/probe/probetest"
	"picket/internal/tlsfile"
)

// Every way to be let in writes and reads a record; every way to be refused says why.
func TestSecureListeners(t *testing.T) {
	node := kafkatest.RealNode(t)
	topic := newTopic(t, []string{node.Plain}, 1)
	ca := node.PKI.CAFile
	cert, key, err := node.PKI.Issue("client", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	expired, expiredKey, err := node.PKI.Issue("expired", -time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	strange, strangeKey, err := other.Issue("strange", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secure := func(change ...func(*kafka.TLSConfig)) *kafka.TLSConfig {
		c := &kafka.TLSConfig{Enabled: true, CAFile: ca}
		for _, f := range change {
			f(c)
		}
		return c
	}
	as := func(mechanism, user, password string) *kafka.SASLConfig {
		return &kafka.SASLConfig{Mechanism: mechanism, Username: user, Password: secret.New(password)}
	}
	const good, bad = "picket-dev", "hunter2-not-it"
	for _, c := range []struct {
		name string
		addr string
		tls  *kafka.TLSConfig
		sasl *kafka.SASLConfig
		err  []string // empty: it works
	}{
		{name: "tls", addr: node.TLS, tls: secure()},
		{name: "tls 1.2", addr: node.TLS, tls: secure(func(c *kafka.TLSConfig) { c.MinVersion = "1.2" })},
		{name: "client certificate", addr: node.MTLS, tls: secure(func(c *kafka.TLSConfig) { c.CertFile, c.KeyFile = cert, key })},
		{name: "plain", addr: node.SASLTLS, tls: secure(), sasl: as("PLAIN", "picket", good)},
		{name: "scram 256", addr: node.SASLTLS, tls: secure(), sasl: as("SCRAM-SHA-256", "picket", good)},
		{name: "scram 512 without tls", addr: node.SASL, sasl: as("SCRAM-SHA-512", "picket", good)},

		{name: "controller", addr: above(t, node.Plain), err: []string{"a Kafka controller answers there", "kafka.brokers", "9092"}},
		{name: "controller under sasl", addr: above(t, node.Plain), sasl: as("PLAIN", "picket", good), err: []string{"a Kafka controller answers there"}},
		{name: "tls needed", addr: node.TLS, err: []string{node.TLS, "the broker expects TLS, and plaintext was used", "kafka.tls.enabled"}},
		{name: "tls where there is none", addr: node.Plain, tls: secure(), err: []string{node.Plain, "TLS on this port"}},
		{name: "unknown ca", addr: node.TLS, tls: &kafka.TLSConfig{Enabled: true, CAFile: other.CAFile}, err: []string{"authority that is not trusted", "ca_file"}},
		{name: "wrong host", addr: node.TLS, tls: secure(func(c *kafka.TLSConfig) { c.ServerName = "kafka.example.com" }), err: []string{"kafka.example.com", "server_name"}},
		{name: "no client certificate", addr: node.MTLS, tls: secure(), err: []string{"asks for a client certificate", "cert_file"}},
		{name: "strange client certificate", addr: node.MTLS, tls: secure(func(c *kafka.TLSConfig) { c.CertFile, c.KeyFile = strange, strangeKey }), err: []string{"refused our client certificate"}},
		{name: "expired client certificate", addr: node.MTLS, tls: secure(func(c *kafka.TLSConfig) { c.CertFile, c.KeyFile = expired, expiredKey }), err: []string{"client certificate", "valid"}},
		{name: "sasl needed", addr: node.SASL, err: []string{"needs authentication", "kafka.sasl.mechanism"}},
		{name: "wrong plain password", addr: node.SASLTLS, tls: secure(), sasl: as("PLAIN", "picket", bad), err: []string{`user "picket" with PLAIN`, "refused the user name or password"}},
		{name: "wrong scram password", addr: node.SASL, sasl: as("SCRAM-SHA-256", "picket", bad), err: []string{`user "picket" with SCRAM-SHA-256`, "refused the user name or password"}},
		{name: "unknown user", addr: node.SASL, sasl: as("SCRAM-SHA-512", "nobody", bad), err: []string{`user "nobody"`}},
		{name: "sasl where there is none", addr: node.Plain, sasl: as("PLAIN", "picket", good), err: []string{node.Plain, "SASL"}},
		{name: "tls needed under sasl", addr: node.SASLTLS, sasl: as("PLAIN", "picket", good), err: []string{"expects TLS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := kafka.Config{Brokers: []string{c.addr}, TLS: c.tls, SASL: c.sasl, DialTimeout: 3 * time.Second}
			p, err := kafka.NewProducer(cfg, kafka.ProducerOptions{})
			if len(c.err) > 0 {
				if err == nil {
					t.Fatal("it was let in")
				}
				for _, has := range c.err {
					if !strings.Contains(err.Error(), has) {
						t.Errorf("error %q does not say %q", err, has)
					}
				}
				if strings.Contains(err.Error(), bad) || strings.Contains(err.Error(), good) {
					t.Errorf("error %q tells the password", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if err := p.Produce(t.Context(), []kafka.Record{{Topic: topic, Value: []byte(c.name)}}); err != nil {
				t.Fatal(err)
			}
			var last string
			if err := kafka.Scan(t.Context(), cfg, topic, func(r kafka.Record) error { last = string(r.Value); return nil }); err != nil || last != c.name {
				t.Errorf("read %q, %v; want %q", last, err, c.name)
			}
		})
	}
}

func TestUserWithoutRights(t *testing.T) {
	node := kafkatest.RealNode(t)
	topic := newTopic(t, []string{node.Plain}, 1)
	cfg := kafka.Config{Brokers: []string{node.SASL}, SASL: &kafka.SASLConfig{Mechanism: "PLAIN", Username: "limited", Password: secret.New("picket-dev")}}
	p, err := kafka.NewProducer(cfg, kafka.ProducerOptions{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	says := func(err error, what ...string) {
		t.Helper()
		for _, w := range what {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("error %v does not say %q", err, w)
			}
		}
	}
	says(p.Produce(t.Context(), []kafka.Record{{Topic: topic, Value: []byte("x")}}), topic, "does not exist, or this user may not see it")
	admin, err := kafka.NewTopics(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	_, err = admin.Create(t.Context(), []kafka.TopicSpec{{Name: "not-allowed", Partitions: 1, Retention: time.Hour}})
	says(err, "picket.meta", "kafka-acls")
	c, err := kafka.NewConsumer(cfg, kafka.ConsumerOptions{Topic: topic, Group: "g-limited"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	_, err = c.Poll(t.Context())
	says(err, "g-limited", "kafka-acls")
	if !kafka.Permanent(err) {
		t.Errorf("%v is not permanent", err)
	}
}

func TestUnreachableBrokers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	silent, refused := l.Addr().String(), dead.Addr().String()
	began := time.Now()
	err = kafka.Config{Brokers: []string{refused, silent, "no-such-host.invalid:9092"}, DialTimeout: 500 * time.Millisecond}.Check(t.Context())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to give up", took)
	}
	for _, has := range []string{"no kafka broker can be used", "kafka at " + refused, "nothing listens there", "kafka at " + silent, "kafka at no-such-host.invalid:9092"} {
		if err == nil || !strings.Contains(err.Error(), has) {
			t.Errorf("error %v does not say %q", err, has)
		}
	}
}

func TestExpiredServerCertificate(t *testing.T) {
	pki, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := pki.Issue("old", -time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	err = kafka.Config{Brokers: []string{l.Addr().String()}, TLS: &kafka.TLSConfig{Enabled: true, CAFile: pki.CAFile}}.Check(t.Context())
	for _, has := range []string{l.Addr().String(), "expired", "the broker's certificate is not valid now: valid from", "renew it"} {
		if err == nil || !strings.Contains(err.Error(), has) {
			t.Errorf("error %v does not say %q", err, has)
		}
	}
}

func TestConfigIsCheckedWithoutNetwork(t *testing.T) {
	err := kafka.Config{
		Brokers: []string{"localhost"},
		TLS:     &kafka.TLSConfig{Enabled: true, MinVersion: "1.1"},
		SASL:    &kafka.SASLConfig{Mechanism: "GSSAPI", Username: "u", Password: secret.New("geheim")},
	}.Validate()
	for _, has := range []string{`"localhost": want host:port`, `"1.1"`, `"GSSAPI": want PLAIN`} {
		if err == nil || !strings.Contains(err.Error(), has) {
			t.Errorf("error %v does not say %s", err, has)
		}
	}
	s := kafka.SASLConfig{Password: secret.New("geheim")}
	if out := fmt.Sprintf("%v %+v %#v %s", s, s, s, s.Password); strings.Contains(out, "geheim") {
		t.Errorf("the password is printed: %s", out)
	}
}

// above is the same host with the next port: the node's controller.
func above(t *testing.T, addr string) string {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(a.Addr(), a.Port()+1).String()
}

// brokerPair is the certificate of a broker on this machine, and who issued it.
func brokerPair(t *testing.T) (kafkatest.PKI, tls.Certificate) {
	t.Helper()
	pki, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, err := pki.Issue("broker", time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pki, pair
}

// Files that are replaced and cannot be read leave those of before in use, and that is told.
func TestFilesThatCannotBeReadAnewAreTold(t *testing.T) {
	pki, pair := brokerPair(t)
	addr := probetest.Says(t, probetest.Kafka(probetest.Broker), pair)
	var log bytes.Buffer
	watch := &tlsfile.Watch{Section: "kafka.tls", Log: slog.New(slog.NewTextHandler(&log, nil))}
	dial, err := kafka.Dialer(kafka.Config{TLS: &kafka.TLSConfig{Enabled: true, CAFile: pki.CAFile, Watch: watch}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pki.CAFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		conn, err := dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, pki.CAFile) {
		t.Errorf("the log says %q", s)
	}
}
