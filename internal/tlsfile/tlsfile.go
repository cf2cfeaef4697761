// Package tlsfile makes client settings for crypto/tls from PEM files, which may be replaced while they
// are in use: certificates are renewed by programs, every day or hour. It lies below
// every package that dials, because none of those packages knows another.
package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Files say who may sign the server's certificate, and who we are. Verification cannot be turned off.
type Files struct {
	CA         string // the system's authorities if empty
	Cert, Key  string // the client's certificate, if the server asks for one
	ServerName string // if the certificate names another host than the address does
	MinVersion uint16
	Watch      *Watch // hears how each later reading went; may be nil
}

// Client gives settings as the files are. Any number of goroutines may use it.
type Client struct {
	files Files
	mu    sync.Mutex
	last  *tls.Config // guarded by mu
}

// New reads the files.
func New(f Files) (*Client, error) {
	conf, err := f.read()
	if err != nil {
		return nil, err
	}
	return &Client{files: f, last: conf}, nil
}

// Config reads the files anew: connections are few. Where they cannot be read, as between the writing of a
// certificate and of its key, the settings are those of the last time, and err says why.
func (c *Client) Config() (conf *tls.Config, err error) {
	now, err := c.files.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.last = now
	}
	c.files.Watch.saw(err, c.last)
	return c.last.Clone(), err
}

func (f Files) read() (*tls.Config, error) {
	out := &tls.Config{ServerName: f.ServerName, MinVersion: f.MinVersion}
	if f.CA != "" {
		certs, err := Authorities(f.CA)
		if err != nil {
			return nil, err
		}
		out.RootCAs = x509.NewCertPool()
		for _, c := range certs {
			out.RootCAs.AddCert(c)
		}
	}
	switch {
	case f.Cert == "" && f.Key == "":
		return out, nil
	case f.Cert == "" || f.Key == "":
		return nil, errors.New("cert_file and key_file: give both, or neither")
	}
	pair, err := Pair(f.Cert, f.Key)
	if err != nil {
		return nil, err
	}
	// Always offer it: the default is to hide it when the server's list of accepted
	// issuers does not name ours, which then looks as if none were configured.
	out.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return out, nil
}

// Authorities reads the certificates in a PEM file.
func Authorities(file string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, bare(err))
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		out = append(out, cert)
	}
	if out == nil {
		return nil, fmt.Errorf("read %s: no certificate in PEM form", file)
	}
	return out, nil
}

// Pair reads a certificate and its key.
func Pair(certFile, keyFile string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return pair, fmt.Errorf("read %s and %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// bare drops the path that the message has already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
