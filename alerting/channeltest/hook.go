package channeltest

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// Hook is a receiver of plain webhooks that honours Idempotency-Key.
type Hook struct {
	Wire

	mu       sync.Mutex
	requests []HookRequest
}

// HookRequest is one request that was taken.
type HookRequest struct {
	Header http.Header
	Body   []byte
}

// NewHook starts a receiver.
func NewHook(tb testing.TB) *Hook {
	h := &Hook{}
	h.tb = tb
	h.handle = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		key := r.Header.Get("Idempotency-Key")
		if !slices.ContainsFunc(h.requests, func(q HookRequest) bool { return q.Header.Get("Idempotency-Key") == key }) {
			h.requests = append(h.requests, HookRequest{r.Header.Clone(), body})
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return h
}

// Taken returns what was received, repeats left out, oldest first.
func (h *Hook) Taken() []HookRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}
