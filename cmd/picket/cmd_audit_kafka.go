package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"picket/cmd/internal/config"
	"picket/ingest/kafka"
)

// logOffsets is what Kafka says of one partition.
type logOffsets struct {
	Start, End int64
	Committed  int64 // of the store role's group; -1 if there is none
}

// readOffsets asks for the commits before the logs' ends, so that a pipeline at work makes
// nothing look lost. It joins no group: an audit must not disturb what it looks at.
func readOffsets(ctx context.Context, cfg *config.Config, k kafka.Config, topic, group string) ([]logOffsets, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t, err := kafka.NewTopics(ctx, k) // its errors say what to mend
	if err != nil {
		return nil, err
	}
	defer t.Close()
	n, err := t.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	client, err := wireClient(cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	out := make([]logOffsets, n)
	if err := committed(ctx, client, topic, group, out); err != nil {
		return nil, fmt.Errorf("read the commits of group %s: %w", group, err)
	}
	for _, at := range []int64{earliest, latest} {
		if err := logEdges(ctx, client, topic, at, out); err != nil {
			return nil, fmt.Errorf("list the offsets of %s: %w", topic, err)
		}
	}
	return out, nil
}

// The protocol's stand-ins for times.
const earliest, latest = -2, -1

func committed(ctx context.Context, client *kgo.Client, topic, group string, out []logOffsets) error {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	rt := kmsg.NewOffsetFetchRequestTopic()
	rt.Topic = topic
	for p := range out {
		rt.Partitions = append(rt.Partitions, int32(p))
		out[p].Committed = -1
	}
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(res.ErrorCode); errors.Is(err, kerr.GroupIDNotFound) {
		return nil // nobody has stored anything yet
	} else if err != nil {
		return err
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
			out[p.Partition].Committed = p.Offset
		}
	}
	return nil
}

func logEdges(ctx context.Context, client *kgo.Client, topic string, at int64, out []logOffsets) error {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for p := range out {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = int32(p), at
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	seen := 0
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("partition %d: %w", p.Partition, err)
				}
				if seen++; at == earliest {
					out[p.Partition].Start = p.Offset
				} else {
					out[p.Partition].End = p.Offset
				}
			}
		}
	}
	if seen != len(out) {
		return fmt.Errorf("the brokers answered for %d of %d partitions", seen, len(out))
	}
	return nil
}

// wireClient speaks Kafka's protocol with the configured TLS and SASL.
func wireClient(cfg *config.Config) (*kgo.Client, error) {
	k := cfg.Kafka
	opts := []kgo.Opt{kgo.SeedBrokers(k.Brokers...), kgo.ClientID(k.ClientID), kgo.RequestRetries(3)}
	if k.TLS.Enabled {
		tc := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: k.TLS.ServerName}
		if k.TLS.MinVersion.String() == "1.2" {
			tc.MinVersion = tls.VersionTLS12
		}
		if k.TLS.CAFile != "" {
			pem, err := os.ReadFile(k.TLS.CAFile)
			if err != nil {
				return nil, fmt.Errorf("kafka.tls.ca_file: %w", err)
			}
			tc.RootCAs = x509.NewCertPool()
			if !tc.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("kafka.tls.ca_file: %s holds no certificate in PEM form", k.TLS.CAFile)
			}
		}
		if k.TLS.CertFile != "" {
			cert, err := tls.LoadX509KeyPair(k.TLS.CertFile, k.TLS.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("kafka.tls.cert_file: %w", err)
			}
			tc.Certificates = []tls.Certificate{cert}
		}
		opts = append(opts, kgo.DialTLSConfig(tc))
	}
	var m sasl.Mechanism
	switch user, pass := k.SASL.Username, k.SASL.Password.Reveal(); strings.ToLower(k.SASL.Mechanism) {
	case "plain":
		m = plain.Auth{User: user, Pass: pass}.AsMechanism()
	case "scram-sha-256":
		m = scram.Auth{User: user, Pass: pass}.AsSha256Mechanism()
	case "scram-sha-512":
		m = scram.Auth{User: user, Pass: pass}.AsSha512Mechanism()
	}
	if m != nil {
		opts = append(opts, kgo.SASL(m))
	}
	return kgo.NewClient(opts...)
}
