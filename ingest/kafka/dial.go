package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"

	"picket/internal/probe"
	"picket/internal/tlsfile"
)

// rpcTimeout bounds one request to a broker, beyond what it is asked to wait.
const rpcTimeout = 10 * time.Second

// patience is how long a broker may take to answer before a look finds out whether it is one: most other
// servers wait for the end of a line, which our requests do not have.
const patience = time.Second

// metadataTTL is how long a change of leader may go unnoticed.
const metadataTTL = 2 * time.Second

// dial opens TCP and, if configured, TLS. Doing TLS here and not in kafka-go keeps the
// broker's address in the error and the host name in the check.
func (c Config) dial(files *tlsfile.Client) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, c.dialTimeout())
		defer cancel()
		conn, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, &connectError{addr: addr, stage: stageTCP, err: err, cfg: c}
		}
		if files == nil {
			return conn, nil
		}
		conf, old := files.Config()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t := tls.Client(conn, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &connectError{addr: addr, stage: stageTLS, err: err, cfg: c, old: old}
		}
		return t, nil
	}
}

// connect makes a client and checks that the cluster answers it, so that a wrong address,
// certificate or password is told at once and in words. The caller closes it with hangUp.
func (c Config) connect(ctx context.Context) (*kgo.Client, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	if err := c.Check(ctx); err != nil {
		return nil, err
	}
	return client, nil
}

func (c Config) client() (*kgo.Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	mechanism, err := c.sasl()
	if err != nil {
		return nil, err
	}
	return &kgo.Client{
		Addr: kgo.TCP(c.Brokers...),
		Transport: &kgo.Transport{
			Dial:        c.dial(conf),
			DialTimeout: c.dialTimeout(),
			IdleTimeout: time.Minute,
			MetadataTTL: metadataTTL,
			ClientID:    c.clientID(),
			SASL:        mechanism,
		},
	}, nil
}

func hangUp(client *kgo.Client) {
	if t, ok := client.Transport.(*kgo.Transport); ok {
		t.CloseIdleConnections()
	}
}

// freshen drops idle connections after an error that was not a broker's answer: when a
// broker went away, each of them would cost an attempt of its own.
func freshen(client *kgo.Client, err error) {
	if unanswered(err) {
		hangUp(client)
	}
}

// unanswered reports whether a request may or may not have been done.
func unanswered(err error) bool {
	var answer kgo.Error
	return err != nil && !errors.As(err, &answer) && !errors.Is(err, context.Canceled)
}

// Check connects to the brokers in turn until one answers. If none does, the error says for
// each what was tried, what went wrong, and what to look at.
func (c Config) Check(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return err
	}
	conf, err := c.tls()
	if err != nil {
		return err
	}
	mechanism, err := c.sasl()
	if err != nil {
		return err
	}
	var errs unreachable
	for _, addr := range c.Brokers {
		err := c.greet(ctx, conf, mechanism, addr)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errs
}

func (c Config) greet(ctx context.Context, files *tlsfile.Client, mechanism sasl.Mechanism, addr string) error {
	bounded, cancel := context.WithTimeout(ctx, c.dialTimeout())
	defer cancel()
	var conf *tls.Config
	if files != nil {
		conf, _ = files.Config()
	}
	looking, enough := context.WithCancel(ctx)
	look := sync.OnceValue(func() probe.Answer { return probe.Look(looking, addr, conf) })
	beside := time.AfterFunc(patience, func() {
		if look().Foreign() {
			cancel()
		}
	})
	defer func() {
		if enough(); !beside.Stop() {
			look() // until it has ended
		}
	}()
	dial := c.dial(files)
	d := &kgo.Dialer{ClientID: c.clientID(), SASLMechanism: mechanism, DialFunc: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil { // the library's own time limits leave SASL out
			context.AfterFunc(bounded, func() { conn.Close() })
		}
		return conn, err
	}}
	at, err := hello(bounded, d, addr)
	switch {
	case err == nil:
		return nil
	case errors.Is(bounded.Err(), context.Canceled) && ctx.Err() == nil: // by the look
		e := &connectError{addr: addr, stage: at, err: err, cfg: c}
		e.found(look(), conf != nil)
		return e
	case errors.Is(bounded.Err(), context.DeadlineExceeded) && errors.Is(err, net.ErrClosed):
		err = fmt.Errorf("no answer in %s: %w", c.dialTimeout(), context.DeadlineExceeded)
	}
	return c.explainDial(addr, at, conf != nil, look, err)
}

// hello asks a broker for what a client asks first, and says how far it came.
func hello(ctx context.Context, d *kgo.Dialer, addr string) (stage, error) {
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return stageSASL, err
	}
	defer conn.Close()
	if _, err := conn.ApiVersions(); err != nil {
		return stageHello, err
	}
	_, err = conn.Brokers()
	return stageMetadata, err
}
