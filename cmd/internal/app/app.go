package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"picket/alerting"
	"picket/cmd/internal/config"
	"picket/cmd/internal/role"
	"picket/detect"
	"picket/ingest"
	"picket/ingest/kafka"
	"picket/store"
)

// Options are what a run needs beside its configuration.
type Options struct {
	Log      *slog.Logger
	Keys     *ingest.Keyring
	Rules    *detect.RuleSet
	Progress Progress
	Tell     []alerting.Destination // beside the configured ones
	Reload   <-chan os.Signal       // asks for the rules to be read again; may be nil
}

// App is a running Picket.
type App struct {
	cfg     *config.Config
	opt     Options
	log     *slog.Logger
	kafka   kafka.Config
	store   store.Config
	reg     *prometheus.Registry
	metrics *role.Metrics
	health  *role.Health
	preview *alerting.Preview
	tells   bool                    // a destination is configured
	reload  []func(*detect.RuleSet) // of the roles that judge by rules

	notices *role.Notices
	servers *Servers
	admin   *Admin
	closers []func()
	stages  [4][]*kafka.Consumer // store and detect, correlate, notify, archive of deliveries
	roles   *errgroup.Group
	cancel  context.CancelFunc
	failed  <-chan struct{}
}

// Start brings everything up, in order. Roles go on when it returns. What is wrong
// with the configuration, or cannot be reached and is needed, is an error.
func Start(ctx context.Context, cfg *config.Config, opt Options) (_ *App, err error) {
	a := &App{cfg: cfg, opt: opt, log: opt.Log, reg: prometheus.NewRegistry(), health: role.NewHealth()}
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.metrics = role.NewMetrics(a.reg)
	a.metrics.Reloaded(opt.Rules.Hash())
	a.inForce(opt.Rules)
	for _, c := range ingest.Classes() {
		a.metrics.Dead.WithLabelValues(string(c))
	}
	defer func() {
		if err != nil {
			a.Stop()
		}
	}()
	tell, err := a.destinations()
	if err != nil {
		return nil, err
	}
	if a.servers, err = StartServers(ctx, cfg, opt.Log, opt.Progress); err != nil {
		return nil, err
	}
	a.reach()
	if err := a.topics(ctx); err != nil {
		return nil, err
	}
	if cfg.Admin.Listen != "" {
		var page http.Handler
		if a.preview != nil {
			page = a.preview
		}
		if a.admin, err = StartAdmin(cfg.Admin, a.reg, a.health, page, a.log); err != nil {
			return nil, err
		}
		a.log.Info("admin server is up", "url", a.admin.URL())
	}
	p, err := a.producer()
	if err != nil {
		return nil, err
	}
	a.notices = &role.Notices{Producer: p, Topic: cfg.Kafka.Topics.Alerts, Metrics: a.metrics}
	return a, a.start(ctx, tell)
}

// start makes every role before the first one runs, so that a failure leaves none behind.
func (a *App) start(ctx context.Context, tell []alerting.Destination) error {
	var runs []func(context.Context) error
	for _, name := range a.cfg.Roles {
		var more []func(context.Context) error
		var err error
		switch name {
		case role.Store:
			more, err = a.storeRole(ctx)
		case role.Detect:
			more, err = a.detectRole(ctx)
		case role.Correlate:
			more, err = a.correlateRole()
		case role.Notify:
			more, err = a.notifyRole(ctx, tell)
		}
		if err != nil {
			return fmt.Errorf("start the %s role: %w", name, err)
		}
		runs = append(runs, more...)
	}
	ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.roles, ctx = errgroup.WithContext(ctx)
	a.failed = ctx.Done()
	for _, run := range runs {
		a.roles.Go(func() error { return run(ctx) })
	}
	a.roles.Go(func() error { boundMemory(ctx); return nil })
	w := &watcher{cfg: a.cfg, log: a.log, metrics: a.metrics, rules: a.opt.Rules, apply: a.inForce}
	a.roles.Go(func() error { w.run(ctx, a.opt.Reload); return nil })
	url, _, _ := strings.Cut(a.cfg.ClickHouse.URL, "?")
	a.log.Info("picket is running", "version", a.cfg.Version, "roles", strings.Join(a.cfg.Roles, ","), "rules", len(a.opt.Rules.Rules()),
		"alerts_to", a.alertsTo(tell), "brokers", strings.Join(a.cfg.Kafka.Brokers, ","), "clickhouse", url, "admin", a.AdminURL())
	return nil
}

// alertsTo names who hears of alerts, in the words of the log.
func (a *App) alertsTo(tell []alerting.Destination) string {
	if !slices.Contains(a.cfg.Roles, role.Notify) {
		return "others tell: this process has no notify role"
	}
	names := []string{"clickhouse"}
	for _, d := range tell {
		names = append(names, d.Name())
	}
	if !a.tells {
		return strings.Join(names, ",") + " (nobody is told: alerting has no destination)"
	}
	return strings.Join(names, ",")
}

// inForce counts by a rule set from now on, and hands it to the roles.
func (a *App) inForce(rs *detect.RuleSet) {
	for _, r := range rs.Rules() {
		a.metrics.Matches.WithLabelValues(r.Info.ID)
		a.metrics.Alerts.WithLabelValues(r.Info.ID, r.Severity)
		for _, name := range []string{role.Detect, role.Correlate} {
			a.metrics.Shed.WithLabelValues(name, r.Info.ID, r.Severity)
		}
	}
	for _, reload := range a.reload {
		reload(rs)
	}
	a.metrics.Rules.Set(float64(len(rs.Rules())))
}

// Wait returns when the context ends or a role gives up.
func (a *App) Wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-a.failed:
	}
}

// Stop finishes what is in hand and stops everything in reverse. Its error is that of
// the role that gave up, if one did.
func (a *App) Stop() error {
	var errs []error
	asked := time.Now()
	if a.roles != nil {
		a.cancel()
		if err := a.roles.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	for _, c := range slices.Backward(a.closers) {
		c()
	}
	if a.admin != nil {
		a.admin.Stop()
	}
	if a.servers != nil {
		errs = append(errs, a.servers.Stop(asked))
	}
	return errors.Join(errs...)
}

// AdminURL is where the admin server listens, or "".
func (a *App) AdminURL() string {
	if a.admin == nil {
		return ""
	}
	return a.admin.URL()
}

// HasPreview reports whether the admin server shows the preview page.
func (a *App) HasPreview() bool { return a.preview != nil && a.admin != nil }

// Tells reports whether a destination is configured: without one nothing leaves the process.
func (a *App) Tells() bool { return a.tells }

// topics makes what is missing on the embedded broker, and refuses to start on
// topics that would break a promise.
func (a *App) topics(ctx context.Context) error {
	t, err := kafka.NewTopics(ctx, a.kafka)
	if err != nil {
		return err
	}
	defer t.Close()
	specs := TopicSpecs(a.cfg)
	if a.servers.Broker != nil {
		if _, err := t.Create(ctx, specs); err != nil {
			return fmt.Errorf("make the topics: %w", err)
		}
	}
	return CheckTopics(ctx, t, specs, a.servers.Broker != nil, func(p kafka.Problem) {
		a.log.Warn("topic: "+p.Text, "topic", p.Topic)
	})
}

// CheckTopics verifies the topics. Problems that must not be run with make the error,
// the others are told to warn. The embedded broker ignores some settings, on purpose.
func CheckTopics(ctx context.Context, t *kafka.Topics, specs []kafka.TopicSpec, embedded bool, warn func(kafka.Problem)) error {
	problems, err := t.Verify(ctx, specs)
	if err != nil {
		return fmt.Errorf("verify the topics: %w", err)
	}
	var refuse []string
	for _, p := range problems {
		switch {
		case p.Severity == kafka.Refuse:
			refuse = append(refuse, "  "+p.Topic+": "+p.Text)
		case !embedded:
			warn(p)
		}
	}
	if refuse != nil {
		return &SetupError{fmt.Errorf("the topics are not as they must be:\n%s", strings.Join(refuse, "\n"))}
	}
	return nil
}

// SetupError is a mistake that only an operator can mend; its exit code is 78.
type SetupError struct{ Err error }

func (e *SetupError) Error() string { return e.Err.Error() }
func (e *SetupError) Unwrap() error { return e.Err }

// loop is the common part of a role's loop.
func (a *App) loop(name string) role.Loop {
	a.health.NotReady(name, "starting")
	a.metrics.Loop(name)
	return role.Loop{Name: name, Log: a.log, Health: a.health, Metrics: a.metrics, Notices: a.notices}
}

// How much a consumer reads ahead, as stored. Of events it is a large batch, so that the next one is
// there when the last is done: the roles that wait for records leave the processor idle.
const (
	eventsAhead = 24 << 20
	othersAhead = 6 << 20
)

// consumer makes a consumer. Its stage says how many others a record passes before it: see Drain.
func (a *App) consumer(stage int, topic, group string, edit func(*kafka.ConsumerOptions)) (*kafka.Consumer, error) {
	o := kafka.ConsumerOptions{
		Topic: topic, Group: a.cfg.Kafka.GroupPrefix + "." + group, InstanceID: instanceID(a.cfg.Instance),
		MaxRows: a.cfg.Batch.MaxRows, MaxBytes: int(a.cfg.Batch.MaxBytes), MaxWait: a.cfg.Batch.MaxWait, PrefetchBytes: othersAhead, Logger: quiet(a.log),
	}
	if edit != nil {
		edit(&o)
	}
	assign := o.OnAssign
	o.OnAssign = func(given []kafka.Assignment) (map[int32]int64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), produceTime)
		defer cancel()
		if err := a.notices.Moved(ctx, o.Group, topic, given); err != nil || assign == nil {
			return nil, err
		}
		return assign(given)
	}
	c, err := kafka.NewConsumer(a.kafka, o)
	if err != nil {
		return nil, err
	}
	a.stages[stage] = append(a.stages[stage], c)
	return c, nil
}

// instanceID makes the instance's name one that brokers take as a static member's, so
// that one which restarts under the same name has its partitions back at once.
func instanceID(name string) string {
	id := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._-", r):
			return r
		}
		return '_'
	}, name)
	return id[:min(len(id), 249)]
}

// producer is for our own topics. Snappy takes a third of lz4's time for them, and no buffers of
// 8 MiB for each request under way.
func (a *App) producer() (*kafka.Producer, error) {
	p, err := kafka.NewProducer(a.kafka, kafka.ProducerOptions{Compression: "snappy", Logger: quiet(a.log), Timeout: produceTime})
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, p.Close)
	return p, nil
}

// reader is how the roles read events.
func (a *App) reader() role.Reader {
	return role.Reader{
		Decoder: func() *ingest.Decoder {
			return ingest.NewDecoder(ingest.Options{Lateness: a.cfg.Lateness, KeepLabels: a.cfg.Privacy.KeepLabels})
		},
		Keys: func() role.Keys { return a.opt.Keys.Hasher() },
	}
}

// openStore connects and migrates. A ClickHouse that is down is not an error at
// start: the others go on, and the role waits for it.
func (a *App) openStore(ctx context.Context) (*store.DB, error) {
	db, err := store.Open(ctx, a.store)
	if err != nil {
		return nil, err
	}
	// Of a server of somebody else's it is not known whether its tables are to be on a cluster.
	done, err := store.Migrate(ctx, db, store.MigrateOptions{Remake: a.servers.Engine != nil})
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	if len(done) > 0 {
		a.log.Info("clickhouse: brought the tables to this version", "database", db.Database(), "migrations", len(done), "last", done[len(done)-1].Name)
	}
	return db, nil
}

const openTime = 30 * time.Second

// produceTime is how long a producer tries by itself before the role says that it is parked.
const produceTime = 10 * time.Second
