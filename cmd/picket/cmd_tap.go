package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/spf13/cobra"

	"picket/cmd/internal/app"
	"picket/ingest/kafka"
	"picket/ingest/tap"
	"picket/internal/tlsfile"
)

func newTapCmd(e *env) *cobra.Command {
	var o tap.Options
	var brokers []string
	cmd := &cobra.Command{
		Use:     "tap [flags] -- <command> [args]",
		Short:   "Watch a stdio MCP server from beside it",
		GroupID: groupRun,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which server? Write its command behind --, such as: picket tap -- npx -y @modelcontextprotocol/server-filesystem /srv/docs")
			}
			return nil
		},
		Long: `Tap starts a stdio MCP server, passes everything between it and its client through untouched, and ships
what it sees to Kafka as security events. Put it before the server's command in the client's
configuration. It never holds the server up: while Kafka is away, events wait in a bounded buffer, and
what does not fit is dropped and counted.

The exit code is the server's.`,
		Example: `  picket tap --brokers kafka:9092 -- npx -y @modelcontextprotocol/server-filesystem /srv/docs
  picket tap --client-id ci-runner -- python -m my_server`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if len(brokers) > 0 {
				cfg.Kafka.Brokers = brokers
			}
			if err := app.FindBroker(cfg); err != nil {
				return &exitError{exitConfig, fmt.Errorf("where to ship events to? Set --brokers host:port, or kafka.brokers in the configuration: %w", err)}
			}
			o.Command, o.Stdin, o.Stdout, o.Stderr = args, e.stdin, e.stdout, e.stderr
			o.Logger = e.logger(cfg)
			sink := &kafkaSink{cfg: app.KafkaConfig(cfg), topic: cfg.Kafka.Topics.Events, key: []byte(strconv.Itoa(os.Getpid()) + "@" + cfg.Instance)}
			if t := sink.cfg.TLS; t != nil {
				t.Watch = &tlsfile.Watch{Section: "kafka.tls", Log: o.Logger}
			}
			defer sink.close()
			o.Sink = sink
			code, err := tap.Run(context.WithoutCancel(cmd.Context()), o) // signals are the server's to act on
			if code == tap.ExitNotFound && err != nil {
				err = fmt.Errorf("%w: is it installed, and on the PATH that the client gives to this tap? A path from / on is safest", err)
			}
			if err != nil {
				return &exitError{code, fmt.Errorf("tap: %w", err)}
			}
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringSliceVar(&brokers, "brokers", nil, "Kafka `brokers`, instead of the configured ones")
	f.StringVar(&o.ClientID, "client-id", "", "`name` of the client: stdio has no identity of its own (default local:<user>@<host>)")
	f.StringVar(&o.ServerName, "server-name", "", "`name` of the server (default what it says of itself)")
	f.StringVar(&o.Tenant, "tenant", "", "`tenant` of the events")
	f.StringVar(&o.Env, "env", "", "`environment`, such as production")
	f.BoolVar(&o.OmitArgs, "omit-args", false, "do not ship arguments: rules that look into them cannot fire")
	f.BoolVar(&o.OmitResults, "omit-results", false, "do not ship results: rules that look into them cannot fire")
	return cmd
}

// kafkaSink connects when there is something to ship, and again after a failure,
// so that a broker that is down delays nothing.
type kafkaSink struct {
	cfg   kafka.Config
	topic string
	key   []byte // one tap's events stay in order, and taps spread over the partitions

	producer atomic.Pointer[kafka.Producer]
}

func (s *kafkaSink) Send(ctx context.Context, records [][]byte) error {
	p, err := s.connect(ctx)
	if err != nil {
		return err
	}
	out := make([]kafka.Record, len(records))
	for i, r := range records {
		out[i] = kafka.Record{Topic: s.topic, Partition: -1, Key: s.key, Value: r}
	}
	return p.Produce(ctx, out)
}

// connect waits no longer than ctx: a broker that swallows packets takes its time, and
// the client waits for the tap to end. What it then finds is kept for the next call.
func (s *kafkaSink) connect(ctx context.Context) (*kafka.Producer, error) {
	if p := s.producer.Load(); p != nil {
		return p, nil
	}
	failed := make(chan error, 1)
	go func() {
		p, err := kafka.NewProducer(s.cfg, kafka.ProducerOptions{})
		if err == nil && !s.producer.CompareAndSwap(nil, p) {
			p.Close() // an attempt that was given up came first after all
		}
		failed <- err
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-failed:
		return s.producer.Load(), err
	}
}

func (s *kafkaSink) close() {
	if p := s.producer.Load(); p != nil {
		p.Close()
	}
}
