package detect

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// DecodeSignal reads one record of picket.signals: a *Signal or a *Progress.
func DecodeSignal(b []byte) (*Signal, *Progress, error) { return new(SignalDecoder).Decode(b) }

// SignalDecoder decodes one record after the other into the same memory. One goroutine owns it.
type SignalDecoder struct {
	signal   Signal
	progress Progress
	points   []Point
	context  []GroupValue
	rules    []EvidenceRule

	texts []string          // of the record
	known map[string]string // of records before: mostly the same
}

const (
	maxKnown    = 4096 // texts, and
	maxKnownLen = 64   // bytes of one, that a decoder remembers
)

// Decode reads one record. What it returns holds until the next call; Windows keep none of it
// but strings.
func (d *SignalDecoder) Decode(b []byte) (*Signal, *Progress, error) {
	r := &wireReader{b: b}
	if v := r.byte(); v != signalVersion {
		return nil, nil, fmt.Errorf("%w: version %d, this build reads %d", ErrSignal, v, signalVersion)
	}
	switch k := r.byte(); k {
	case kindSignal:
		d.decode(r)
		return &d.signal, nil, r.done()
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
	s := &d.signal
	d.texts, d.points, d.context, d.rules = d.texts[:0], emptied(d.points), emptied(d.context), emptied(d.rules)
	s.Source, s.Begin, s.End = int32(r.uvarint()), int64(r.uvarint()), int64(r.uvarint())
	s.Tenant = d.text(r)
	copy(s.Group[:], r.take(16))
	s.Values = d.values(s.Values[:0], r)
	s.Events, s.Rules, s.Evidence = s.Events[:0], s.Rules[:0], s.Evidence[:0]
	var e SignalEvent
	for range r.count(11) {
		e.Time += r.varint()
		e.Offset += r.varint()
		e.Append = e.Time + r.varint()
		e.Identity = r.fixed()
		s.Events = append(s.Events, e)
	}
	for range r.count(17) {
		var rp RulePoints
		copy(rp.Rule[:], r.take(16))
		rp.Points = d.pointsOf(r, len(s.Events))
		s.Rules = append(s.Rules, rp)
	}
	for range r.count(8) {
		s.Evidence = append(s.Evidence, d.evidence(r))
	}
}

// pointsOf reads the points of one rule. Those in a row take no room in the record, so that all
// of a record are bounded by themselves.
func (d *SignalDecoder) pointsOf(r *wireReader, events int) []Point {
	n := r.uvarint()
	if n == 0 {
		return nil
	}
	form := r.byte()
	switch {
	case n > uint64(maxSignalPoints-len(d.points)), form > pointsInRow|pointsSteps|pointsValues,
		form&pointsInRow != 0 && n > uint64(events), form&pointsInRow == 0 && n > uint64(len(r.b)):
		r.fail("count of points")
		return nil
	}
	from := len(d.points)
	d.points = slices.Grow(d.points, int(n))[:from+int(n)]
	points := d.points[from:len(d.points):len(d.points)]
	if form&pointsInRow != 0 {
		first := r.uvarint()
		if first > uint64(events)-n {
			r.fail("event")
			return nil
		}
		for i := range points {
			points[i] = Point{Event: uint32(first) + uint32(i), Value: addsOne}
		}
	} else {
		at := int64(0)
		for i := range points {
			at += r.varint()
			if at < 0 || at >= int64(events) {
				r.fail("event")
				return nil
			}
			points[i] = Point{Event: uint32(at), Value: addsOne}
		}
	}
	if form&pointsSteps != 0 {
		if steps := r.take(len(points)); steps != nil {
			for i := range points {
				points[i].Step = steps[i]
			}
		}
	}
	if form&pointsValues != 0 {
		if values := r.take(8 * len(points)); values != nil {
			for i := range points {
				points[i].Value = binary.LittleEndian.Uint64(values[8*i:])
			}
		}
	}
	return points
}

func (d *SignalDecoder) evidence(r *wireReader) SignalEvidence {
	e := SignalEvidence{
		Event: r.place(len(d.signal.Events)), EventID: r.string(),
		Server: d.text(r), Type: d.text(r), Outcome: d.text(r), Tool: d.text(r), Finding: d.text(r),
	}
	from := len(d.rules)
	for range r.count(2) {
		rule, first := r.place(len(d.signal.Rules)), len(d.context)
		d.context = d.values(d.context, r)
		d.rules = append(d.rules, EvidenceRule{Rule: rule, Context: d.context[first:len(d.context):len(d.context)]})
	}
	e.Rules = d.rules[from:len(d.rules):len(d.rules)]
	return e
}

func (d *SignalDecoder) values(dst []GroupValue, r *wireReader) []GroupValue {
	for range r.count(3) {
		dst = append(dst, GroupValue{Field: d.text(r), Value: d.text(r), Key: d.text(r)})
	}
	return dst
}

// text reads a text, or the number of one.
func (d *SignalDecoder) text(r *wireReader) string {
	n := r.uvarint()
	switch {
	case n == 0:
		s := d.again(r.bytes())
		if len(d.texts) < maxTexts {
			d.texts = append(d.texts, s)
		}
		return s
	case n <= uint64(len(wireNames)):
		return wireNames[n-1]
	case n <= uint64(len(wireNames)+len(d.texts)):
		return d.texts[n-1-uint64(len(wireNames))]
	}
	r.fail("text")
	return ""
}

// again is the text of b, without a copy where a record before had it.
func (d *SignalDecoder) again(b []byte) string {
	if s, ok := d.known[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) <= maxKnownLen {
		if d.known == nil || len(d.known) >= maxKnown {
			d.known = map[string]string{}
		}
		d.known[s] = s
	}
	return s
}

// wireReader reads varints and strings; after the first error it returns zeros.
type wireReader struct {
	b   []byte
	err error
}

// count reads a number of items of at least size bytes each, so that a hostile
// count cannot ask for more memory than the record could fill.
func (r *wireReader) count(size int) int {
	n := r.uvarint()
	if n > maxSignalItems || n*uint64(size) > uint64(len(r.b)) {
		r.fail("count")
		return 0
	}
	return int(n)
}

func (r *wireReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("length")
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *wireReader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *wireReader) string() string { return string(r.bytes()) }

// fixed reads eight bytes.
func (r *wireReader) fixed() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// place reads a place among n items.
func (r *wireReader) place(n int) uint32 {
	i := r.uvarint()
	if i >= uint64(n) {
		r.fail("place")
		return 0
	}
	return uint32(i)
}

func (r *wireReader) bytes() []byte {
	n := r.uvarint()
	if n > math.MaxInt32 {
		r.fail("string")
		return nil
	}
	return r.take(int(n))
}

func (r *wireReader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("varint")
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *wireReader) varint() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("varint")
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *wireReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: bad %s", ErrSignal, what)
	}
	r.b = nil
}

func (r *wireReader) done() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("trailing bytes")
	}
	return r.err
}
