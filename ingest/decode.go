package ingest

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"picket/detect"
)

// Record is one record of a topic, as it was read. Whoever made it keeps its
// slices, and may use them again: a Decoder copies what it needs, unless it is Kept.
type Record struct {
	Topic      string
	Partition  int32
	Offset     int64
	Append     time.Time // the broker's append time: the clock of everything
	Key, Value []byte
	Kept       bool // nobody writes to Value while the event is in use: its texts are parts of it
}

// Options are a Decoder's settings.
type Options struct {
	Lateness     time.Duration     // above it an event is late; 0 means 15 minutes
	Tenant       string            // of events that name none; empty means "default"
	TopicTenants map[string]string // topic -> tenant: what the topic says outweighs the payload
	KeepLabels   []string          // labels that leave readable, where nothing in them looks personal or secret
}

// DefaultLateness is the lateness of a Decoder that was given none.
const DefaultLateness = 15 * time.Minute

// Decoder turns records into events. One goroutine owns it.
type Decoder struct {
	opt      Options
	keep     map[string]bool
	adapters []adapter
	names    *names
	lane     lane
	tape     tape
	rec      Record
	copyText bool // the record is large: copy what an event keeps of it
}

// adapter reads one format. match looks at the keys of the object at the tape's root.
type adapter struct {
	name   string
	match  func(d *Decoder) bool
	decode func(d *Decoder, ev *detect.Event, h lineHeader) *Reject
}

// NewDecoder makes a Decoder.
func NewDecoder(opt Options) *Decoder {
	if opt.Lateness == 0 {
		opt.Lateness = DefaultLateness
	}
	if opt.Tenant == "" {
		opt.Tenant = "default"
	}
	d := &Decoder{opt: opt, keep: map[string]bool{}, names: newNames()}
	for _, k := range opt.KeepLabels {
		d.keep[k] = true
	}
	d.lane.init(d)
	d.adapters = []adapter{
		{"native", (*Decoder).isNative, (*Decoder).native},
		{"security-logger", (*Decoder).isSecurityLogger, (*Decoder).securityLogger},
	}
	return d
}

// KeepLabel reports whether a label leaves readable; it is what Event.Redact asks.
func (d *Decoder) KeepLabel(key string) bool { return d.keep[key] }

// Decode empties ev and fills it from rec, stamped and with what rules need derived.
// An error is a *Reject, and ev is then of no use. Texts of ev alias only a record that is Kept.
func (d *Decoder) Decode(ev *detect.Event, rec Record) error {
	if r := d.decode(ev, rec); r != nil {
		return r
	}
	return nil
}

func (d *Decoder) decode(ev *detect.Event, rec Record) *Reject {
	d.rec = rec
	d.begin(ev)
	v := rec.Value
	switch {
	case len(v) == 0:
		return decodeErr(ClassEmpty, 0, "the record has no value")
	case len(v) > MaxBytes:
		return decodeErr(ClassTooLarge, MaxBytes, "larger than 256 KiB")
	}
	d.copyText = len(v) > 4096 && !rec.Kept
	text := d.textOf(rec)
	if d.lane.native(ev, text) {
		return d.finish(ev)
	}
	d.begin(ev)
	return d.careful(ev, text)
}

// careful reads a record of any format, or says what is wrong with it.
func (d *Decoder) careful(ev *detect.Event, text string) *Reject {
	v := d.rec.Value
	switch {
	case bytes.HasPrefix(v, []byte("\xef\xbb\xbf")):
		return decodeErr(ClassBOM, 0, "begins with a byte order mark")
	case !utf8.Valid(v):
		return decodeErr(ClassBadUTF8, invalidAt(v), "not valid UTF-8")
	}
	from, h := 0, lineHeader{}
	if c := firstByte(v); c != '{' {
		n, ok := parseLineHeader(text, &h)
		if !ok {
			return d.notAnObject(v, text)
		}
		from = n
	}
	if r := d.tape.scan(v, text, from); r != nil {
		return r
	}
	for i := range d.adapters {
		a := &d.adapters[i]
		if !a.match(d) {
			continue
		}
		if r := a.decode(d, ev, h); r != nil {
			return r
		}
		return d.finish(ev)
	}
	return invalid(ClassUnknownFormat, 0, `no known format: neither "schema": "picket.event/1" nor a SecurityLogger "event_type"`)
}

func (d *Decoder) begin(ev *detect.Event) {
	ev.Reset()
	ev.Topic, ev.Partition, ev.Offset, ev.Append = d.rec.Topic, d.rec.Partition, d.rec.Offset, d.rec.Append
}

// textOf is the text that the texts of the event are parts of.
func (d *Decoder) textOf(rec Record) string {
	if rec.Kept {
		return unsafe.String(unsafe.SliceData(rec.Value), len(rec.Value))
	}
	return string(rec.Value)
}

// notAnObject tells JSON that is not an object from what is no JSON at all.
func (d *Decoder) notAnObject(v []byte, text string) *Reject {
	if r := d.tape.scan(v, text, 0); r != nil {
		if r.Class == ClassTrailingData || r.Class == ClassNotJSON && r.Offset == 0 { // a log line may begin with a number
			return decodeErr(ClassNotJSON, 0, "neither a JSON object nor a log line of the SecurityLogger")
		}
		return r
	}
	return invalid(ClassUnknownFormat, 0, "a JSON value that is not an object")
}

func (d *Decoder) finish(ev *detect.Event) *Reject {
	if t, ok := d.opt.TopicTenants[d.rec.Topic]; ok {
		ev.Set(detect.Tenant, t)
	} else if !ev.Has(detect.Tenant) {
		ev.Set(detect.Tenant, d.opt.Tenant)
	}
	ev.Stamp(d.opt.Lateness)
	ev.Derive()
	return nil
}

func firstByte(v []byte) byte {
	for _, c := range v {
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

func invalidAt(v []byte) int {
	for i := 0; i < len(v); {
		r, n := utf8.DecodeRune(v[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(v)
}

// own gives a text that may outlive the record.
func (d *Decoder) own(s string) string {
	if d.copyText {
		return strings.Clone(s)
	}
	return s
}

// get finds a member of the object at the tape's root.
func (d *Decoder) get(key string) *node {
	t := &d.tape
	if t.nodes[0].kind != kindObject {
		return nil
	}
	for i := int32(1); i < t.nodes[0].next; i = t.nodes[i].next {
		if t.nodes[i].key == key {
			return &t.nodes[i]
		}
	}
	return nil
}
