package app

import (
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"picket/cmd/internal/config"
	"picket/detect/diag"
	"picket/detect/secret"
	"picket/store"
)

// tls.enabled encrypts the native protocol too: it was sent in the clear, the password with it.
func TestTLSForTheNativeProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := make(chan []byte, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 512)
		n, _ := c.Read(b)
		first <- b[:n]
	}()
	c := config.Default()
	c.ClickHouse.URL, c.ClickHouse.TLS.Enabled = "clickhouse://"+l.Addr().String(), true
	s := StoreConfig(c)
	s.Password, s.DialTimeout = secret.New("hunter2"), time.Second
	if db, err := store.Open(t.Context(), s); err == nil {
		db.Close()
		t.Fatal("opened")
	}
	if got := string(<-first); strings.Contains(got, "hunter2") || !strings.HasPrefix(got, "\x16\x03") {
		t.Errorf("the first bytes are %q, and not a TLS handshake", got)
	}
}

// Every retention that the configuration takes is one that verify does not warn of: "mend it"
// would name the same again.
func TestRetentionsThatMayBeSetAreVerified(t *testing.T) {
	for _, bound := range []string{"min", "max"} {
		c := config.Default()
		r := reflect.ValueOf(&c.Kafka.Retention).Elem()
		for i := range r.NumField() {
			d, err := diag.ParseDuration(r.Type().Field(i).Tag.Get(bound))
			if err != nil {
				t.Fatal(err)
			}
			r.Field(i).SetInt(int64(d))
		}
		for _, s := range TopicSpecs(c) {
			if s.Retention < s.MinRetention || s.MaxRetention > 0 && s.Retention > s.MaxRetention {
				t.Errorf("%s: %s %s may be set, and verify wants %s to %s", s.Name, bound, s.Retention, s.MinRetention, s.MaxRetention)
			}
		}
	}
}
