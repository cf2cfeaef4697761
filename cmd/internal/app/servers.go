package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"picket/cmd/internal/config"
	"picket/ingest/kafka"
	"picket/store/embedded"
)

// Progress hears of long work: done of total bytes, or 0 of 0 where it is not known.
type Progress func(done, total int64, what string)

// Servers are the embedded broker and engine, as far as the configuration wants them.
type Servers struct {
	Broker *kafka.Embedded
	Engine *embedded.Server

	announced []*os.File
}

// Where the embedded servers listen when nothing is said: the ports that clients of the real
// ones try first. A free one is taken where another program has them.
const (
	usualKafka      = "127.0.0.1:9092"
	usualClickHouse = "127.0.0.1:8123"
)

// TakenError is an address that another program has, with the option that chose it.
type TakenError struct {
	Option string
	Err    error
}

func (e *TakenError) Error() string { return e.Err.Error() }
func (e *TakenError) Unwrap() error { return e.Err }

// listen starts a server at the address that an option configures; without one at the usual address, or on a free port.
func listen(option, configured, usual string, log *slog.Logger, start func(addr string) error) error {
	if configured != "" {
		err := start(configured)
		if errors.Is(err, syscall.EADDRINUSE) {
			return &TakenError{option, err}
		}
		return err
	}
	err := start(usual)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	log.Info("another program has the usual address, so a free port is taken", "usual", usual)
	return start("127.0.0.1:0")
}

// StartServers starts what the configuration leaves open, and points the
// configuration at it: from there on nobody can tell.
func StartServers(ctx context.Context, c *config.Config, log *slog.Logger, progress Progress) (s *Servers, err error) {
	s = &Servers{}
	defer func() {
		if errors.Is(err, syscall.EBUSY) {
			err = fmt.Errorf("%w: stop that process, or give this one a data_dir of its own", err)
		}
		var file *fs.PathError
		if errors.As(err, &file) && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
			err = &SetupError{fmt.Errorf("%w: set data_dir to a folder that this user may write", err)}
		}
		if err != nil {
			s.Stop(time.Now())
		}
	}()
	if len(c.Kafka.Brokers) == 0 {
		err = listen("kafka.embedded.listen", c.Kafka.Embedded.Listen, usualKafka, log, func(addr string) (err error) {
			s.Broker, err = kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: filepath.Join(c.DataDir, "kafka"), Addr: addr, Logger: quiet(log)})
			return err
		})
		if err != nil {
			return s, err
		}
		c.Kafka.Brokers = s.Broker.Brokers()
		if err := s.announce(c, kafkaAddress, c.Kafka.Brokers[0]); err != nil {
			return s, err
		}
		log.Info("embedded broker is up", "address", c.Kafka.Brokers[0])
	}
	if c.ClickHouse.URL == "" {
		lib, err := embedded.Fetch(ctx, "", progress)
		if err != nil {
			return s, err
		}
		dir := filepath.Join(c.DataDir, "clickhouse")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return s, fmt.Errorf("make the engine's data directory: %w", err)
		}
		s.Engine, err = embedded.Open(embedded.Options{
			Path: dir, LibPath: lib, Logger: log, Readers: c.ClickHouse.Embedded.Readers,
			User: c.ClickHouse.User, Password: c.ClickHouse.Password.Reveal(),
		})
		if err != nil {
			return s, err
		}
		if err := listen("clickhouse.embedded.listen", c.ClickHouse.Embedded.Listen, usualClickHouse, log, s.Engine.Start); err != nil {
			return s, err
		}
		c.ClickHouse.URL = s.Engine.URL()
		if err := s.announce(c, clickhouseAddress, c.ClickHouse.URL); err != nil {
			return s, err
		}
		log.Info("embedded ClickHouse is up", "url", c.ClickHouse.URL, "version", s.Engine.Version())
	}
	return s, nil
}

func (s *Servers) announce(c *config.Config, name, address string) error {
	f, err := announce(c, name, address)
	if err == nil {
		s.announced = append(s.announced, f)
	}
	return err
}

// patience is how long after a stop was asked for a query of somebody else may go on in the
// engine, which takes a moment to kill it and to close: all has to end within 5 s.
const patience = 3 * time.Second

// Stop stops the engine, then the broker. It was asked for at a time.
func (s *Servers) Stop(asked time.Time) error {
	var errs []error
	for _, f := range s.announced {
		f.Close()
	}
	if s.Engine != nil {
		ctx, cancel := context.WithDeadline(context.Background(), asked.Add(patience))
		defer cancel()
		if err := s.Engine.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop the embedded ClickHouse: %w", err))
		}
	}
	if s.Broker != nil {
		s.Broker.Close()
	}
	return errors.Join(errs...)
}

// quiet drops everything below warnings: the broker's own small talk is not the user's.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(atLeast{log.Handler(), slog.LevelWarn}) }

type atLeast struct {
	slog.Handler
	level slog.Level
}

func (h atLeast) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}

func (h atLeast) WithAttrs(a []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(a), h.level}
}

func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
