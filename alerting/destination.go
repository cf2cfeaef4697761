package alerting

import (
	"context"
	"errors"
	"fmt"
	"time"

	"picket/detect"
)

// Incident is what a Destination is asked to tell: the newest alert about one
// rule and group, and what was told of it before.
type Incident struct {
	Key    string       `json:"key"`   // stable for rule and group; see IncidentKey
	Alert  detect.Alert `json:"alert"` // the newest one
	Since  time.Time    `json:"since"` // the first matching event of the incident
	Alerts int          `json:"alerts"`
	Total  uint64       `json:"total"` // matching events over all its alerts

	Update bool   `json:"update"` // a message about this incident was sent before
	Thread string `json:"thread"` // Receipt.Thread of that message, "" for the first
	Told   Told   `json:"told"`   // what that message said

	// Unsure means that an earlier attempt may have arrived. A destination
	// that can find its own messages looks before it sends.
	Unsure bool `json:"may_repeat"`
}

// Told is what a destination said last about an incident.
type Told struct {
	AlertID  string `json:"alert_id,omitempty"`
	Severity string `json:"severity,omitempty"`
	Count    uint64 `json:"count,omitempty"`
	Settled  bool   `json:"settled,omitempty"`
}

// Receipt is what to remember of a send. All of it may be empty.
type Receipt struct {
	Thread  string `json:"thread,omitempty"` // comes back in Incident.Thread
	ID      string `json:"id,omitempty"`     // the destination's name of this message
	Note    string `json:"note,omitempty"`   // for people
	Skipped bool   `json:"skipped,omitempty"`
}

// Destination tells one channel.
//
// Send blocks until the destination has taken the incident, or until it is
// known that it will not. It is called by one goroutine at a time, and again
// with the same incident after a *RetryError or a restart: it makes the repeat
// invisible where the destination allows. It returns a *RetryError when the
// same call may succeed later; every other error is final for this incident,
// and one that is a *SetupError says what a person has to change. It does not
// retry by itself, ends soon after ctx does, keeps no reference to the
// incident's slices, and puts no secret into an error, a Receipt or a log.
// A destination that cannot edit may leave out an update and return
// Receipt.Skipped with the reason in Note.
type Destination interface {
	Name() string // stable: names the consumer group and the metrics
	Send(ctx context.Context, i Incident) (Receipt, error)
}

// RetryError says that the same send may succeed later.
type RetryError struct {
	After  time.Duration // at least this long from now; 0 leaves it to the caller
	Unsure bool          // the failed attempt may have arrived nevertheless
	Err    error
}

func (e *RetryError) Error() string {
	if e.After > 0 {
		return fmt.Sprintf("%v (again after %v)", e.Err, e.After)
	}
	return e.Err.Error()
}

func (e *RetryError) Unwrap() error { return e.Err }

// SetupError is a refusal that is about the configuration and not about the
// message: every send will meet it until a person acts.
type SetupError struct {
	Problem string // what the destination said
	Fix     string // what to do
}

func (e *SetupError) Error() string { return e.Problem + ": " + e.Fix }

func retryable(err error) (*RetryError, bool) {
	var r *RetryError
	ok := errors.As(err, &r)
	return r, ok
}

// IncidentKey names the incident of an alert. GroupID is a keyed hash over
// tenant, fields and values, so the key holds nothing personal.
func IncidentKey(a detect.Alert) string {
	group := a.GroupID
	if group == "" {
		group = a.ID // better an incident of its own than one with strangers
	}
	return brief(a.Rule.ID, 64) + "/" + brief(group, 128)
}

// Severities from mildest to worst.
var severities = [...]string{"debug", "info", "low", "medium", "high", "critical"}

// SeverityRank orders severities; an unknown one ranks as medium, so that a
// misspelt rule is not silenced.
func SeverityRank(s string) int {
	for i, name := range severities {
		if s == name {
			return i
		}
	}
	return 3
}

// Observer counts: event is one of the Event constants; took is the time of one
// attempt for sent, failed and retried, and 0 for skipped. It may be nil, and is
// called by the goroutine that runs the Notifier.
type Observer func(event, destination string, took time.Duration)

// Events that an Observer hears of.
const (
	EventSent    = "sent"
	EventFailed  = "failed"
	EventRetried = "retried"
	EventSkipped = "skipped"
)
