package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	kgo "github.com/segmentio/kafka-go"

	"picket/internal/probe"
)

type stage int

const (
	stageTCP      stage = iota // connecting
	stageTLS                   // TLS handshake
	stageSASL                  // authenticating
	stageHello                 // first request, which needs no authentication
	stageMetadata              // first request that does
)

// connectError is a broker that did not let us in: where, at which stage, and what to do.
type connectError struct {
	addr  string
	stage stage
	err   error
	hint  string
	wrong bool // it is a matter of settings: waiting does not help
	cfg   Config
	old   error // why its TLS files were not read anew; nil if they were
}

func (e *connectError) Unwrap() error { return e.err }

func (e *connectError) Error() string {
	hint := e.hint
	if hint == "" {
		hint = e.guess()
	}
	s := fmt.Sprintf("connect to kafka at %s: %v", e.addr, cause(e.err))
	if hint != "" {
		s += " (" + hint + ")"
	}
	if e.old != nil {
		s += fmt.Sprintf("; with the files of kafka.tls as they were before: %v", e.old)
	}
	return s
}

// cause drops the outer layers that repeat the address.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}

func (e *connectError) guess() string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		dns     *net.DNSError
		alert   tls.AlertError
	)
	msg := e.err.Error()
	switch {
	case errors.As(e.err, &dns):
		return "the host name does not resolve; check kafka.brokers"
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return "nothing listens there; is the broker running, and is the port right?"
	case e.stage == stageTCP && timeout(e.err):
		return fmt.Sprintf("no answer in %s; check the address, and firewalls on the way", e.cfg.dialTimeout())
	case errors.As(e.err, &unknown):
		return "the broker's certificate was signed by an authority that is not trusted here; set kafka.tls.ca_file to the CA that signed it"
	case errors.As(e.err, &host):
		return "the broker's certificate is for another host; use a name it carries in kafka.brokers, or set kafka.tls.server_name"
	case errors.As(e.err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the broker's certificate is not valid now: valid from %s to %s; renew it, or check this host's clock",
			invalid.Cert.NotBefore.UTC().Format(time.DateTime), invalid.Cert.NotAfter.UTC().Format(time.DateTime))
	case errors.As(e.err, &record):
		return "the broker does not speak TLS on this port; use its TLS port, or turn kafka.tls.enabled off"
	case errors.As(e.err, &alert), strings.Contains(msg, "remote error: tls"):
		return e.guessAlert(msg)
	case strings.Contains(msg, "protocol version not supported"):
		return "the broker does not offer TLS 1.3; set kafka.tls.min_version to \"1.2\" if that is acceptable"
	case e.stage == stageTLS && (errors.Is(e.err, io.EOF) || timeout(e.err)):
		return "the broker does not answer to TLS on this port; is it the plaintext port?"
	}
	return ""
}

func (e *connectError) guessAlert(msg string) string {
	withCert := e.cfg.TLS != nil && e.cfg.TLS.CertFile != ""
	switch {
	case strings.Contains(msg, "certificate required"), strings.Contains(msg, "bad certificate") && !withCert, strings.Contains(msg, "handshake failure") && !withCert:
		return "the broker asks for a client certificate; set kafka.tls.cert_file and key_file"
	case strings.Contains(msg, "expired"):
		return "the broker says that our client certificate has expired; renew kafka.tls.cert_file"
	case strings.Contains(msg, "protocol version"):
		return "the broker does not offer TLS 1.3; set kafka.tls.min_version to \"1.2\" if that is acceptable"
	case withCert:
		return "the broker refused our client certificate; is kafka.tls.cert_file signed by an authority that the broker trusts, and still valid?"
	}
	return ""
}

// explainDial turns what kafka-go reports into a connectError. Where that leaves open what
// listens there, a look finds out.
func (c Config) explainDial(addr string, at stage, secure bool, look func() probe.Answer, err error) error {
	e := &connectError{addr: addr, stage: at, err: err, cfg: c}
	dialled := errors.As(err, &e)
	switch {
	case e.stage == stageTCP || dialled && !unclear(err):
		// The connection, or TLS, said why itself.
	case strings.Contains(err.Error(), "remote error: tls"):
		// With TLS 1.3 a refused client certificate is only heard of after the handshake.
	case c.SASL != nil && isSASL(err):
		e.wrong = true
		e.err = errors.New("the broker refused the user name or password")
		e.hint = fmt.Sprintf("user %q with %s; is the user known to the broker for this mechanism?", c.SASL.Username, c.SASL.Mechanism)
	case c.SASL != nil && errors.Is(err, kgo.UnsupportedSASLMechanism):
		e.wrong = true
		e.err = fmt.Errorf("the broker does not offer SASL %s on this port", c.SASL.Mechanism)
		e.hint = "set kafka.sasl.mechanism to one that its listener enables"
	case unclear(err):
		e.found(look(), secure)
	}
	return e
}

// found says why it was not a broker that answered, or why the broker did not.
func (e *connectError) found(a probe.Answer, secure bool) {
	const elsewhere = "check kafka.brokers: brokers listen on 9092 mostly"
	switch a.Kind {
	case probe.Controller:
		e.wrong, e.err = true, errors.New(a.String()+", and clients cannot use it")
		e.hint = "name a listener of the brokers in kafka.brokers, mostly on port 9092"
	case probe.ClickHouse, probe.ClickHouseNative:
		e.wrong, e.err, e.hint = true, errors.New(a.String()+", not Kafka"), elsewhere
	case probe.HTTP, probe.Other:
		e.err, e.hint = errors.New(a.String()+", not Kafka"), elsewhere
	case probe.TLS:
		if !secure {
			e.wrong, e.err = true, errors.New("the broker expects TLS, and plaintext was used")
			e.hint = "set kafka.tls.enabled, and ca_file if its CA is a private one"
		}
	case probe.Silent:
		e.err, e.hint = errors.New(a.String()), "is it a broker's port, is the broker well, and does a firewall or a proxy stand in between?"
	case probe.Broker, probe.HangsUp:
		e.refused(a, secure)
	}
}

// refused says why what may be a broker did not go on with us.
func (e *connectError) refused(a probe.Answer, secure bool) {
	switch {
	case e.stage == stageTLS && a.Secure:
		e.hint = "by now TLS is answered there: the broker, or what stands before it, came up meanwhile"
	case e.stage == stageTLS && a.Kind == probe.Broker:
		e.wrong, e.err = true, errors.New("TLS was used, and the broker hung up")
		e.hint = "the broker does not speak TLS on this port; use its TLS port, or turn kafka.tls.enabled off"
	case e.stage == stageSASL && a.Kind == probe.Broker:
		e.hint = "the broker hung up during SASL; does this port ask for SASL, and for TLS?"
	case e.stage == stageMetadata && e.cfg.SASL == nil && hungUp(e.err):
		e.err = errors.New("the broker hung up at the first request that needs authentication")
		e.hint = "it probably asks for SASL; set kafka.sasl.mechanism, username and password"
	case e.stage == stageHello && secure && e.cfg.TLS.CertFile == "":
		e.hint = "the broker may ask for a client certificate; set kafka.tls.cert_file and key_file"
	case a.Kind == probe.HangsUp:
		e.err, e.hint = errors.New(a.String()), "is it a broker's port, and is the broker behind a proxy or a forwarded port up?"
	}
}

// unclear reports whether an error leaves open what it was that listens.
func unclear(err error) bool {
	return hungUp(err) || timeout(err) || errors.Is(err, io.ErrNoProgress) || errors.Is(err, kgo.IllegalSASLState) || errors.As(err, new(tls.RecordHeaderError))
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isSASL finds the ways in which kafka-go and the SCRAM library say "wrong password".
func isSASL(err error) bool {
	return errors.Is(err, kgo.SASLAuthenticationFailed) || strings.Contains(err.Error(), "SASL authentication process has failed")
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// unreachable lists why no broker would talk to us.
type unreachable []error

func (u unreachable) Unwrap() []error { return u }

func (u unreachable) Error() string {
	if len(u) == 1 {
		return u[0].Error()
	}
	var s strings.Builder
	fmt.Fprintf(&s, "no kafka broker can be used:")
	for _, err := range u {
		s.WriteString("\n  " + err.Error())
	}
	return s.String()
}

// unnamed drops the layers in which kafka-go names its own functions.
func unnamed(err error) error {
	for err != nil && strings.HasPrefix(err.Error(), "kafka.(*") {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
	return err
}

// explain adds to a broker's refusal of an operation (as ACLs name it) what to do about it.
func explain(err error, operation, topic, group string) error {
	err = unnamed(err)
	hint := ""
	const grant = "grant it, as deploy/kafka/acls.sh does: kafka-acls.sh --bootstrap-server ... --add --allow-principal User:... --operation"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.TopicAuthorizationFailed):
		hint = fmt.Sprintf("this user may not %s topic %s; %s %s --topic %s", operation, topic, grant, operation, topic)
	case errors.Is(err, kgo.GroupAuthorizationFailed):
		hint = fmt.Sprintf("this user may not %s consumer group %s; %s %s --group %s", operation, group, grant, operation, group)
	case errors.Is(err, kgo.ClusterAuthorizationFailed):
		hint = "this user may not do that on the cluster; use one with Alter and Create on the cluster, or let an administrator run it"
	case errors.Is(err, kgo.SASLAuthenticationFailed):
		hint = "it took user and password before; they are read at the start: replace kafka.sasl.password_file, and restart"
	case strings.Contains(err.Error(), "remote error: tls"):
		hint = "the broker refused kafka.tls.cert_file as it is now"
	case unknownTopic(err) && topic != "":
		hint = fmt.Sprintf("topic %s does not exist, or this user may not see it; picket topics create makes it", topic)
	case errors.Is(err, kgo.NotEnoughReplicas), errors.Is(err, kgo.NotEnoughReplicasAfterAppend):
		hint = "fewer replicas are in sync than min.insync.replicas asks for; are all brokers up?"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}

// Permanent reports whether an error will be the same at the next try: a refusal, and not
// an outage.
func Permanent(err error) bool {
	var c *connectError
	var cert *tls.CertificateVerificationError
	if errors.As(err, &c) && c.wrong || errors.As(err, &cert) {
		return true
	}
	for _, p := range []error{
		ErrClosed, ErrInstanceTaken, kgo.TopicAuthorizationFailed, kgo.GroupAuthorizationFailed, kgo.ClusterAuthorizationFailed,
		kgo.InvalidSessionTimeout, kgo.InconsistentGroupProtocol, kgo.SASLAuthenticationFailed, kgo.UnsupportedSASLMechanism,
		kgo.InvalidReplicationFactor,
	} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

// Unreachable reports whether an error is about getting to a broker at all.
func Unreachable(err error) bool {
	var c *connectError
	var u unreachable
	return errors.As(err, &c) || errors.As(err, &u)
}
