//go:build unix

package tap

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// forwarded also names SIGPIPE: it is not passed on, but a client that closed
// our stdout must not kill the tap before it has shipped.
func forwarded() []os.Signal {
	return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE}
}

func brokenPipe(s os.Signal) bool { return s == syscall.SIGPIPE }

// heardAlready reports that the terminal has sent the signal to the server too:
// it is in our process group, and a second Ctrl-C means "at once" to many.
func heardAlready(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}

func polite(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// readerGone reports that nobody has the other end of a pipe or socket open.
func readerGone(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return true // closed by its owner
	}
	gone := false
	_ = conn.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(p, 0)
		gone = err == nil && n > 0 && p[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
	})
	return gone
}

func exitStatus(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}
