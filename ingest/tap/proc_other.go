//go:build !unix

package tap

import (
	"io"
	"os"
)

func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

func brokenPipe(os.Signal) bool { return false }

// The console tells every process of the group itself.
func heardAlready(os.Signal) bool { return true }

func polite(p *os.Process) error { return p.Kill() }

func readerGone(io.Writer) bool { return false }

func exitStatus(s *os.ProcessState) int { return s.ExitCode() }
