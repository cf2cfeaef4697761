package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// scratch makes a temporary folder below parent, and first removes those of demos that were
// killed. done removes it. A demo holds a lock in its folder, which goes with its process; the
// folder gets the name that is looked for only once the lock is held.
func scratch(parent string) (dir string, done func(), err error) {
	old, err := filepath.Glob(filepath.Join(parent, "picket-demo-*"))
	if err != nil {
		return "", nil, err
	}
	for _, dir := range old {
		if lock, err := lockFolder(dir, 0); err == nil { // one of another user cannot be opened
			_ = os.RemoveAll(dir) // what is left will be found again
			lock.Close()
		}
	}
	fresh, err := os.MkdirTemp(parent, "picket-new-demo-")
	if err != nil {
		return "", nil, err
	}
	lock, err := lockFolder(fresh, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(fresh))
	}
	dir = filepath.Join(parent, "picket-demo-"+filepath.Base(fresh)[len("picket-new-demo-"):])
	if err := os.Rename(fresh, dir); err != nil {
		lock.Close()
		return "", nil, errors.Join(err, os.RemoveAll(fresh))
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		lock.Close()
	}, nil
}

// lockFolder locks a folder of this user that has a lock file, or with O_CREATE gets one.
func lockFolder(dir string, create int) (*os.File, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Getuid() {
		return nil, fmt.Errorf("%s is not a folder of this user", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|syscall.O_NOFOLLOW|create, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
