//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a child with its output in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// launch starts picket with its output appended to a log in dir.
func launch(binary, dir, name string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{name: name, cmd: exec.Command(binary, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to pass on
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill is kill -9. It returns when the process is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// end asks the process to stop, which must succeed.
func (p *process) end(ctx context.Context) error {
	p.signal(syscall.SIGTERM)
	t := time.NewTimer(30 * time.Second)
	defer t.Stop()
	select {
	case <-p.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return fmt.Errorf("%s has not stopped 30 s after SIGTERM", p.name)
	}
	if p.err != nil {
		return fmt.Errorf("%s was asked to stop: %w", p.name, p.err)
	}
	return nil
}

// freePort finds n free ports in a row below those that the kernel deals out, so that no
// outgoing connection sits on the port of a server that is down for a moment, and beyond those
// that the tests take.
func freePort(n int) (int, error) {
next:
	for first := 28200 + os.Getpid()%1000*4; first < 32700; first += n {
		for p := first; p < first+n; p++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
			if err != nil {
				continue next
			}
			_ = l.Close()
		}
		return first, nil
	}
	return 0, errors.New("no free port")
}
