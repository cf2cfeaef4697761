package detect

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Signal is what one declared batch of one source partition says about one
// group: the points of every rule that groups by the same values. Signals travel in packs, the
// records of the topic picket.signals, and hold keyed hashes and public forms only.
type Signal struct {
	Source   int32 // partition of mcp.events
	Begin    int64 // the declared batch [Begin, End)
	End      int64
	Tenant   string
	Group    [16]byte // keyed hash of tenant, fields and values
	Values   []GroupValue
	Events   []SignalEvent    // of all signals of the pack, in log order; points refer to them
	Evidence []SignalEvidence // of all signals of the pack
	Rules    []RulePoints
}

// SignalEvent is an event as windows see it, whichever rules it matches.
type SignalEvent struct {
	Time     int64  // event time, Unix milliseconds
	Append   int64  // broker append time, Unix milliseconds
	Identity uint64 // keyed hash of (server.instance, id): a point enters a window once
}

// RulePoints are the points of one rule in a signal, in log order. Rules may share points.
type RulePoints struct {
	Rule     [16]byte // Rule.Hash
	Points   []Point
	Evidence []EvidenceRule
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
	Offset                                        int64  // in the source partition
	EventID, Server, Type, Outcome, Tool, Finding string
}

// EvidenceRule is an event that is evidence of a rule.
type EvidenceRule struct {
	Of      uint32       // place in the signal's evidence
	Context []GroupValue // the fields that the rule's alert.context names
}

// evidence is what an alert of one of the event's rules shows. It shares the signal's memory.
func (s *Signal) evidence(e *SignalEvidence, context []GroupValue) Evidence {
	finding := e.Finding
	if n := len(context) - 1; n >= 0 && context[n].Field == askedFinding {
		finding, context = context[n].Value, context[:n]
	}
	return Evidence{
		EventID: e.EventID, Time: time.UnixMilli(s.Events[e.Event].Time).UTC(), Partition: s.Source, Offset: e.Offset,
		Server: e.Server, Type: e.Type, Outcome: e.Outcome, Tool: e.Tool, Finding: finding, Context: context,
	}
}

// clone is the evidence in memory of its own.
func (e Evidence) clone() Evidence {
	e.Context = slices.Clone(e.Context)
	for i := range e.Context {
		v := &e.Context[i]
		v.Field, v.Value, v.Key = strings.Clone(v.Field), strings.Clone(v.Value), strings.Clone(v.Key)
	}
	for _, s := range [...]*string{&e.EventID, &e.Server, &e.Type, &e.Outcome, &e.Tool, &e.Finding} {
		*s = strings.Clone(*s)
	}
	return e
}

// eachEvidence gives the evidence of one of the signal's rules, in log order.
func (s *Signal) eachEvidence(rule int, give func(e *SignalEvidence, context []GroupValue)) {
	for _, x := range s.Rules[rule].Evidence {
		give(&s.Evidence[x.Of], x.Context)
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
	signalVersion = 4
	kindPack      = 1
	kindProgress  = 2

	maxSignalItems  = 1 << 20
	maxSignalPoints = 1 << 22 // of all rules of a pack: many may refer to the same events
)

// ErrSignal is wrapped by every error of DecodeSignals.
var ErrSignal = errors.New("malformed signal record")
