package role

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// State says how a loop is doing.
type State struct {
	Name  string    `json:"name"`
	Ready bool      `json:"ready"`
	Why   string    `json:"why,omitempty"` // when it is not ready, in words
	Since time.Time `json:"since"`         // of this readiness
	Tick  time.Time `json:"tick"`          // when the loop last came round
}

// Health is what /healthz and /readyz tell. It is safe for concurrent use.
type Health struct {
	mu     sync.Mutex
	states map[string]*State
}

// NewHealth knows no loops yet.
func NewHealth() *Health { return &Health{states: map[string]*State{}} }

// Tick says that a loop came round.
func (h *Health) Tick(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state(name).Tick = time.Now()
}

// Ready says that a loop does its work.
func (h *Health) Ready(name string) { h.set(name, true, "") }

// NotReady says why a loop does not.
func (h *Health) NotReady(name, why string) { h.set(name, false, why) }

func (h *Health) set(name string, ready bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.state(name)
	s.Tick = time.Now()
	if s.Ready != ready || s.Since.IsZero() {
		s.Since = s.Tick
	}
	s.Ready, s.Why = ready, why
}

func (h *Health) state(name string) *State {
	s := h.states[name]
	if s == nil {
		s = &State{Name: name}
		h.states[name] = s
	}
	return s
}

// States returns every loop's state by name.
func (h *Health) States() []State {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]State, 0, len(h.states))
	for _, s := range h.states {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b State) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Stuck names the loops that have not come round for longer than limit: the
// process should be restarted. A parked loop comes round.
func (h *Health) Stuck(limit time.Duration) error {
	var stuck []string
	for _, s := range h.States() {
		if idle := time.Since(s.Tick); idle > limit {
			stuck = append(stuck, fmt.Sprintf("%s has not come round for %s", s.Name, idle.Round(time.Second)))
		}
	}
	if stuck != nil {
		return fmt.Errorf("%s", strings.Join(stuck, "; "))
	}
	return nil
}
