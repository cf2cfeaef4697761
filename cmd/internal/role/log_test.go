package role_test

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// pass lets the fake time of a synctest bubble go by.
func pass(d time.Duration) { <-time.After(d) }

// lines keeps log lines.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

type line struct {
	Msg     string
	Attempt int
	Wait    time.Duration
	From    int64
}

func (l *lines) with(msg string) (out []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		var x line
		if json.Unmarshal([]byte(s), &x) == nil && strings.HasPrefix(x.Msg, msg) {
			out = append(out, x)
		}
	}
	return out
}
