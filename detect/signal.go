package detect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
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
	Rules    []RulePoints
	Evidence []SignalEvidence

	Urgent bool // a critical event that fires by itself is in it: not sent, but written first
}

// RulePoints are the points of one rule in a signal, in log order.
type RulePoints struct {
	Rule   [16]byte // Rule.Hash
	Points []Point

	bucket          int64 // of the last event; not sent, as what follows
	matches         int32 // how many events it has points of
	shown, allShown uint8 // how many events have evidence beside them: of this bucket, and all
}

// Point is one matching event as windows see it.
type Point struct {
	Time     int64    // event time, Unix milliseconds
	Identity [16]byte // keyed hash of (server.instance, id): a point enters a window once
	Offset   int64    // in the source partition
	Append   int64    // broker append time, Unix milliseconds
	Step     uint8    // which of the rule's conditions it matches; an event has a point for each
	Value    uint64   // keyed hash of what is told apart or compared, or float64 bits of what it adds
}

// SignalEvidence is the evidence of one point; few points carry one.
type SignalEvidence struct {
	Rule [16]byte
	Evidence
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
	signalVersion = 2
	kindSignal    = 1
	kindProgress  = 2

	maxSignalItems = 1 << 20
)

// ErrSignal is wrapped by every error of DecodeSignal.
var ErrSignal = errors.New("malformed signal record")

// AppendSignal appends the record form of s to dst.
func AppendSignal(dst []byte, s *Signal) []byte {
	dst = append(dst, signalVersion, kindSignal)
	dst = binary.AppendUvarint(dst, uint64(s.Source))
	dst = binary.AppendUvarint(dst, uint64(s.Begin))
	dst = binary.AppendUvarint(dst, uint64(s.End))
	dst = appendString(dst, s.Tenant)
	dst = append(dst, s.Group[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(s.Values)))
	for _, v := range s.Values {
		dst = appendString(appendString(appendString(dst, v.Field), v.Value), v.Key)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Rules)))
	for _, r := range s.Rules {
		dst = append(dst, r.Rule[:]...)
		dst = binary.AppendUvarint(dst, uint64(len(r.Points)))
		var time, off int64
		for _, p := range r.Points {
			dst = binary.AppendVarint(dst, p.Time-time)
			dst = binary.AppendVarint(dst, p.Offset-off)
			dst = binary.AppendVarint(dst, p.Append-p.Time)
			dst = append(append(dst, p.Identity[:]...), p.Step)
			dst = binary.LittleEndian.AppendUint64(dst, p.Value)
			time, off = p.Time, p.Offset
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Evidence)))
	for i := range s.Evidence {
		e := &s.Evidence[i]
		dst = append(dst, e.Rule[:]...)
		dst = appendString(dst, e.EventID)
		dst = binary.AppendVarint(dst, e.Time.UnixMilli())
		dst = binary.AppendUvarint(dst, uint64(e.Offset))
		for _, t := range []string{e.Server, e.Type, e.Outcome, e.Tool, e.Finding} {
			dst = appendString(dst, t)
		}
		dst = binary.AppendUvarint(dst, uint64(len(e.Context)))
		for _, v := range e.Context {
			dst = appendString(appendString(appendString(dst, v.Field), v.Value), v.Key)
		}
	}
	return dst
}

// AppendProgress appends the record form of p to dst.
func AppendProgress(dst []byte, p Progress) []byte {
	dst = append(dst, signalVersion, kindProgress)
	for _, x := range []int64{int64(p.Source), int64(p.Sources), p.Begin, p.End} {
		dst = binary.AppendUvarint(dst, uint64(x))
	}
	return binary.AppendVarint(dst, p.Passed.UnixMilli())
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// DecodeSignal reads one record of picket.signals: a *Signal or a *Progress.
func DecodeSignal(b []byte) (*Signal, *Progress, error) { return new(SignalDecoder).Decode(b) }

// SignalDecoder decodes one record after the other into the same memory. One goroutine owns it.
type SignalDecoder struct {
	signal   Signal
	progress Progress
	points   []Point
	key      string // of the value before: mostly the same
}

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
	s.Source, s.Begin, s.End = int32(r.uvarint()), int64(r.uvarint()), int64(r.uvarint())
	s.Tenant = d.again(s.Tenant, r.bytes())
	copy(s.Group[:], r.take(16))
	s.Values = d.values(s.Values[:0], r)
	s.Rules, s.Evidence, d.points = s.Rules[:0], s.Evidence[:0], d.points[:0]
	for range r.count(17) {
		var rule [16]byte
		copy(rule[:], r.take(16))
		first := len(d.points)
		var time, off int64
		for range r.count(28) {
			var p Point
			time += r.varint()
			off += r.varint()
			p.Time, p.Offset = time, off
			p.Append = time + r.varint()
			copy(p.Identity[:], r.take(16))
			p.Step = r.byte()
			if v := r.take(8); v != nil {
				p.Value = binary.LittleEndian.Uint64(v)
			}
			d.points = append(d.points, p)
		}
		s.Rules = append(s.Rules, RulePoints{Rule: rule, Points: d.points[first:len(d.points):len(d.points)]})
	}
	for range r.count(24) {
		var e SignalEvidence
		copy(e.Rule[:], r.take(16))
		e.EventID = r.string()
		e.Time = time.UnixMilli(r.varint()).UTC()
		e.Partition = s.Source
		e.Offset = int64(r.uvarint())
		for _, t := range []*string{&e.Server, &e.Type, &e.Outcome, &e.Tool, &e.Finding} {
			*t = r.string()
		}
		e.Context = d.values(nil, r)
		s.Evidence = append(s.Evidence, e)
	}
}

func (d *SignalDecoder) values(dst []GroupValue, r *wireReader) []GroupValue {
	for range r.count(3) {
		v := GroupValue{Field: fieldName(r.bytes()), Value: r.string()}
		d.key = d.again(d.key, r.bytes())
		v.Key = d.key
		dst = append(dst, v)
	}
	return dst
}

// again is the text of b, without a copy where it is that of before.
func (d *SignalDecoder) again(before string, b []byte) string {
	if string(b) == before {
		return before
	}
	return string(b)
}

func fieldName(b []byte) string {
	if f, ok := fieldsByName[string(b)]; ok {
		return f.String()
	}
	return string(b)
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
