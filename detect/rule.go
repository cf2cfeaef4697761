package detect

import (
	"strings"
	"time"

	"picket/detect/diag"
)

// Rule is one compiled rule. It is immutable and shared.
type Rule struct {
	Info     RuleInfo
	Index    int      // position in RuleSet.Rules
	Hash     [16]byte // of the semantic part: identity across reloads and instances
	Mode     Mode
	Severity string
	Status   string

	Detector Detector
	GroupBy  []GroupTerm   // empty: one group per tenant
	Grouping int           // index in RuleSet.Groupings: rules with equal GroupBy share one
	Suppress time.Duration // length of the bucket

	Title   string  // alert title template, "{{count}} failed logins from {{net.ip}} in {{window}}"
	Context []Field // fields whose public values evidence shows

	File   string // where it was loaded from, with the line of the document
	Line   int
	source diag.Source

	Confidence, Risk int
	FalsePositives   []string
	Exceptions       []Exception

	program program
	tests   []testDoc
	said    written
	streams []stream // what its points are; more than one, or program yields a mask
	multi   bool     // Match.Add is the set of streams that the event is in
	plan    plan

	findings []*findingPred // what it asks of findings
}

// YAML is the rule as it was written, with its comments and tests.
func (r *Rule) YAML() string { return r.source.Document(r.Line) }

// Exception is a reason for which events do not count, and until when.
type Exception struct {
	Name    string // as the rule says, or "exception 2"
	Reason  string
	Expires time.Time // as the rule says: a date means until that day is over
	end     time.Time // the event time from which it no longer applies
}

// Expired reports whether the exception has ended at that time.
func (x *Exception) Expired(now time.Time) bool { return !now.Before(x.end) }

// Mode says what a completion does.
type Mode uint8

const (
	ModeAlert  Mode = iota // writes alerts that notify
	ModeSignal             // building block for other rules: never notifies
	ModeShadow             // evaluates and records, never notifies
)

func (m Mode) String() string { return [...]string{"alert", "signal", "shadow"}[m] }

// GroupTerm is one part of a group key: the first of Fields that the event
// has, or else the label.
type GroupTerm struct {
	Fields []Field // more than one: coalesce
	Label  string  // key of a label, tried after Fields; empty: none
}

// String is the term as rules write it.
func (t GroupTerm) String() string {
	names := t.names()
	if len(names) == 1 {
		return names[0]
	}
	return "coalesce(" + strings.Join(names, ", ") + ")"
}

func (t GroupTerm) names() []string {
	names := make([]string, 0, len(t.Fields)+1)
	for _, f := range t.Fields {
		names = append(names, f.String())
	}
	if t.Label != "" {
		names = append(names, "labels."+t.Label)
	}
	return names
}

// Match says that an event matched a rule (all of its exceptions considered).
type Match struct {
	Rule int // index in RuleSet.Rules
	// Add is what the event adds: 1, or the field of a sum, or the score. Of a rule with
	// several conditions (sequence, ratio, absence, all, any) it is the set of those that
	// hold, bit 0 being the first.
	Add float64
}
