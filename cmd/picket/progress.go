package main

import (
	"fmt"
	"io"
	"time"

	"picket/cmd/internal/app"
)

// progress shows long work on standard error: one line that is rewritten on a
// terminal, and a line now and then elsewhere.
func (e *env) progress() app.Progress {
	if e.terminal(e.stderr) {
		return terminalProgress(e.stderr)
	}
	return logProgress(e.stderr, 5*time.Second)
}

func terminalProgress(w io.Writer) app.Progress {
	last := ""
	return func(done, total int64, what string) {
		if last != "" && last != what {
			fmt.Fprintln(w)
		}
		last = what
		fmt.Fprintf(w, "\r\x1b[K%s", progressText(done, total, what))
		if total > 0 && done >= total {
			fmt.Fprintln(w)
			last = ""
		}
	}
}

func logProgress(w io.Writer, every time.Duration) app.Progress {
	var last string
	var shown time.Time
	return func(done, total int64, what string) {
		if what == last && time.Since(shown) < every {
			return
		}
		last, shown = what, time.Now()
		fmt.Fprintln(w, progressText(done, total, what))
	}
}

func progressText(done, total int64, what string) string {
	const mb = 1e6
	switch {
	case total > 0:
		return fmt.Sprintf("%s: %.0f of %.0f MB", what, float64(done)/mb, float64(total)/mb)
	case done > 0:
		return fmt.Sprintf("%s: %.0f MB", what, float64(done)/mb)
	}
	return what + " ..."
}

// stages tells on standard error what long work is at: nothing in the first seconds, then a line now and then.
func (e *env) stages() func(format string, args ...any) {
	return stages(e.stderr, 3*time.Second, time.Now)
}

func stages(w io.Writer, every time.Duration, now func() time.Time) func(string, ...any) {
	next := now().Add(every)
	return func(format string, args ...any) {
		if t := now(); !t.Before(next) {
			next = t.Add(every)
			fmt.Fprintf(w, format+" ...\n", args...)
		}
	}
}
