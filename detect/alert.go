package detect

import "time"

// AlertSchema names the JSON form of Alert on the topic picket.alerts.
const AlertSchema = "picket.alert/1"

// Alert is (rule, group, bucket): what the topic picket.alerts carries and
// destinations tell. It holds public forms only. The same alert is written
// again when its count doubles and when its bucket settles; ID stays.
type Alert struct {
	Schema   string       `json:"schema"`
	ID       string       `json:"id"` // 26 base32 characters
	Rule     RuleInfo     `json:"rule"`
	Mode     string       `json:"mode"` // alert | shadow | signal
	Severity string       `json:"severity"`
	Tenant   string       `json:"tenant"`
	Group    []GroupValue `json:"group"`
	GroupID  string       `json:"group_id"` // keyed hash of tenant, fields and values; does not rotate

	BucketStart time.Time `json:"bucket_start"`
	BucketEnd   time.Time `json:"bucket_end"`
	First       time.Time `json:"first"`    // event time of the earliest matching event in the window that completed first
	Last        time.Time `json:"last"`     // event time of the newest matching event in the bucket
	FiredAt     time.Time `json:"fired_at"` // append time of the event that completed it
	Count       uint64    `json:"count"`    // the group's matching events with time in the bucket
	Value       float64   `json:"value"`    // the most that the detector measured at a completion in the bucket
	Threshold   float64   `json:"threshold"`
	Settled     bool      `json:"settled"`

	Why      string     `json:"why"`   // one sentence with values: "5 failed authentications from ... in 5m (threshold 5)"
	Title    string     `json:"title"` // the rule's alert title with public values filled in
	Evidence []Evidence `json:"evidence"`
}

// RuleInfo is what a person needs to know of the rule that fired.
type RuleInfo struct {
	ID          string   `json:"id"`   // AU-01
	Name        string   `json:"name"` // auth.bruteforce.source_ip
	Hash        string   `json:"hash"` // of the semantic part
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Runbook     string   `json:"runbook,omitempty"`
	References  []string `json:"references,omitempty"`
	Window      string   `json:"window,omitempty"`
}

// GroupValue is one group field in public form.
type GroupValue struct {
	Field string `json:"field"`
	Value string `json:"value"`
	Key   string `json:"key,omitempty"` // key id when Value is a pseudonym
}

// Evidence points to one event that contributed.
type Evidence struct {
	EventID   string    `json:"event_id"`
	Time      time.Time `json:"time"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Server    string    `json:"server,omitempty"`
	Type      string    `json:"type,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
	Tool      string    `json:"tool,omitempty"`
	Finding   string    `json:"finding,omitempty"` // category of the strongest finding that the rule asks for; where it asks for none, of all

	Context []GroupValue `json:"context,omitempty"` // the fields that the rule's alert.context names
}
