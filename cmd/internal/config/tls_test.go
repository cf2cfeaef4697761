package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes NAME.pem and NAME.key, valid until notAfter.
func certificate(t *testing.T, dir, name string, notAfter time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: notAfter.Add(-time.Hour), NotAfter: notAfter,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "good", time.Now().Add(30*time.Minute))
	certificate(t, dir, "old", time.Date(2020, 2, 3, 0, 0, 0, 0, time.UTC))
	for _, tt := range []struct {
		name, tls, want string
	}{
		{"good", "ca_file: good.pem, cert_file: good.pem, key_file: good.key, server_name: kafka", ""},
		{"expired authority", "ca_file: old.pem", "every certificate in DIR/old.pem has expired, the last on 2020-02-03"},
		{"expired client", "cert_file: old.pem, key_file: old.key", "the certificate in DIR/old.pem expired on 2020-02-03"},
		{"another's key", "cert_file: good.pem, key_file: old.key", "private key does not match"},
		{"no key inside", "cert_file: good.pem, key_file: good.pem", "DIR/good.pem"},
		{"no file", "cert_file: none.pem, key_file: none.key", "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(dir, "picket.yaml")
			text := "kafka:\n  brokers: [kafka-1:9093]\n  tls: {enabled: true, " + tt.tls + "}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, problems := Load(file, variables(nil))
			if tt.want == "" {
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				if len(c.Warnings) > 0 {
					t.Error(c.Warnings)
				}
				if err := os.Chmod(filepath.Join(dir, "good.key"), 0o644); err != nil {
					t.Fatal(err)
				}
				c, _ = Load(file, variables(nil))
				if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Msg, "every user of this machine may read "+dir+"/good.key") {
					t.Errorf("a private key that everybody may read: got %v", c.Warnings)
				}
				return
			}
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			if len(problems) != 1 || problems[0].Line != 3 || !strings.Contains(problems[0].Msg, want) {
				t.Errorf("got %v, want %q", problems, want)
			}
		})
	}
}
