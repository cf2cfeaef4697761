package tap

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// child is the server's process and our ends of its pipes.
type child struct {
	cmd     *exec.Cmd
	in      *os.File
	out     *os.File
	err     *os.File // nil where it writes to our stderr itself
	exited  chan struct{}
	waitErr error // valid after exited

	signals <-chan os.Signal
	asked   atomic.Bool    // a signal or the end of ctx was passed on to the server
	own     chan os.Signal // ours to stop, if we asked for it
	hurry   chan struct{}  // a signal or the end of ctx after the server has ended
	over    chan struct{}
	once    sync.Once
}

// start runs the command. The thread that starts it lives as long as it does,
// because on Linux the child's parent-death signal belongs to that thread.
func start(o *Options) (*child, error) {
	c := &child{
		exited: make(chan struct{}), hurry: make(chan struct{}), over: make(chan struct{}),
		signals: o.Signals,
	}
	c.cmd = exec.Command(o.Command[0], o.Command[1:]...)
	c.cmd.Env, c.cmd.Dir, c.cmd.SysProcAttr = o.Environ, o.Dir, attributes()

	var theirs, ours []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			f.Close()
		}
	}
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			ours = append(ours, r, w)
		}
		return r, w, err
	}
	inR, inW, err := pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := pipe()
	if err != nil {
		closeAll(ours)
		return nil, err
	}
	c.in, c.out = inW, outR
	c.cmd.Stdin, c.cmd.Stdout = inR, outW
	theirs = append(theirs, inR, outW)
	if f, ok := o.Stderr.(*os.File); ok {
		c.cmd.Stderr = f
	} else {
		errR, errW, err := pipe()
		if err != nil {
			closeAll(ours)
			return nil, err
		}
		c.err, c.cmd.Stderr = errR, errW
		theirs = append(theirs, errW)
	}
	if c.signals == nil {
		c.own = make(chan os.Signal, 8)
		signal.Notify(c.own, forwarded()...)
		c.signals = c.own
	}

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.waitErr = c.cmd.Wait()
			close(c.exited)
		}
		runtime.UnlockOSThread()
	}()
	if err := <-started; err != nil {
		c.release()
		closeAll(ours)
		return nil, err
	}
	closeAll(theirs)
	return c, nil
}

func (c *child) release() {
	c.once.Do(func() {
		close(c.over)
		if c.own != nil {
			signal.Stop(c.own)
		}
	})
}

func startCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return ExitNotFound
	}
	return ExitCannotRun
}

// relay passes bytes on until the server has ended and its output is through.
func (c *child) relay(ctx context.Context, o *Options, put func(message), inFlight func() int64) int {
	var draining atomic.Bool
	var lastOut atomic.Int64 // when the server last said something
	deadline := func(f *os.File) func() {
		return func() {
			if draining.Load() {
				_ = f.SetReadDeadline(time.Now().Add(o.OutputTimeout)) // pipes have deadlines
			}
		}
	}
	nop := func() {}

	clientDone := make(chan struct{})
	go func() {
		defer close(clientDone)
		defer c.in.Close()
		// Goes on reading when the server has closed its stdin, or the client would block.
		_, err := pass(c.in, o.Stdin, &framer{dir: toServer, max: o.MaxMessage, emit: put}, o.Now, nop, true)
		if err != nil && !errors.Is(err, os.ErrClosed) {
			o.Logger.Debug("tap: client to server ended", "err", err)
		}
	}()

	var outputs sync.WaitGroup
	clientGone := make(chan struct{})
	outputs.Go(func() {
		defer c.out.Close() // a client that is gone becomes a broken pipe for the server too
		before := deadline(c.out)
		_, err := pass(o.Stdout, c.out, &framer{dir: toClient, max: o.MaxMessage, emit: put}, o.Now, func() {
			lastOut.Store(time.Now().UnixNano())
			before()
		}, false)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			o.Logger.Debug("tap: server to client ended", "err", err)
			close(clientGone)
		}
	})
	if c.err != nil {
		outputs.Go(func() {
			defer c.err.Close()
			_, _ = pass(o.Stderr, c.err, nil, o.Now, deadline(c.err), true) // nobody to tell
		})
	}
	go c.forward(ctx, o)
	go c.reap(o, clientDone, clientGone, &lastOut, inFlight)

	<-c.exited
	_ = c.in.Close() // ends a write that nobody will read
	draining.Store(true)
	soon := time.Now().Add(o.OutputTimeout)
	_ = c.out.SetReadDeadline(soon)
	if c.err != nil {
		_ = c.err.SetReadDeadline(soon)
	}
	through := make(chan struct{})
	go func() { outputs.Wait(); close(through) }()
	var limit <-chan time.Time
	if c.asked.Load() { // whoever wants us to end may not read any more
		t := time.NewTimer(o.Grace)
		defer t.Stop()
		limit = t.C
	}
	select {
	case <-through:
	case <-limit:
	case <-c.hurry: // the client does not take the rest
	}
	return exitStatus(c.cmd.ProcessState)
}

// forward passes signals on; once the server has ended they end our waiting.
func (c *child) forward(ctx context.Context, o *Options) {
	ended := ctx.Done()
	for {
		select {
		case s, ok := <-c.signals:
			if !ok {
				c.signals = nil
				continue
			}
			if brokenPipe(s) || c.alive() && heardAlready(s) {
				continue
			}
			if c.alive() {
				c.asked.Store(true)
				if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
					o.Logger.Warn("tap: forward signal", "signal", s.String(), "err", err)
				}
				continue
			}
			close(c.hurry)
			return
		case <-ended:
			if !c.alive() {
				close(c.hurry)
				return
			}
			ended = nil
			c.asked.Store(true)
			go c.terminate(o.Grace)
		case <-c.over:
			return
		}
	}
}

func (c *child) alive() bool {
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// terminate asks, waits and kills.
func (c *child) terminate(grace time.Duration) {
	if polite(c.cmd.Process) == nil && c.within(grace) {
		return
	}
	_ = c.cmd.Process.Kill() // fails only for a process that has ended
}

func (c *child) within(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.exited:
		return true
	case <-t.C:
		return false
	}
}

// reap ends a server that stays although its client has left. A client that
// only closed its side may still wait for answers: as long as it can be written
// to and calls are open or output comes, the server is left alone.
func (c *child) reap(o *Options, clientDone, clientGone <-chan struct{}, lastOut *atomic.Int64, inFlight func() int64) {
	select {
	case <-clientDone:
	case <-c.exited:
		return
	}
	since := time.Now()
	check := time.NewTicker(max(o.Grace/4, time.Millisecond))
	defer check.Stop()
	for {
		select {
		case <-c.exited:
			return
		case now := <-check.C:
			gone := readerGone(o.Stdout)
			select {
			case <-clientGone:
				gone = true
			default:
			}
			quiet := inFlight() == 0 && now.Sub(time.Unix(0, lastOut.Load())) > o.Grace
			if now.Sub(since) > o.Grace && (gone || quiet) {
				o.Logger.Info("tap: the client has left and the server stays, ending it")
				c.terminate(o.Grace)
				return
			}
		}
	}
}
