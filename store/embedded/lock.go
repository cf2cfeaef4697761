package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fileLock is an advisory lock that the kernel drops when its holder dies, also by kill -9.
type fileLock struct{ f *os.File }

// errLocked says who holds a lock; it is a syscall.EBUSY.
type errLocked struct {
	path string
	pid  int
}

func (e *errLocked) Error() string {
	switch {
	case e.pid == os.Getpid():
		return e.path + " is already open in this process"
	case e.pid > 0:
		return fmt.Sprintf("%s is in use by process %d", e.path, e.pid)
	default:
		return e.path + " is in use by another process"
	}
}

func (e *errLocked) Is(target error) bool { return target == syscall.EBUSY }

// tryLock locks dir, or returns an *errLocked that names the holder.
func tryLock(dir string) (*fileLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		b := make([]byte, 32)
		n, _ := f.ReadAt(b, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
		return nil, &errLocked{path: dir, pid: pid}
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		f.Close()
		return nil, err
	}
	return &fileLock{f}, nil
}

// waitLock locks dir as soon as its holder lets go; waiting is told once who that is.
func waitLock(ctx context.Context, dir string, waiting func(error)) (*fileLock, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for first := true; ; first = false {
		lock, err := tryLock(dir)
		var held *errLocked
		if err == nil || !errors.As(err, &held) {
			return lock, err
		}
		if first {
			waiting(held)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", held, ctx.Err())
		case <-tick.C:
		}
	}
}

// unlock leaves the file: removing it would let two holders lock two different files.
func (l *fileLock) unlock() error { return l.f.Close() }

// InUse says whether a process has the engine's data path open.
func InUse(dataPath string) bool {
	if _, err := os.Stat(filepath.Join(dataPath, "lock")); err != nil {
		return false
	}
	l, err := tryLock(dataPath)
	if err != nil {
		return true
	}
	_ = l.unlock()
	return false
}
