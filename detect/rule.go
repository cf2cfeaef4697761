package detect

import (
	"strings"
	"time"
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

	File string // where it was loaded from, with the line of the document
	Line int

	Confidence, Risk int
	FalsePositives   []string

	program program
	tests   []testDoc
}

// Mode says what a completion does.
type Mode uint8

const (
	ModeAlert  Mode = iota // writes alerts that notify
	ModeSignal             // building block for other rules: never notifies
	ModeShadow             // evaluates and records, never notifies
)

func (m Mode) String() string { return [...]string{"alert", "signal", "shadow"}[m] }

// DetectorKind names what a detector measures.
type DetectorKind uint8

const (
	DetectCount DetectorKind = iota // matching events >= Threshold (none in the rule: 1)
	DetectDistinct
	DetectSum
	DetectScore
	DetectSequence
	DetectRatio
	DetectAbsence
)

func (k DetectorKind) String() string {
	return [...]string{"count", "distinct", "sum", "score", "sequence", "ratio", "absence"}[k]
}

// Detector is the stateful condition over one group's matching events.
type Detector struct {
	Kind      DetectorKind
	Window    time.Duration // events with time in (t - Window, t]
	Threshold float64       // fires at >= Threshold
	Field     Field         // of distinct and sum
}

// GroupTerm is one part of a group key: the first of Fields that the event
// has, or else the label.
type GroupTerm struct {
	Fields []Field // more than one: coalesce
	Label  string  // key of a label, tried after Fields; empty: none
}

// String is the term as rules write it.
func (t GroupTerm) String() string {
	names := make([]string, 0, len(t.Fields)+1)
	for _, f := range t.Fields {
		names = append(names, f.String())
	}
	if t.Label != "" {
		names = append(names, "labels."+t.Label)
	}
	if len(names) == 1 {
		return names[0]
	}
	return "coalesce(" + strings.Join(names, ", ") + ")"
}

// Match says that an event matched a rule (all of its exceptions considered).
type Match struct {
	Rule int     // index in RuleSet.Rules
	Step uint8   // of a sequence; 0 otherwise
	Add  float64 // what the event adds: 1, or the field of a sum, or the score
}
