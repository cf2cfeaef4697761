package detect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// AppendSignal appends a pack of one signal, as it stands.
func AppendSignal(dst []byte, s *Signal) []byte {
	t := newTexts()
	w := packWriter{texts: &t}
	return appendSignals(&w, dst, []Signal{*s})
}

// appendSignals appends a pack of signals that share their events and evidence.
func appendSignals(w *packWriter, dst []byte, signals []Signal) []byte {
	w.start()
	values := func(in []GroupValue) (out []wireValue) {
		for _, v := range in {
			out = append(out, wireValue{w.id(v.Field, ""), w.id(v.Value, v.Key)})
		}
		return out
	}
	s := &signals[0]
	place := make([]uint32, 1<<16)
	for i := range place {
		place[i] = uint32(i)
	}
	for i := range s.Events {
		w.event(&s.Events[i])
	}
	contexts := make([][]GroupValue, len(s.Evidence))
	for i := range signals {
		for _, rp := range signals[i].Rules {
			for _, e := range rp.Evidence {
				if int(e.Of) < len(contexts) {
					contexts[e.Of] = append(contexts[e.Of], e.Context...)
				}
			}
		}
	}
	for i := range s.Evidence {
		e := &s.Evidence[i]
		w.facts(&wireFacts{
			event: e.Event, offset: e.Offset, server: w.id(e.Server, ""), kind: w.id(e.Type, ""), outcome: w.id(e.Outcome, ""),
			tool: w.id(e.Tool, ""), finding: w.id(e.Finding, ""),
		}, []byte(e.EventID), values(contexts[i]))
	}
	rules := map[[16]byte]uint32{}
	for i := range signals {
		s := &signals[i]
		w.group(s.Group, w.id(s.Tenant, ""), values(s.Values), len(s.Rules))
		for j, rp := range s.Rules {
			if _, ok := rules[rp.Rule]; !ok {
				rules[rp.Rule] = w.rule(rp.Rule)
			}
			alike := 0
			if j > 0 && len(rp.Points) > 0 && slices.EqualFunc(rp.Points, s.Rules[j-1].Points, func(a, b Point) bool { return a.Event == b.Event && a.Step == b.Step }) {
				alike = 1
			}
			w.points(rules[rp.Rule], rp.Points, place, alike, len(rp.Evidence) > 0)
			if len(rp.Evidence) == 0 {
				continue
			}
			w.shown(len(rp.Evidence))
			for _, e := range rp.Evidence {
				var choices []uint16
				for _, v := range e.Context {
					choices = append(choices, uint16(slices.Index(contexts[e.Of], v)))
				}
				w.show(e.Of, choices)
			}
		}
	}
	return w.record(dst, s.Source, s.Begin, s.End)
}

// signalsIn reads packs, each into memory of its own.
func signalsIn(t testing.TB, packs []Pack) (out []*Signal) {
	t.Helper()
	for _, p := range packs {
		signals, _, err := DecodeSignals(p.Record)
		if err != nil {
			t.Fatal(err)
		}
		for i := range signals {
			out = append(out, &signals[i])
		}
	}
	return out
}

// signalsOf are the signals of a batch.
func signalsOf(t testing.TB, c *Collector, begin, end int64) []*Signal {
	t.Helper()
	return signalsIn(t, c.Packs(0, begin, end, 1))
}

// wideSignals have everything that the record form treats in its own way.
func wideSignals() []Signal {
	context := []GroupValue{{Field: "server.name", Value: "crm"}, {Field: "labels.team", Value: "p-abc", Key: "k1"}, {Field: "net.ip", Value: "abcdefghijklmnopqrstuvwxy4", Key: "k2"}}
	ones := []Point{{Event: 0, Value: addsOne}, {Event: 1, Value: addsOne}, {Event: 2, Value: addsOne}}
	s := Signal{
		Source: 3, Begin: 100, End: 109, Tenant: "acme", Group: [16]byte{1, 2, 3},
		Values: []GroupValue{{Field: "net.ip", Value: "abcdefghijklmnopqrstuvwxy4", Key: "k1"}, {Field: "labels.team", Value: "p-abc", Key: "k1"}},
		Events: []SignalEvent{{Time: 1000, Append: 1010, Identity: 7}, {Time: 900, Append: 1010, Identity: 1 << 63}, {Time: 1200, Append: 1100}},
		Evidence: []SignalEvidence{
			{Event: 0, Offset: 100, EventID: "e0", Server: "crm", Type: "tool_call", Outcome: "success", Tool: "export"},
			{Event: 2, Offset: 108, EventID: "0192f0c1-7b2e-7c3a-9d4e-5f6a7b8c9d0e", Server: "crm", Type: "config", Outcome: "odd", Finding: "sqli"},
			{Event: 1, Offset: 104, EventID: "0192F0C1-7b2e-7c3a-9d4e-5f6a7b8c9d0e", Type: "token"},
		},
		Rules: []RulePoints{
			{Rule: [16]byte{1}, Points: ones, Evidence: []EvidenceRule{{Of: 0, Context: context[:2]}, {Of: 2}}},
			{Rule: [16]byte{5}, Points: ones},
			{Rule: [16]byte{6}, Points: []Point{{Event: 0, Value: 99}, {Event: 1, Value: 1}, {Event: 2, Value: 1<<63 + 1}}},
			{Rule: [16]byte{2}, Points: []Point{{Event: 2, Step: 4, Value: 1 << 60}}, Evidence: []EvidenceRule{{Of: 1, Context: context[2:]}}},
			{Rule: [16]byte{3}, Points: []Point{{Event: 0, Value: addsOne}, {Event: 0, Step: 1, Value: addsOne}, {Event: 2, Value: 0x40c81c8000000000}}},
			{Rule: [16]byte{4}},
		},
	}
	other := s
	other.Group, other.Tenant, other.Values = [16]byte{9}, "", nil
	other.Rules = []RulePoints{{Rule: [16]byte{5}, Points: ones[1:2]}, {Rule: [16]byte{3}, Points: ones[1:], Evidence: []EvidenceRule{{Of: 0, Context: context[1:2]}}}}
	return []Signal{s, other}
}

func wideRecord(w *packWriter) []byte { return appendSignals(w, nil, wideSignals()) }

func newPackWriter() *packWriter {
	t := newTexts()
	return &packWriter{texts: &t}
}

func TestSignalsAreReadAsTheyWereWritten(t *testing.T) {
	var d SignalDecoder
	w := newPackWriter()
	for range 2 { // the second time with memory that was used
		got, _, err := d.Decode(wideRecord(w))
		if err != nil {
			t.Fatal(err)
		}
		want := wideSignals()
		if len(got) != len(want) {
			t.Fatalf("%d signals", len(got))
		}
		for i := range want {
			if a, b := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want[i]); a != b {
				t.Errorf("%s\nand before\n%s", a, b)
			}
			if !reflect.DeepEqual(got[i].Events, want[i].Events) || !reflect.DeepEqual(got[i].Evidence, want[i].Evidence) {
				t.Errorf("%+v, and before: %+v", got[i], want[i])
			}
		}
	}
}

// What a window keeps of a signal must not change with the next record that is read.
func TestEvidenceSharesNoMemoryWithItsRecord(t *testing.T) {
	var d SignalDecoder
	signals, _, err := d.Decode(wideRecord(newPackWriter()))
	if err != nil {
		t.Fatal(err)
	}
	var kept []Evidence
	for i := range signals[0].Rules {
		signals[0].eachEvidence(i, func(e *SignalEvidence, context []GroupValue) {
			kept = append(kept, signals[0].evidence(e, context).clone())
		})
	}
	before := fmt.Sprintf("%+v", kept)
	other := &Signal{Tenant: "other", Values: []GroupValue{{Field: "labels.x", Value: "something of another record"}}}
	if _, _, err := d.Decode(AppendSignal(nil, other)); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprintf("%+v", kept); after != before || len(kept) != 3 {
		t.Errorf("%s\nand before\n%s", after, before)
	}
}

// What no build of this version writes is refused: places that are not there, and counts that
// the record has no room for.
func TestHostileSignalsAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(s *Signal){
		"a point of no event":     func(s *Signal) { s.Rules[4].Points[2].Event = 3 },
		"a row beyond the events": func(s *Signal) { s.Events = s.Events[:2]; s.Evidence = nil; s.Rules = s.Rules[1:2] },
		"a row from beyond":       func(s *Signal) { s.Rules[3].Points[0].Event = 1 << 15 },
		"evidence of no event":    func(s *Signal) { s.Evidence[1].Event = 3 },
		"evidence that is not":    func(s *Signal) { s.Rules[3].Evidence[0] = EvidenceRule{Of: 4} },
	} {
		s := wideSignals()[0]
		spoil(&s)
		if _, _, err := DecodeSignals(AppendSignal(nil, &s)); !errors.Is(err, ErrSignal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := wideRecord(newPackWriter())
	for i := range good {
		if _, _, err := DecodeSignals(good[:i]); !errors.Is(err, ErrSignal) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	older := slices.Clone(good)
	older[0] = signalVersion - 1
	if _, _, err := DecodeSignals(older); !errors.Is(err, ErrSignal) {
		t.Errorf("an older version: %v", err)
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
	record := AppendSignal(nil, s)
	if _, _, err := DecodeSignals(record); err != nil || len(record) > 90_000 {
		t.Errorf("as many as may be: %v, in %d bytes", err, len(record))
	}
	s.Rules = append(s.Rules, RulePoints{Points: row[:1]})
	if _, _, err := DecodeSignals(AppendSignal(nil, s)); !errors.Is(err, ErrSignal) {
		t.Errorf("one more: %v", err)
	}
}

// Whatever a record holds, reading it ends in an error, or in signals whose places exist, and which
// the same decoder reads again in the same way.
func FuzzDecodeSignal(f *testing.F) {
	f.Add(wideRecord(newPackWriter()))
	f.Add(AppendSignal(nil, &Signal{}))
	f.Add(AppendProgress(nil, Progress{Source: 1, Sources: 2, Begin: 3, End: 4, Passed: TestStart}))
	f.Add(binary.AppendUvarint([]byte{signalVersion, kindPack}, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d SignalDecoder
		signals, _, err := d.Decode(b)
		if err != nil {
			return
		}
		first, items := "", 0
		for i := range signals {
			s := &signals[i]
			items += len(s.Events) + len(s.Evidence)
			for j := range s.Rules {
				items += len(s.Rules[j].Points)
				for _, p := range s.Rules[j].Points {
					_ = s.Events[p.Event]
				}
				s.eachEvidence(j, func(e *SignalEvidence, context []GroupValue) { s.evidence(e, context) })
			}
		}
		if items < 1000 {
			first = fmt.Sprintf("%+v", signals)
		}
		again, _, err := d.Decode(b)
		if err != nil || len(again) != len(signals) || first != "" && fmt.Sprintf("%+v", again) != first {
			t.Fatalf("read again: %v, %+v", err, again)
		}
	})
}
