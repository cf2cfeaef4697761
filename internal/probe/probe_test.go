package probe_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"picket/ingest/kafka/kafkatest"
	"picket/internal/probe"
	"picket/internal/probe/probetest"
)

func TestLook(t *testing.T) {
	web := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	pair := web.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	conf := &tls.Config{RootCAs: roots}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	says := probetest.Says
	for name, tt := range map[string]struct {
		addr string
		conf *tls.Config
		kind probe.Kind
		text string
	}{
		"broker":                {kafkatest.Embedded(t)[0], nil, probe.Broker, "Kafka broker"},
		"broker, asked by TLS":  {kafkatest.Embedded(t)[0], conf, probe.Broker, "Kafka broker"},
		"broker with TLS":       {says(t, probetest.Kafka(probetest.Broker), pair), conf, probe.Broker, "Kafka broker"},
		"controller":            {says(t, probetest.Kafka(probetest.Controller)), nil, probe.Controller, "Kafka controller"},
		"clickhouse":            {says(t, probetest.Always(probetest.ClickHouse)), nil, probe.ClickHouse, "ClickHouse's HTTP"},
		"clickhouse with TLS":   {says(t, probetest.Always(probetest.ClickHouse), pair), conf, probe.ClickHouse, "ClickHouse's HTTP"},
		"clickhouse's 9000":     {says(t, probetest.Always(probetest.ClickHouseNative)), nil, probe.ClickHouseNative, "native protocol"},
		"web server":            {says(t, probetest.Always(probetest.Web)), nil, probe.HTTP, "an HTTP server (nginx/1.27)"},
		"TLS, asked without":    {says(t, probetest.Always(probetest.ClickHouse), pair), nil, probe.TLS, "wants TLS"},
		"Go's TLS":              {strings.TrimPrefix(web.URL, "https://"), nil, probe.TLS, "wants TLS"},
		"something else":        {says(t, probetest.Always(probetest.SSH)), nil, probe.Other, `"SSH-2.0-OpenSSH_9.6"`},
		"a stranger's escapes":  {says(t, probetest.Always("\x1b[2J\u202ehello\xff\n")), nil, probe.Other, `"[2Jhello"`},
		"hangs up":              {says(t, probetest.Always("")), nil, probe.HangsUp, "hangs up"},
		"silent":                {probetest.Silent(t), nil, probe.Silent, "answers nothing"},
		"silent, asked by TLS":  {probetest.Silent(t), conf, probe.Silent, "answers nothing"},
		"silent through TLS":    {probetest.Silent(t, pair), conf, probe.Silent, "answers nothing"},
		"another's certificate": {says(t, probetest.Always(probetest.Web), pair), &tls.Config{RootCAs: x509.NewCertPool()}, probe.Nobody, "nobody"},
		"nobody":                {gone.Addr().String(), nil, probe.Nobody, "nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := probe.Look(t.Context(), tt.addr, tt.conf)
			if a.Kind != tt.kind || !strings.Contains(a.String(), tt.text) {
				t.Errorf("kind %d, %q; want kind %d and %q", a.Kind, a, tt.kind, tt.text)
			}
		})
	}
}

// Whatever a stranger sends, a look ends and its text is fit for a terminal.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{probetest.ClickHouse, probetest.ClickHouseNative, probetest.Web, probetest.SSH, probetest.Broker, probetest.Controller, "", "\x00\x00\x00\x0a\x00\x00\x00\x01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, said string) {
		for _, r := range probe.Judge([]byte(said)).String() {
			if r < ' ' || r == 0x7f {
				t.Errorf("%q shows %q", said, r)
			}
		}
	})
}
