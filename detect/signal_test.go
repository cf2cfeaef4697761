package detect

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
)

// wideSignal has everything that the record form treats in its own way.
func wideSignal() *Signal {
	context := []GroupValue{{Field: "server.name", Value: "crm"}, {Field: "labels.team", Value: "p-abc", Key: "k1"}}
	return &Signal{
		Source: 3, Begin: 100, End: 109, Tenant: "acme", Group: [16]byte{1, 2, 3}, Values: []GroupValue{{Field: "net.ip", Value: "p-xyz", Key: "k1"}},
		Events: []SignalEvent{
			{Time: 1000, Offset: 100, Append: 1010, Identity: 7}, {Time: 900, Offset: 104, Append: 1010, Identity: 1 << 63}, {Time: 1200, Offset: 108, Append: 1100},
		},
		Rules: []RulePoints{
			{Rule: [16]byte{1}, Points: []Point{{Event: 0, Value: addsOne}, {Event: 1, Value: addsOne}, {Event: 2, Value: addsOne}}},
			{Rule: [16]byte{2}, Points: []Point{{Event: 2, Step: 4, Value: 99}}},
			{Rule: [16]byte{3}, Points: []Point{{Event: 0, Value: addsOne}, {Event: 0, Step: 1, Value: addsOne}, {Event: 2, Value: 5}}},
			{Rule: [16]byte{4}},
		},
		Evidence: []SignalEvidence{
			{Event: 0, EventID: "e0", Server: "crm", Type: "tool_call", Outcome: "success", Tool: "export", Rules: []EvidenceRule{{Rule: 0, Context: context}, {Rule: 2}}},
			{Event: 2, EventID: "e2", Server: "crm", Type: "config", Outcome: "odd", Finding: "sqli", Rules: []EvidenceRule{{Rule: 1, Context: context[:1]}}},
		},
	}
}

// same compares signals with no difference between empty and nil.
func same(t *testing.T, got, want *Signal) {
	t.Helper()
	if a, b := AppendSignal(nil, got), AppendSignal(nil, want); string(a) != string(b) {
		t.Errorf("written again: %x, and before: %x", a, b)
	}
}

func TestSignalsAreReadAsTheyWereWritten(t *testing.T) {
	var d SignalDecoder
	want := wideSignal()
	for range 2 { // the second time from what is remembered
		got, _, err := d.Decode(AppendSignal(nil, want))
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
		if !reflect.DeepEqual(got.Events, want.Events) || !reflect.DeepEqual(got.Values, want.Values) || !reflect.DeepEqual(got.Rules, want.Rules) ||
			!reflect.DeepEqual(got.Evidence[0].Rules[0], want.Evidence[0].Rules[0]) || got.Evidence[1].Outcome != "odd" || got.Evidence[1].Finding != "sqli" {
			t.Fatalf("%+v, and before: %+v", got, want)
		}
		if len(got.Evidence[0].Rules[1].Context) != 0 || got.Tenant != "acme" || got.End != 109 {
			t.Fatalf("%+v", got)
		}
	}
}

// What no build of this version writes is refused: places that are not there, and counts that
// the record has no room for.
func TestHostileSignalsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(s *Signal){
		"a point of no event":     func(s *Signal) { s.Rules[2].Points[0].Event = 3 },
		"a row beyond the events": func(s *Signal) { s.Rules[0].Points = append(s.Rules[0].Points, Point{Event: 3, Value: addsOne}) },
		"a row from beyond":       func(s *Signal) { s.Rules[1].Points[0].Event = 1 << 31 },
		"evidence of no event":    func(s *Signal) { s.Evidence[1].Event = 3 },
		"evidence of no rule":     func(s *Signal) { s.Evidence[1].Rules[0].Rule = 4 },
	} {
		s := wideSignal()
		spoil(s)
		if _, _, err := DecodeSignal(AppendSignal(nil, s)); !errors.Is(err, ErrSignal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := AppendSignal(nil, wideSignal())
	for i := range good {
		if _, _, err := DecodeSignal(good[:i]); !errors.Is(err, ErrSignal) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

// Rules that all refer to the same events take hardly any room in a record: they are bounded by their points.
func TestPointsOfARecordAreBounded(t *testing.T) {
	events := make([]SignalEvent, 1<<13)
	row := make([]Point, len(events))
	for i := range row {
		row[i] = Point{Event: uint32(i), Value: addsOne}
	}
	s := &Signal{Events: events}
	for range maxSignalPoints / len(row) {
		s.Rules = append(s.Rules, RulePoints{Points: row})
	}
	if _, _, err := DecodeSignal(AppendSignal(nil, s)); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	s.Rules = append(s.Rules, RulePoints{Points: row[:1]})
	if _, _, err := DecodeSignal(AppendSignal(nil, s)); !errors.Is(err, ErrSignal) {
		t.Errorf("one more: %v", err)
	}
}

// Whatever a record holds, reading it ends in an error, or in a signal that can be written and whose places exist.
func FuzzDecodeSignal(f *testing.F) {
	f.Add(AppendSignal(nil, wideSignal()))
	f.Add(AppendSignal(nil, &Signal{}))
	f.Add(AppendProgress(nil, Progress{Source: 1, Sources: 2, Begin: 3, End: 4, Passed: TestStart}))
	f.Add(binary.AppendUvarint([]byte{signalVersion, kindSignal}, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d SignalDecoder
		s, _, err := d.Decode(b)
		if err != nil || s == nil {
			return
		}
		for i := range s.Rules {
			for _, p := range s.Rules[i].Points {
				_ = s.Events[p.Event]
			}
			s.eachEvidence(i, func(e *SignalEvidence, context []GroupValue) { s.evidence(e, context) })
		}
		again, _, err := DecodeSignal(AppendSignal(nil, s))
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		same(t, again, s)
	})
}
