package kafka

import (
	"os"

	"golang.org/x/sys/windows"
)

func flock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 1<<20, new(windows.Overlapped))
}
