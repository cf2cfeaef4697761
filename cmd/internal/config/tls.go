package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// Client returns the settings for crypto/tls, or nil when TLS is off.
func (t TLS) Client() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	out := &tls.Config{MinVersion: uint16(t.MinVersion), ServerName: t.ServerName}
	if t.CAFile != "" {
		pool, _, err := readCAs(t.CAFile)
		if err != nil {
			return nil, err
		}
		out.RootCAs = pool
	}
	if t.CertFile != "" {
		pair, err := readPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// readCAs reads the authorities in a PEM file, and until when the last is valid.
func readCAs(file string) (*x509.CertPool, time.Time, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read %s: %s", file, reason(err))
	}
	pool, last := x509.NewCertPool(), time.Time{}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read %s: %w", file, err)
		}
		pool.AddCert(cert)
		if cert.NotAfter.After(last) {
			last = cert.NotAfter
		}
	}
	if last.IsZero() {
		return nil, time.Time{}, fmt.Errorf("read %s: no certificate in PEM form", file)
	}
	return pool, last, nil
}

func readPair(certFile, keyFile string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return pair, fmt.Errorf("read %s and %s: %w", certFile, keyFile, err)
	}
	if pair.Leaf == nil {
		return pair, errors.New("read " + certFile + ": no certificate")
	}
	return pair, nil
}
