package tlsfile_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"picket/ingest/kafka/kafkatest"
	"picket/internal/tlsfile"
)

type gauge float64

func (g *gauge) Set(v float64) { *g = gauge(v) }

// What is wrong with replaced files is told once, however many connections and clients meet it, with what is in
// use meanwhile; and that it is mended once too.
func TestFilesThatCannotBeReadAnew(t *testing.T) {
	pki, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := pki.Issue("client", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tlsfile.Pair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	read := gauge(1)
	files := tlsfile.Files{CA: pki.CAFile, Cert: cert, Key: key, Watch: &tlsfile.Watch{
		Section: "kafka.tls", Log: slog.New(slog.NewTextHandler(&log, nil)), Read: &read,
	}}
	var clients [2]*tlsfile.Client
	for i := range clients {
		if clients[i], err = tlsfile.New(files); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(name string, reads gauge, says ...string) {
		t.Helper()
		log.Reset()
		for range 3 {
			for _, c := range clients {
				conf, _ := c.Config()
				if in, err := conf.GetClientCertificate(nil); err != nil || !in.Leaf.Equal(pair.Leaf) || conf.RootCAs == nil {
					t.Errorf("%s: the certificate of before is not in use", name)
				}
			}
		}
		if n := strings.Count(log.String(), "\n"); n != min(1, len(says)) {
			t.Errorf("%s: %d lines:\n%s", name, n, log.String())
		}
		for _, s := range says {
			if !strings.Contains(log.String(), s) {
				t.Errorf("%s: %q does not say %q", name, log.String(), s)
			}
		}
		if read != reads {
			t.Errorf("%s: the gauge is %v", name, read)
		}
	}
	write := func(file string, data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(pki.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	until := "certificate_valid_until=" + pair.Leaf.NotAfter.UTC().Format(time.RFC3339)
	connect("as they were", 1)
	write(key, []byte("half of a k"))
	connect("a key that is none", 0, "level=WARN", "kafka.tls: ", "of before stay in use", key, "failed to find any PEM data in key input", until)
	write(pki.CAFile, nil)
	connect("an empty file too", 0, "no certificate in PEM form", pki.CAFile, until)
	write(pki.CAFile, authority)
	write(key, good)
	connect("mended", 1, "level=INFO", "kafka.tls: the files can be read again")
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	connect("no file", 0, cert, "no such file", until)
}

func TestOnlyCertificatesHaveAnEnd(t *testing.T) {
	pki, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c, err := tlsfile.New(tlsfile.Files{CA: pki.CAFile, Watch: &tlsfile.Watch{Section: "kafka.tls", Log: slog.New(slog.NewTextHandler(&log, nil))}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(pki.CAFile); err != nil {
		t.Fatal(err)
	}
	if conf, err := c.Config(); err == nil || conf.RootCAs == nil || !strings.Contains(log.String(), pki.CAFile) || strings.Contains(log.String(), "until") {
		t.Errorf("%v, and the log says %q", err, log.String())
	}
}
