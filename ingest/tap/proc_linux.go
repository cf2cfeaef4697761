package tap

import "syscall"

// A tap that is killed takes its server along: whoever kills us means the server.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
