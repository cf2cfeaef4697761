package detect

import (
	"errors"
	"time"
)

// Signal is what one declared batch of one source partition says about one
// group: the points of every rule that groups by the same fields. It is the
// unit of the topic picket.signals and holds keyed hashes and public forms only.
type Signal struct {
	Source   int32 // partition of mcp.events
	Begin    int64 // the declared batch [Begin, End)
	End      int64
	Tenant   string
	Group    [16]byte // keyed hash of tenant, fields and values: the record's key
	Values   []GroupValue
	Events   []SignalEvent // in log order; points and evidence refer to them
	Rules    []RulePoints
	Evidence []SignalEvidence // at most one of each event, in log order

	Urgent bool // a critical event that fires by itself is in it: not sent, but written first
}

// SignalEvent is an event as windows see it, whichever rules it matches.
type SignalEvent struct {
	Time     int64  // event time, Unix milliseconds
	Offset   int64  // in the source partition
	Append   int64  // broker append time, Unix milliseconds
	Identity uint64 // keyed hash of (server.instance, id): a point enters a window once
}

// RulePoints are the points of one rule in a signal, in log order.
type RulePoints struct {
	Rule   [16]byte // Rule.Hash
	Points []Point
}

// Point is what one event says to one rule.
type Point struct {
	Value uint64 // keyed hash of what is told apart or compared, or float64 bits of what it adds
	Event uint32 // place in the signal's events
	Step  uint8  // which of the rule's conditions it matches; an event has a point for each
}

// SignalEvidence is what alerts show of one event; few events have any.
type SignalEvidence struct {
	Event                                         uint32 // place in the signal's events
	EventID, Server, Type, Outcome, Tool, Finding string
	Rules                                         []EvidenceRule // whose alerts show it
}

// EvidenceRule is a rule that an event is evidence of.
type EvidenceRule struct {
	Rule    uint32       // place in the signal's rules
	Context []GroupValue // the fields that the rule's alert.context names
}

// evidence is what an alert of one of the event's rules shows. It shares the context's memory.
func (s *Signal) evidence(e *SignalEvidence, context []GroupValue) Evidence {
	ev := &s.Events[e.Event]
	return Evidence{
		EventID: e.EventID, Time: time.UnixMilli(ev.Time).UTC(), Partition: s.Source, Offset: ev.Offset,
		Server: e.Server, Type: e.Type, Outcome: e.Outcome, Tool: e.Tool, Finding: e.Finding, Context: context,
	}
}

// eachEvidence gives the evidence of one of the signal's rules, in log order.
func (s *Signal) eachEvidence(rule int, give func(e *SignalEvidence, context []GroupValue)) {
	for i := range s.Evidence {
		e := &s.Evidence[i]
		for j := range e.Rules {
			if int(e.Rules[j].Rule) == rule {
				give(e, e.Rules[j].Context)
			}
		}
	}
}

// Progress says how far detect has read one source partition. It goes to every
// partition of picket.signals after the signals of its batch.
type Progress struct {
	Source  int32
	Sources int32 // how many source partitions there are
	Begin   int64 // the declared batch it closes; Begin == End when idle
	End     int64
	Passed  time.Time // every record appended before was read
}

const (
	signalVersion = 3
	kindSignal    = 1
	kindProgress  = 2

	maxSignalItems  = 1 << 20
	maxSignalPoints = 1 << 22 // of all rules: many may refer to the same events
)

// ErrSignal is wrapped by every error of DecodeSignal.
var ErrSignal = errors.New("malformed signal record")
