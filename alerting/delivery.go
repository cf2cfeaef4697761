package alerting

import (
	"time"

	"picket/detect"
)

// DeliverySchema names the JSON form of Delivery on the topic picket.deliveries.
const DeliverySchema = "picket.delivery/1"

// Outcomes of a Delivery.
const (
	Sent    = "sent"
	Failed  = "failed"
	Skipped = "skipped"
)

// Delivery is what became of one alert at one destination. A Notifier's state
// is a fold over these records, in order.
type Delivery struct {
	Schema      string `json:"schema"`
	Destination string `json:"destination"`
	Incident    string `json:"incident"`
	AlertID     string `json:"alert_id"`
	Rule        string `json:"rule"`
	Tenant      string `json:"tenant,omitempty"`
	Outcome     string `json:"outcome"`
	Update      bool   `json:"update,omitempty"`

	Severity    string    `json:"severity"`
	Count       uint64    `json:"count"`
	Settled     bool      `json:"settled,omitempty"`
	First       time.Time `json:"first"`
	BucketStart time.Time `json:"bucket_start"`
	BucketEnd   time.Time `json:"bucket_end"`

	Thread string `json:"thread,omitempty"`
	ID     string `json:"id,omitempty"`
	Note   string `json:"note,omitempty"`
	Error  string `json:"error,omitempty"`

	Attempts int       `json:"attempts,omitempty"`
	At       time.Time `json:"at"`
}

func newDelivery(dest string, a detect.Alert) Delivery {
	return Delivery{
		Schema: DeliverySchema, Destination: dest, Incident: IncidentKey(a), AlertID: a.ID, Rule: a.Rule.ID, Tenant: a.Tenant,
		Severity: a.Severity, Count: a.Count, Settled: a.Settled, First: a.First, BucketStart: a.BucketStart, BucketEnd: a.BucketEnd,
	}
}

// incident is what a Notifier remembers of one.
type incident struct {
	key    string
	thread string
	told   Told
	since  time.Time
	end    time.Time // of the latest bucket
	alerts int
	before uint64 // events of alerts that left recent
	recent []seen // newest last, at most keepAlerts
}

// seen is one alert of an incident.
type seen struct {
	id       string
	count    uint64
	settled  bool
	severity string
	told     bool
}

const keepAlerts = 8

func (s *incident) find(id string) *seen {
	for i := range s.recent {
		if s.recent[i].id == id {
			return &s.recent[i]
		}
	}
	return nil
}

func (s *incident) total() uint64 {
	n := s.before
	for _, a := range s.recent {
		n += a.count
	}
	return n
}

// note takes an alert's newest figures.
func (s *incident) note(d Delivery) *seen {
	if s.since.IsZero() || d.First.Before(s.since) {
		s.since = d.First
	}
	if d.BucketEnd.After(s.end) {
		s.end = d.BucketEnd
	}
	a := s.find(d.AlertID)
	if a == nil {
		if len(s.recent) == keepAlerts {
			s.before += s.recent[0].count
			s.recent = append(s.recent[:0], s.recent[1:]...)
		}
		s.alerts++
		s.recent = append(s.recent, seen{id: d.AlertID})
		a = &s.recent[len(s.recent)-1]
	}
	a.count, a.settled, a.severity = max(a.count, d.Count), a.settled || d.Settled, d.Severity
	return a
}

// apply takes a delivery into the state.
func (s *incident) apply(d Delivery) {
	a := s.note(d)
	if d.Outcome != Sent {
		return
	}
	a.told = true
	s.thread = d.Thread
	s.told = Told{AlertID: d.AlertID, Severity: d.Severity, Count: d.Count, Settled: d.Settled}
}
