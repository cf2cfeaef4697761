package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"picket/alerting"
	"picket/cmd/internal/app"
	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/detect/diag"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/store"
)

func newRunCmd(e *env) *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Run the pipeline: store, detect, correlate, notify",
		GroupID: groupRun,
		Args:    cobra.NoArgs,
		Long: `Run reads security events from Kafka, stores them in ClickHouse, evaluates the rules, and tells the
destinations, until it is told to stop (Ctrl-C or SIGTERM; it finishes what is in hand).

What the configuration leaves out is started in this process, on loopback: a broker while kafka.brokers
is empty, a ClickHouse engine while clickhouse.url is empty. Roles can be split over processes; every
role may run any number of times.

Rules are reloaded when their files change, and on SIGHUP. A set with anything wrong in it is refused whole.

Exit codes: 0 stopped as asked, 69 a server cannot be reached, 78 the configuration, a rule, a topic or a
key is wrong, 1 anything else.`,
		Example: `  picket keys new && picket run
  picket run --config /etc/picket/picket.yaml
  picket run --roles store`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if len(roles) > 0 {
				cfg.Roles = roles
			}
			return e.runPipeline(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "only these `roles` (store, detect, correlate, notify)")
	completeFlag(cmd, "roles", oneOf(role.Store, role.Detect, role.Correlate, role.Notify))
	return cmd
}

// runPipeline runs the roles until the context ends.
func (e *env) runPipeline(ctx context.Context, cfg *config.Config) error {
	allRoles := []string{role.Store, role.Detect, role.Correlate, role.Notify}
	for _, r := range cfg.Roles {
		if !slices.Contains(allRoles, r) {
			return usagef("unknown role %q: %s", r, diag.Suggest(r, allRoles))
		}
	}
	log := e.logger(cfg)
	keys, err := ingest.LoadKeyring(cfg.Privacy.KeysFile)
	if err != nil {
		return keysError(cfg.Privacy.KeysFile, e.sameConfig(), err)
	}
	rules, err := e.rules(cfg)
	if err != nil {
		return err
	}
	ownBroker := len(cfg.Kafka.Brokers) == 0 // Start fills them in
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	a, err := app.Start(ctx, cfg, app.Options{Log: log, Keys: keys, Rules: rules, Progress: e.progress(), Reload: reload})
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while starting
		}
		return classify(inUse(err, nil))
	}
	if ownBroker {
		log.Info("send events: picket tap --brokers " + cfg.Kafka.Brokers[0] + " -- <command of an MCP server>")
	}
	if a.HasPreview() {
		text := "no destination is configured: messages are shown on the preview page, and nothing is sent"
		if a.Tells() {
			text = "the preview page shows what the destinations are told"
		}
		log.Info(text, "url", a.AdminURL()+"/preview")
	}
	a.Wait(ctx)
	log.Info("stopping")
	if err := a.Stop(); err != nil {
		return classify(err)
	}
	log.Info("stopped")
	return nil
}

// keysError says how to get keys, with the arguments that make them at path: without keys nothing starts.
func keysError(path, args string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &exitError{exitConfig, fmt.Errorf(
			"there are no keys at %s, and without keys personal data cannot be pseudonymised: make them with\n  picket keys new%s\nand keep a copy safe; or set privacy.keys_file", path, args)}
	}
	return &exitError{exitConfig, err}
}

// classify chooses the exit code of what kept a command from its servers.
func classify(err error) error {
	var setup *app.SetupError
	var storeSetup *store.ConfigError
	var dest *alerting.SetupError
	switch {
	case errors.As(err, &setup), errors.As(err, &storeSetup), errors.As(err, &dest), kafka.Permanent(err):
		return &exitError{exitConfig, err}
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EBUSY):
		return &exitError{exitUnavailable, err}
	case kafka.Unreachable(err):
		return &exitError{exitUnavailable, err}
	}
	return err
}

// inUse adds how to choose another address to an error about one that is taken: the option, or the flag that stands for it.
func inUse(err error, flags map[string]string) error {
	var taken *app.TakenError
	if !errors.As(err, &taken) {
		return err
	}
	where := "in " + taken.Option
	if flag := flags[taken.Option]; flag != "" {
		where = "with " + flag
	}
	return fmt.Errorf("%w (choose another address %s; port 0 takes a free one)", err, where)
}

// logger writes to standard error as the configuration says.
func (e *env) logger(cfg *config.Config) *slog.Logger {
	return slog.New(logHandler(e.stderr, cfg.Log))
}

func logHandler(w io.Writer, c config.Log) slog.Handler {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the loader checked it
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		o.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr { // with its unit, as in the text format
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().String())
			}
			return a
		}
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}
