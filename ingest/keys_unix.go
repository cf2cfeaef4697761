//go:build unix

package ingest

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// mine reports whether this process reads a file without the help of its group.
func mine(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	groups, _ := os.Getgroups() // without them, root is in its own one only
	return needsNoGroup(int(s.Uid), int(s.Gid), os.Geteuid(), append(groups, os.Getegid()))
}

// needsNoGroup holds for the owner, and for root, who reads everything, but for a file of a group that it was put
// into. Anybody else has read the file through the group, or an ACL, which shows as the group's permission.
func needsNoGroup(uid, gid, user int, groups []int) bool {
	return uid == user || user == 0 && !slices.Contains(groups, gid)
}

// owner says whose a file is.
func owner(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf(", user %d, group %d", s.Uid, s.Gid)
	}
	return ""
}
