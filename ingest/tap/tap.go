package tap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Options of a tap. Zero values mean the default that is named.
type Options struct {
	Command []string // the stdio MCP server; looked up as a shell would
	Environ []string // its environment; nil is ours
	Dir     string   // its working directory; empty is ours

	Stdin          io.Reader // the client; os.Stdin
	Stdout, Stderr io.Writer // os.Stdout, os.Stderr

	// Signals are forwarded to the server. Nil: Run takes the process's SIGINT,
	// SIGTERM, SIGHUP and SIGQUIT for as long as it runs.
	Signals <-chan os.Signal

	ServerName  string // what the server says of itself, before that the command's name
	Tenant, Env string
	ClientID    string // local:<user>@<host>
	Instance    string // <host>:<pid>:<random>

	Sink          Sink   // required
	DigestKey     []byte // digests of arguments and results are left out without it
	OmitArgs      bool   // no io.args
	OmitResults   bool   // no io.result
	MaxMessage    int    // bytes of one message that are looked at; 1 MiB
	Buffer        int    // events (and messages) that may wait; 10,000
	BufferBytes   int64  // the same in bytes, for each of the two queues and the calls in flight; 16 MiB
	MaxCalls      int    // requests waited for; 4,096
	CallTimeout   time.Duration
	Heartbeat     time.Duration // 1 min
	Grace         time.Duration // between the client's end, SIGTERM and SIGKILL; 5 s
	FlushTimeout  time.Duration // for events to be delivered after the server's end; 3 s
	OutputTimeout time.Duration // for a grandchild that still holds the server's stdout; 1 s

	Logger *slog.Logger // never gets payload; discards
	Now    func() time.Time
}

// Stats count since the start. Dropped are events, and messages that never became events.
type Stats struct{ Messages, Events, Dropped, Shipped, ParseErrors, Retries uint64 }

// Exit codes of a server that cannot be started, as shells have them.
const (
	ExitCannotRun = 126
	ExitNotFound  = 127
)

// Tap is one run of one server.
type Tap struct {
	opt   Options
	count counters
	lost  atomic.Uint64 // messages dropped before they were parsed
	calls atomic.Int64  // requests without a response
}

// New checks the options and fills in the defaults.
func New(o Options) (*Tap, error) {
	if len(o.Command) == 0 || o.Command[0] == "" {
		return nil, errors.New("tap: no command of an MCP server given")
	}
	if o.Sink == nil {
		return nil, errors.New("tap: no sink given")
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	host := cmp.Or(hostname(), "unknown")
	o.ClientID = clip(cmp.Or(o.ClientID, "local:"+username()+"@"+host), 512)
	o.Instance = cmp.Or(o.Instance, fmt.Sprintf("%s:%d:%08x", host, os.Getpid(), rand.Uint32()))
	o.MaxMessage = positive(o.MaxMessage, 1<<20)
	o.Buffer = positive(o.Buffer, 10_000)
	o.BufferBytes = positive(o.BufferBytes, 16<<20)
	o.MaxCalls = positive(o.MaxCalls, 4096)
	o.CallTimeout = positive(o.CallTimeout, 10*time.Minute)
	o.Heartbeat = positive(o.Heartbeat, time.Minute)
	o.Grace = positive(o.Grace, 5*time.Second)
	o.FlushTimeout = positive(o.FlushTimeout, 3*time.Second)
	o.OutputTimeout = positive(o.OutputTimeout, time.Second)
	return &Tap{opt: o}, nil
}

func positive[T ~int | ~int64](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

func hostname() string {
	h, _ := os.Hostname() // an unnamed host is "unknown"
	return h
}

func username() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// Run makes a tap and runs it.
func Run(ctx context.Context, o Options) (exitCode int, err error) {
	t, err := New(o)
	if err != nil {
		return ExitCannotRun, err
	}
	return t.Run(ctx)
}

// Stats may be read at any time.
func (t *Tap) Stats() Stats {
	return Stats{
		Messages: t.count.messages.Load(), Events: t.count.events.Load(), Dropped: t.count.dropped.Load(),
		Shipped: t.count.shipped.Load(), ParseErrors: t.count.parseErrors.Load(), Retries: t.count.retries.Load(),
	}
}

// Run starts the server and stays until it has ended, its output is passed on
// and its events are delivered or their time is up. It returns the server's exit
// code, 128+n after signal n, or 126 and 127 with an error when it cannot be
// started. The end of ctx terminates the server. Call it once.
//
// A goroutine that waits in Stdin.Read may outlive Run, as nothing else can end it.
func (t *Tap) Run(ctx context.Context) (exitCode int, err error) {
	room := make(chan struct{}, 1)
	inbox := newQueue[message](t.opt.Buffer, t.opt.BufferBytes)
	outbox := newQueue[[]byte](t.opt.Buffer, t.opt.BufferBytes)

	child, err := start(&t.opt)
	if err != nil {
		return startCode(err), fmt.Errorf("start %q: %w", t.opt.Command[0], err)
	}

	// Shipping outlives ctx: what was seen until the end is delivered, in bounded time.
	shipCtx, stopShipping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShipping()
	shipped := make(chan struct{})
	go func() {
		defer close(shipped)
		s := shipper{sink: t.opt.Sink, outbox: outbox, room: room, count: &t.count, log: t.opt.Logger}
		s.run(shipCtx)
	}()

	o := t.observer(inbox, outbox, room)
	stopObserving, observed := make(chan struct{}), make(chan struct{})
	var code int
	go func() {
		defer close(observed)
		defer close(outbox.ch) // the observer is the only one that puts
		o.run(context.WithoutCancel(ctx), stopObserving)
		o.finish(code)
	}()

	put := func(m message) {
		if !inbox.put(m, m.held()) {
			t.lost.Add(1)
			t.count.dropped.Add(1)
		}
	}
	code = child.relay(ctx, &t.opt, put, t.calls.Load)
	close(stopObserving)

	flush := time.NewTimer(t.opt.FlushTimeout)
	defer flush.Stop()
	select {
	case <-shipped:
	case <-flush.C:
	case <-child.hurry: // asked to end once more
	}
	stopShipping()
	end := time.NewTimer(500 * time.Millisecond)
	defer end.Stop()
	select {
	case <-shipped:
	case <-end.C: // a sink that does not heed its context
	}
	child.release()
	if sums := shortfall(t.Stats(), t.lost.Load()); sums != nil {
		t.opt.Logger.Warn("tap: not every event was delivered", sums...)
	}
	return code, nil
}

// shortfall is what the log says of events that were not delivered and of messages that the tap had
// no room to read; nil if there is nothing to say.
func shortfall(st Stats, unread uint64) (sums []any) {
	if st.Events > st.Shipped || unread > 0 {
		sums = []any{"events", st.Events, "delivered", st.Shipped, "lost", st.Events - st.Shipped}
	}
	if unread > 0 {
		sums = append(sums, "messages_not_read", unread)
	}
	return sums
}

func (t *Tap) observer(inbox *queue[message], outbox *queue[[]byte], room <-chan struct{}) *observer {
	name := filepath.Base(t.opt.Command[0])
	return &observer{
		greeting: t.opt.ServerName == "", opt: &t.opt, log: t.opt.Logger, count: &t.count, inbox: inbox, outbox: outbox, room: room,
		actor:    actorFields{ClientID: t.opt.ClientID, AuthMethod: "env"},
		server:   serverFields{Name: t.opt.ServerName, Instance: t.opt.Instance, Transport: "stdio"},
		fallback: strings.TrimSuffix(name, ".exe"),
		calls:    newPending(t.opt.MaxCalls, int(t.opt.BufferBytes), t.opt.CallTimeout),
		orphans:  &orphans{}, inFlight: &t.calls, lost: &t.lost,
	}
}
