//go:build !linux

package tap

import "syscall"

// Without a parent-death signal the server notices a killed tap by its closed stdin.
func attributes() *syscall.SysProcAttr { return nil }
