package detect

import (
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// DecodeSignals reads one record of picket.signals: a pack of signals, or a *Progress.
func DecodeSignals(b []byte) ([]Signal, *Progress, error) { return new(SignalDecoder).Decode(b) }

// SignalDecoder decodes one record after the other into the same memory. One goroutine owns it.
type SignalDecoder struct {
	progress Progress

	letters  []byte // of all texts
	spans    []textSpan
	texts    []GroupValue // Value and Key of each
	keys     []string
	rules    [][16]byte
	events   []SignalEvent
	evidence []SignalEvidence
	context  []GroupValue // of the evidence, and then of the rules that show it
	contexts []contextSpan

	signals []Signal
	values  []GroupValue
	points  []Point
	of      []RulePoints
	shown   []EvidenceRule
	total   int // points, also those that rules share
}

// textSpan is where a text lies in the letters, and its key, from one.
type textSpan struct{ from, until, key int }

type contextSpan struct{ from, until int }

// Decode reads one record. What it returns, texts too, holds until the next call, and nobody
// is to change it.
func (d *SignalDecoder) Decode(b []byte) ([]Signal, *Progress, error) {
	r := &wireReader{b: b}
	if v := r.byte(); v != signalVersion {
		return nil, nil, fmt.Errorf("%w: version %d, this build reads %d", ErrSignal, v, signalVersion)
	}
	switch k := r.byte(); k {
	case kindPack:
		d.decode(r)
		if err := r.done(); err != nil {
			return nil, nil, err
		}
		return d.signals, nil, nil
	case kindProgress:
		d.progress = Progress{
			Source: int32(r.uvarint()), Sources: int32(r.uvarint()),
			Begin: int64(r.uvarint()), End: int64(r.uvarint()), Passed: time.UnixMilli(r.varint()).UTC(),
		}
		return nil, &d.progress, r.done()
	default:
		return nil, nil, fmt.Errorf("%w: kind %d", ErrSignal, k)
	}
}

func (d *SignalDecoder) decode(r *wireReader) {
	*d = SignalDecoder{
		letters: kept(d.letters), spans: kept(d.spans), texts: kept(d.texts), keys: d.keys[:0], rules: kept(d.rules), events: kept(d.events),
		evidence: kept(d.evidence), context: kept(d.context), contexts: kept(d.contexts), signals: kept(d.signals), values: kept(d.values),
		points: kept(d.points), of: kept(d.of), shown: kept(d.shown),
	}
	all := Signal{Source: int32(r.uvarint()), Begin: int64(r.uvarint())}
	all.End = all.Begin + int64(r.uvarint())
	for range r.count(1) {
		d.keys = append(d.keys, string(r.bytes()))
	}
	for range r.count(1) {
		d.text(r)
	}
	d.cut()
	for range r.count(16) {
		d.rules = append(d.rules, [16]byte(r.hash()))
	}
	var e SignalEvent
	for range r.count(10) {
		e.Time += r.varint()
		e.Append = e.Time + r.varint()
		e.Identity = r.fixed()
		d.events = append(d.events, e)
	}
	for range r.count(9) {
		d.facts(r)
	}
	for range r.count(19) {
		d.group(r, all)
	}
}

// text reads a text into the letters.
func (d *SignalDecoder) text(r *wireReader) {
	head := r.uvarint()
	from, key := len(d.letters), 0
	n := head >> textForms
	switch head & (1<<textForms - 1) {
	case textPseudonym:
		key = int(r.placeOf(n, len(d.keys))) + 1
		d.letters = appendLetters(d.letters, r.take(pseudonymBytes))
	case textUUID:
		d.letters = appendLettersOfUUID(d.letters, r.take(16))
	case textKeyed:
		key = int(r.place(len(d.keys))) + 1
		d.letters = append(d.letters, r.bytesOf(n)...)
	default:
		d.letters = append(d.letters, r.bytesOf(n)...)
	}
	if r.err == nil {
		d.spans = append(d.spans, textSpan{from, len(d.letters), key})
	}
}

func appendLettersOfUUID(dst, b []byte) []byte {
	if len(b) != 16 {
		return dst
	}
	for i, part := range [...][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// cut makes texts of the letters: one piece of memory for all.
func (d *SignalDecoder) cut() {
	all := string(d.letters)
	for _, s := range d.spans {
		t := GroupValue{Value: all[s.from:s.until]}
		if s.key > 0 {
			t.Key = d.keys[s.key-1]
		}
		d.texts = append(d.texts, t)
	}
}

// ref reads the number of a text.
func (d *SignalDecoder) ref(r *wireReader) GroupValue {
	n := r.uvarint()
	if n < uint64(len(wireNames)) {
		return GroupValue{Value: wireNames[n]}
	}
	if n -= uint64(len(wireNames)); n < uint64(len(d.texts)) {
		return d.texts[n]
	}
	r.fail("text")
	return GroupValue{}
}

func (d *SignalDecoder) fieldValues(dst []GroupValue, r *wireReader) []GroupValue {
	for range r.count(2) {
		field, v := d.ref(r), d.ref(r)
		dst = append(dst, GroupValue{Field: field.Value, Value: v.Value, Key: v.Key})
	}
	return dst
}

func (d *SignalDecoder) facts(r *wireReader) {
	e := SignalEvidence{Event: r.place(len(d.events)), Offset: r.varint()}
	if n := len(d.evidence); n > 0 {
		e.Offset += d.evidence[n-1].Offset
	}
	for _, s := range [...]*string{&e.EventID, &e.Server, &e.Type, &e.Outcome, &e.Tool, &e.Finding} {
		*s = d.ref(r).Value
	}
	d.evidence = append(d.evidence, e)
	from := len(d.context)
	d.context = d.fieldValues(d.context, r)
	d.contexts = append(d.contexts, contextSpan{from, len(d.context)})
}

func (d *SignalDecoder) group(r *wireReader, s Signal) {
	s.Events, s.Evidence = d.events, d.evidence
	s.Group = [16]byte(r.hash())
	s.Tenant = d.ref(r).Value
	from := len(d.values)
	d.values = d.fieldValues(d.values, r)
	s.Values = d.values[from:len(d.values):len(d.values)]
	from = len(d.of)
	for range r.count(2) {
		d.rule(r, from)
	}
	s.Rules = d.of[from:len(d.of):len(d.of)]
	d.signals = append(d.signals, s)
}

// rule reads what a group has of a rule; the group's first is at a place of d.of.
func (d *SignalDecoder) rule(r *wireReader, first int) {
	place := r.place(len(d.rules))
	if r.err != nil {
		return
	}
	head := r.uvarint()
	n := head >> pointsForms
	// Points that are alike, or in a row, take no room in the record: they are bounded by themselves.
	if n > uint64(maxSignalPoints-d.total) {
		r.fail("count of points")
		return
	}
	d.total += int(n)
	rp := RulePoints{Rule: d.rules[place]}
	if n > 0 {
		rp.Points = d.pointsOf(r, head, int(n), d.of[first:])
	}
	if head&pointsEvidence != 0 {
		from := len(d.shown)
		for range r.count(2) {
			d.show(r)
		}
		rp.Evidence = d.shown[from:len(d.shown):len(d.shown)]
	}
	d.of = append(d.of, rp)
}

func (d *SignalDecoder) pointsOf(r *wireReader, form uint64, n int, before []RulePoints) []Point {
	var like []Point
	if form&pointsAlike != 0 {
		back := r.uvarint()
		if back == 0 || back > uint64(len(before)) || len(before[len(before)-int(back)].Points) != n {
			r.fail("rule that is alike")
			return nil
		}
		like = before[len(before)-int(back)].Points
		if form&pointsValues == 0 && !slices.ContainsFunc(like, func(p Point) bool { return p.Value != addsOne }) {
			return like
		}
	} else if form&pointsInRow == 0 && n > len(r.b) {
		r.fail("count of points")
		return nil
	}
	from := len(d.points)
	d.points = slices.Grow(d.points, n)[:from+n]
	points := d.points[from:len(d.points):len(d.points)]
	switch {
	case like != nil:
		copy(points, like)
	case form&pointsInRow != 0:
		first := r.place(len(d.events))
		if n > len(d.events)-int(first) {
			r.fail("event")
			return nil
		}
		for i := range points {
			points[i] = Point{Event: first + uint32(i)}
		}
	default:
		at := uint64(0)
		for i := range points {
			at += r.uvarint()
			if at >= uint64(len(d.events)) {
				r.fail("event")
				return nil
			}
			points[i] = Point{Event: uint32(at)}
		}
	}
	if form&pointsSteps != 0 && like == nil {
		if steps := r.take(n); steps != nil {
			for i := range points {
				points[i].Step = steps[i]
			}
		}
	}
	value := uint64(addsOne)
	for i := range points {
		if form&pointsValues != 0 && (i == 0 || form&pointsEqual == 0) {
			value = r.value()
		}
		points[i].Value = value
	}
	return points
}

// show reads a piece of evidence of the rule in hand, whose context is a choice of what there is of the event.
func (d *SignalDecoder) show(r *wireReader) {
	of := r.place(len(d.evidence))
	if r.err != nil {
		return
	}
	all := d.contexts[of]
	from := len(d.context)
	for range r.count(1) {
		i := r.place(all.until - all.from)
		if r.err != nil {
			return
		}
		d.context = append(d.context, d.context[all.from+int(i)])
	}
	d.shown = append(d.shown, EvidenceRule{Of: of, Context: d.context[from:len(d.context):len(d.context)]})
}

// kept is the memory of a list, where it is not too much, with nothing in it.
func kept[T any](list []T) []T {
	if cap(list) > maxKept {
		return nil
	}
	return list[:0]
}

// maxKept is up to how many items a list keeps its memory.
const maxKept = 1 << 18
