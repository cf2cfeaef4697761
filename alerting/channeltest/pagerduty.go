package channeltest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// PagerDuty is one service with an Events API v2 integration.
type PagerDuty struct {
	Wire
	RoutingKey string

	mu        sync.Mutex
	incidents []PagerDutyIncident
}

// PagerDutyIncident is what a person on call sees.
type PagerDutyIncident struct {
	DedupKey string
	Open     bool
	Triggers int // events that went into it
	Summary  string
	Severity string
	Source   string
	Details  map[string]any
}

// NewPagerDuty starts a service without incidents.
func NewPagerDuty(tb testing.TB) *PagerDuty {
	p := &PagerDuty{RoutingKey: strings.Repeat("0123456789abcdef", 2)}
	p.tb = tb
	p.handle = http.HandlerFunc(p.serveHTTP)
	return p
}

// EnqueueURL is what PagerDutyOptions.URL takes.
func (p *PagerDuty) EnqueueURL() string { return p.URL() + "/v2/enqueue" }

// Incidents returns all incidents, oldest first.
func (p *PagerDuty) Incidents() []PagerDutyIncident {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.incidents)
}

// Resolve closes the open incident with the key, as a person might.
func (p *PagerDuty) Resolve(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.open(key); i != nil {
		i.Open = false
	}
}

func (p *PagerDuty) open(key string) *PagerDutyIncident {
	for i := range p.incidents {
		if p.incidents[i].Open && p.incidents[i].DedupKey == key {
			return &p.incidents[i]
		}
	}
	return nil
}

type pagerDutyEvent struct {
	RoutingKey string `json:"routing_key"`
	Action     string `json:"event_action"`
	DedupKey   string `json:"dedup_key"`
	Payload    *struct {
		Summary   string         `json:"summary"`
		Source    string         `json:"source"`
		Severity  string         `json:"severity"`
		Timestamp string         `json:"timestamp"`
		Details   map[string]any `json:"custom_details"`
	} `json:"payload"`
	Links []any `json:"links"`
}

func (p *PagerDuty) serveHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(code int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	}
	bad := func(message string, errs ...string) {
		say(http.StatusBadRequest, map[string]any{"status": "invalid event", "message": message, "errors": errs})
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v2/enqueue" {
		say(http.StatusNotFound, map[string]any{"error": "not found"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 512<<10)
	var ev pagerDutyEvent
	if err := json.NewDecoder(r.Body).Decode(&ev); err != nil {
		bad("Event object is invalid", "Event object format is unrecognized: JSON parse error or larger than 512 KB")
		return
	}
	if errs := checkPagerDuty(ev); len(errs) > 0 {
		bad("Event object is invalid", errs...)
		return
	}
	if ev.RoutingKey != p.RoutingKey {
		bad("Event object is invalid", "Invalid routing key")
		return
	}
	p.take(ev)
	say(http.StatusAccepted, map[string]any{"status": "success", "message": "Event processed", "dedup_key": ev.DedupKey})
}

func checkPagerDuty(ev pagerDutyEvent) (errs []string) {
	missing := func(name, value string) {
		if value == "" {
			errs = append(errs, "'"+name+"' is missing or blank")
		}
	}
	if len(ev.RoutingKey) != 32 {
		errs = append(errs, "Length of 'routing_key' is incorrect (should be 32 characters)")
	}
	if !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, ev.Action) {
		errs = append(errs, "'event_action' must be one of trigger, acknowledge, resolve")
	}
	if len(ev.DedupKey) > 255 {
		errs = append(errs, "'dedup_key' is too long (maximum is 255 characters)")
	}
	if ev.Action != "trigger" {
		missing("dedup_key", ev.DedupKey)
		return errs
	}
	if ev.Payload == nil {
		return append(errs, "'payload' is missing or blank")
	}
	missing("payload.summary", ev.Payload.Summary)
	missing("payload.source", ev.Payload.Source)
	missing("payload.severity", ev.Payload.Severity)
	if units(ev.Payload.Summary) > 1024 {
		errs = append(errs, "'payload.summary' is too long (maximum is 1024 characters)")
	}
	if !slices.Contains([]string{"critical", "error", "warning", "info"}, ev.Payload.Severity) {
		errs = append(errs, "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')")
	}
	if ts := ev.Payload.Timestamp; ts != "" {
		if _, err := time.Parse(time.RFC3339Nano, ts); err != nil {
			errs = append(errs, "'payload.timestamp' is not ISO 8601")
		}
	}
	return errs
}

func (p *PagerDuty) take(ev pagerDutyEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.open(ev.DedupKey)
	switch {
	case ev.Action == "resolve" && i != nil:
		i.Open = false
	case ev.Action == "trigger":
		if i == nil {
			p.incidents = append(p.incidents, PagerDutyIncident{DedupKey: ev.DedupKey, Open: true})
			i = &p.incidents[len(p.incidents)-1]
			i.Summary = ev.Payload.Summary
		}
		i.Triggers++
		i.Severity, i.Source, i.Details = ev.Payload.Severity, ev.Payload.Source, ev.Payload.Details
	}
}
