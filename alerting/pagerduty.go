package alerting

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"picket/detect/secret"
)

// PagerDuty's own limits.
const (
	pagerDutySummary = 1024
	pagerDutyKey     = 255
	pagerDutyBody    = 512 << 10
)

// Endpoints of Events API v2 by service region.
const (
	PagerDutyUS = "https://events.pagerduty.com/v2/enqueue"
	PagerDutyEU = "https://events.eu.pagerduty.com/v2/enqueue"
)

// PagerDutyOptions configure a PagerDuty service integration.
type PagerDutyOptions struct {
	Name       string       // "pagerduty" by default
	RoutingKey secret.Value // the integration key of an Events API v2 integration, 32 characters
	Region     string       // us (default) or eu
	URL        string       // instead of the region's endpoint
	// ResolveSettled resolves the incident when its alert settles. Off by
	// default: that a burst is over does not mean that it was harmless.
	ResolveSettled bool
	Client         *http.Client
	Renderer       Renderer
}

// PagerDuty triggers incidents through Events API v2. dedup_key is the incident
// key, so a repeat of any kind lands in the incident that is open already.
type PagerDuty struct {
	name    string
	key     secret.Value
	url     string
	resolve bool
	client  *http.Client
	render  Renderer
}

// NewPagerDuty checks the options; it does not call PagerDuty.
func NewPagerDuty(o PagerDutyOptions) (*PagerDuty, error) {
	if len(o.RoutingKey.Reveal()) != 32 {
		return nil, &SetupError{
			Problem: "pagerduty: the routing key has not 32 characters",
			Fix:     "set alerting.pagerduty.routing_key_file to the Integration Key of an Events API V2 integration",
		}
	}
	p := &PagerDuty{name: o.Name, key: o.RoutingKey, url: o.URL, resolve: o.ResolveSettled, client: httpClient(o.Client), render: o.Renderer}
	if p.name == "" {
		p.name = "pagerduty"
	}
	switch {
	case p.url != "":
	case o.Region == "" || o.Region == "us":
		p.url = PagerDutyUS
	case o.Region == "eu":
		p.url = PagerDutyEU
	default:
		return nil, &SetupError{Problem: "pagerduty: unknown region", Fix: "alerting.pagerduty.region is us or eu"}
	}
	return p, nil
}

// Name implements Destination.
func (p *PagerDuty) Name() string { return p.name }

type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp string         `json:"timestamp,omitempty"`
	Component string         `json:"component,omitempty"`
	Group     string         `json:"group,omitempty"`
	Class     string         `json:"class,omitempty"`
	Details   map[string]any `json:"custom_details,omitempty"`
}

// Send implements Destination.
func (p *PagerDuty) Send(ctx context.Context, i Incident) (Receipt, error) {
	if !p.resolve && onlySettled(i) {
		// A trigger would open anew what a person has resolved since.
		return Receipt{Thread: i.Thread, Skipped: true, Note: "no news for PagerDuty: the alert settled"}, nil
	}
	ev := pagerDutyEvent{RoutingKey: p.key.Reveal(), Action: "trigger", DedupKey: dedupKey(i.Key), Client: "Picket"}
	if p.resolve && i.Alert.Settled && i.Update {
		ev.Action, ev.Client = "resolve", ""
	} else {
		ev.Payload = p.payload(i)
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return Receipt{}, fmt.Errorf("pagerduty: encode the event: %w", err)
	}
	if len(body) > pagerDutyBody {
		// Rendering bounds every part, so this is a defect; the page goes out without details.
		ev.Payload.Details = nil
		if body, err = json.Marshal(ev); err != nil {
			return Receipt{}, fmt.Errorf("pagerduty: encode the event: %w", err)
		}
	}
	got, err := post(ctx, p.client, secret.New(p.url), body, nil)
	if err != nil {
		if r, ok := retryable(err); ok {
			r.Err = fmt.Errorf("pagerduty: %s: %w", ev.Action, r.Err)
		}
		return Receipt{}, err
	}
	return p.receipt(got, ev)
}

// onlySettled is true for the last word on an alert that brings no other news.
func onlySettled(i Incident) bool {
	return i.Update && i.Alert.Settled && i.Alert.ID == i.Told.AlertID && i.Alert.Count < 2*i.Told.Count &&
		SeverityRank(i.Alert.Severity) <= SeverityRank(i.Told.Severity)
}

func (p *PagerDuty) receipt(got answer, ev pagerDutyEvent) (Receipt, error) {
	doing := "pagerduty: " + ev.Action
	switch {
	case got.code == http.StatusAccepted || got.code == http.StatusOK:
		return Receipt{Thread: ev.DedupKey, ID: ev.DedupKey}, nil
	case got.code == http.StatusTooManyRequests:
		return Receipt{}, &RetryError{After: got.after, Err: fmt.Errorf("%s: rate limited", doing)}
	case got.code >= 500 || got.code == http.StatusRequestTimeout:
		return Receipt{}, &RetryError{After: got.after, Unsure: true, Err: fmt.Errorf("%s: HTTP %d", doing, got.code)}
	}
	var said struct {
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	text := oneLine(got.body, p.key)
	if json.Unmarshal([]byte(got.body), &said) == nil && said.Message != "" {
		text = oneLine(strings.Join(append([]string{said.Message}, said.Errors...), "; "), p.key)
	}
	problem := fmt.Sprintf("%s: HTTP %d: %s", doing, got.code, text)
	if strings.Contains(strings.ToLower(text), "routing_key") || strings.Contains(strings.ToLower(text), "routing key") ||
		got.code == http.StatusForbidden || got.code == http.StatusUnauthorized {
		return Receipt{}, &SetupError{
			Problem: problem,
			Fix:     "copy the Integration Key of the service's Events API V2 integration into alerting.pagerduty.routing_key_file, and check alerting.pagerduty.region",
		}
	}
	return Receipt{}, fmt.Errorf("%s", problem)
}

func (p *PagerDuty) payload(i Incident) *pagerDutyPayload {
	m := p.render.Message(i, 0)
	a := i.Alert
	details := map[string]any{"rule": brief(a.Rule.ID+" "+a.Rule.Name, 200), "alert": brief(a.ID, 64), "why": m.Why}
	for _, f := range m.Facts {
		v := f.Value
		if f.Note != "" {
			v += " (" + f.Note + ")"
		}
		details[strings.ToLower(f.Label)] = v
	}
	if len(m.Steps) > 0 {
		details["what to do first"] = m.Steps
	}
	if len(m.Evidence) > 0 {
		details["evidence"] = m.Evidence
	}
	if m.Query != "" {
		details["clickhouse"] = m.Query
	}
	if len(m.Tags) > 0 {
		details["tags"] = m.Tags
	}
	source := "picket"
	for _, e := range a.Evidence {
		if s := brief(e.Server, 128); s != "" {
			source = s
			break
		}
	}
	return &pagerDutyPayload{
		Summary: clip(m.Headline+". "+m.Why, pagerDutySummary), Source: source, Severity: pagerDutySeverity(a.Severity),
		Timestamp: a.Last.UTC().Format(time.RFC3339Nano), Component: brief(a.Tenant, 128),
		Class: brief(a.Rule.Name, 128), Group: brief(a.Rule.ID, 64), Details: details,
	}
}

func pagerDutySeverity(s string) string {
	switch severityName(s) {
	case "critical":
		return "critical"
	case "high":
		return "error"
	case "medium":
		return "warning"
	}
	return "info"
}

func dedupKey(key string) string {
	if len(key) <= pagerDutyKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}
