package demo

import (
	"context"
	"slices"
	"sync"
	"time"

	"picket/alerting"
)

// teller is a destination like Slack: it shows incidents on the screen.
type teller struct {
	show *show

	mu    sync.Mutex
	began time.Time // of the first hostile record
	first time.Time // of the first alert shown
	rules []string
	told  int
}

func (t *teller) Name() string { return "demo" }

// Send implements alerting.Destination.
func (t *teller) Send(_ context.Context, i alerting.Incident) (alerting.Receipt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first.IsZero() {
		t.first = time.Now()
	}
	t.told++
	if !slices.Contains(t.rules, i.Alert.Rule.ID) {
		t.rules = append(t.rules, i.Alert.Rule.ID)
		slices.Sort(t.rules)
	}
	t.show.alert(i)
	return alerting.Receipt{Thread: i.Key}, nil
}

func (t *teller) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		t.began = time.Now()
	}
}

func (t *teller) seen() (rules []string, messages int, firstMS int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.first.IsZero() {
		firstMS = t.first.Sub(t.began).Milliseconds()
	}
	return append([]string{}, t.rules...), t.told, firstMS // never nil: the summary shows a list
}
