package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"picket/detect/secret"
	"picket/internal/tlsfile"
)

// Config says how to reach a cluster.
type Config struct {
	Brokers     []string // host:port of some brokers; the others are found through them
	ClientID    string   // shown in the broker's logs and quotas; "picket" by default
	TLS         *TLSConfig
	SASL        *SASLConfig
	DialTimeout time.Duration // for TCP, TLS and SASL together; 5 s by default
}

// TLSConfig turns on TLS. There is no way to skip verification. The files may be replaced: each new
// connection takes them as they are.
type TLSConfig struct {
	Enabled    bool
	CAFile     string // PEM; the system's roots if empty
	CertFile   string // PEM, the client's certificate, if the broker asks for one
	KeyFile    string
	ServerName string         // if the certificate names another host than the address does
	MinVersion string         // "1.3" (default) or "1.2"
	Watch      *tlsfile.Watch // hears of files that cannot be read anew; may be nil
}

// SASLConfig says who we are.
type SASLConfig struct {
	Mechanism string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	Username  string
	Password  secret.Value
}

func (c Config) clientID() string {
	if c.ClientID == "" {
		return "picket"
	}
	return c.ClientID
}

func (c Config) dialTimeout() time.Duration {
	if c.DialTimeout <= 0 {
		return 5 * time.Second
	}
	return c.DialTimeout
}

// Validate checks everything that needs no network, and reports all problems at once.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("kafka brokers: none given; name at least one as host:port"))
	}
	for _, b := range c.Brokers {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("kafka broker %q: want host:port, such as kafka-1.example.com:9092", b))
		}
	}
	if _, err := c.tls(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.sasl(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// tls is nil without TLS.
func (c Config) tls() (*tlsfile.Client, error) {
	t := c.TLS
	if t == nil || !t.Enabled {
		return nil, nil
	}
	f := tlsfile.Files{CA: t.CAFile, Cert: t.CertFile, Key: t.KeyFile, ServerName: t.ServerName, Watch: t.Watch}
	switch t.MinVersion {
	case "", "1.3":
		f.MinVersion = tls.VersionTLS13
	case "1.2":
		f.MinVersion = tls.VersionTLS12
	default:
		return nil, fmt.Errorf("kafka.tls.min_version %q: want 1.3 or 1.2", t.MinVersion)
	}
	files, err := tlsfile.New(f)
	if err != nil {
		return nil, fmt.Errorf("kafka.tls: %w", err)
	}
	return files, nil
}

func (c Config) sasl() (sasl.Mechanism, error) {
	s := c.SASL
	if s == nil || s.Mechanism == "" {
		return nil, nil
	}
	if s.Username == "" || !s.Password.IsSet() {
		return nil, fmt.Errorf("kafka sasl %s: username and password are both needed", s.Mechanism)
	}
	var m sasl.Mechanism
	var err error
	switch strings.ToUpper(s.Mechanism) {
	case "PLAIN":
		m = plain.Mechanism{Username: s.Username, Password: s.Password.Reveal()}
	case "SCRAM-SHA-256":
		m, err = scram.Mechanism(scram.SHA256, s.Username, s.Password.Reveal())
	case "SCRAM-SHA-512":
		m, err = scram.Mechanism(scram.SHA512, s.Username, s.Password.Reveal())
	default:
		return nil, fmt.Errorf("kafka.sasl.mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", s.Mechanism)
	}
	if err != nil {
		return nil, fmt.Errorf("kafka sasl %s for user %q: the user name or password has characters that SCRAM forbids", s.Mechanism, s.Username)
	}
	return m, nil
}
