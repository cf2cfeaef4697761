package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// PKI is a throw-away certificate authority with its files.
type PKI struct {
	Dir    string
	CAFile string // ca.pem

	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

// NewPKI writes ca.pem and server.pem (key and certificate for localhost) to dir.
func NewPKI(dir string) (PKI, error) {
	p := PKI{Dir: dir, CAFile: filepath.Join(dir, "ca.pem")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, err
	}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return p, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "picket test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &p.key.PublicKey, p.key)
	if err != nil {
		return p, err
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return p, err
	}
	if err := writePEM(p.CAFile, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return p, err
	}
	cert, key, err := p.Issue("server", time.Hour*24, "localhost", "127.0.0.1")
	if err != nil {
		return p, err
	}
	both := []byte{}
	for _, f := range []string{key, cert} {
		b, err := os.ReadFile(f)
		if err != nil {
			return p, err
		}
		both = append(both, b...)
	}
	return p, os.WriteFile(filepath.Join(dir, "server.pem"), both, 0o600)
}

// Issue writes a certificate, for servers and clients alike, that is valid for the given time
// from an hour ago (so a negative one has expired), and returns its files.
func (p PKI) Issue(name string, valid time.Duration, hosts ...string) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(valid),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, p.ca, &key.PublicKey, p.key)
	if err != nil {
		return "", "", fmt.Errorf("issue a certificate for %s: %w", name, err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(p.Dir, name+".crt"), filepath.Join(p.Dir, name+".key")
	if err := writePEM(certFile, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return "", "", err
	}
	return certFile, keyFile, writePEM(keyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: k})
}

func writePEM(name string, b *pem.Block) error {
	return os.WriteFile(name, pem.EncodeToMemory(b), 0o600)
}
