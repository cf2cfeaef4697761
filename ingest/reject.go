package ingest

import (
	"fmt"
	"strconv"
	"time"
)

// Stage is where a record was refused.
type Stage string

const (
	StageDecode   Stage = "decode"   // it is not JSON as we accept it
	StageValidate Stage = "validate" // it is, but no event
)

// Class is why a record was refused: a closed set, fit for a metric's label.
type Class string

const (
	ClassEmpty          Class = "empty"
	ClassNotJSON        Class = "not_json"
	ClassBOM            Class = "byte_order_mark"
	ClassTooLarge       Class = "too_large"
	ClassTooDeep        Class = "too_deep"
	ClassTooManyKeys    Class = "too_many_keys"
	ClassDuplicateKey   Class = "duplicate_key"
	ClassCaseVariantKey Class = "case_variant_key"
	ClassBadUTF8        Class = "bad_utf8"
	ClassBadEscape      Class = "bad_escape"
	ClassBadNumber      Class = "bad_number"
	ClassTrailingData   Class = "trailing_data"
	ClassUnknownFormat  Class = "unknown_format"
	ClassMissingField   Class = "missing_field"
	ClassBadType        Class = "bad_type"
	ClassBadValue       Class = "bad_value"
	ClassTooLong        Class = "too_long"
	ClassTooManyValues  Class = "too_many_values"
	ClassTooManyLabels  Class = "too_many_labels"
	ClassUnknownField   Class = "unknown_field"
	ClassUnreadable     Class = "unreadable" // never decoded: its batch was corrupt or beyond a limit
)

// Classes are all classes, so that a counter exists from zero for each.
func Classes() []Class {
	return []Class{
		ClassEmpty, ClassNotJSON, ClassBOM, ClassTooLarge, ClassTooDeep, ClassTooManyKeys,
		ClassDuplicateKey, ClassCaseVariantKey, ClassBadUTF8, ClassBadEscape, ClassBadNumber,
		ClassTrailingData, ClassUnknownFormat, ClassMissingField, ClassBadType, ClassBadValue,
		ClassTooLong, ClassTooManyValues, ClassTooManyLabels, ClassUnknownField, ClassUnreadable,
	}
}

// Reject says why a record is a dead letter. Nothing of the record's content is
// in it except names of fields that the format defines, so it may be logged.
type Reject struct {
	Stage  Stage
	Class  Class
	Msg    string // "net.port must be 0 to 65535"
	Offset int    // byte of the value where it was noticed
}

func (r *Reject) Error() string { return fmt.Sprintf("%s: %s: %s", r.Stage, r.Class, r.Reason()) }

// Reason is the message with its place, where that is not the start.
func (r *Reject) Reason() string {
	if r.Offset == 0 {
		return r.Msg
	}
	return fmt.Sprintf("%s (byte %d)", r.Msg, r.Offset)
}

func decodeErr(c Class, off int, msg string) *Reject {
	return &Reject{Stage: StageDecode, Class: c, Msg: msg, Offset: off}
}

func invalid(c Class, off int, msg string) *Reject {
	return &Reject{Stage: StageValidate, Class: c, Msg: msg, Offset: off}
}

// Header is one header of a dead letter.
type Header struct {
	Key   string
	Value []byte
}

// DeadLetter is a record that was refused, and why. Value is the original, untouched, so
// that it can be sent again once its producer or Picket is mended; the topic is as raw as
// the source and has its short retention. The name of a dead letter is its source
// coordinates: writing it twice is harmless.
type DeadLetter struct {
	Record
	Why     *Reject
	Redrive []byte // the record's own HeaderRedrive; nil if it had none
}

// NewDeadLetter makes the dead letter of a record.
func NewDeadLetter(rec Record, why *Reject) DeadLetter { return DeadLetter{Record: rec, Why: why} }

// Key is "topic:partition:offset" of the original.
func (d DeadLetter) Key() []byte {
	return fmt.Appendf(nil, "%s:%d:%d", d.Topic, d.Partition, d.Offset)
}

// HeaderKey is the header with the original's key. A record without a key has no such header.
const HeaderKey = "picket-key"

// HeaderRedrive is on a record that 'picket dead redrive' sent, and on the dead letter that it
// may become again: the name of the dead letter that it was.
const HeaderRedrive = "picket-redrive"

// Headers say why, and where the record came from.
func (d DeadLetter) Headers() []Header {
	h := func(k, v string) Header { return Header{"picket-" + k, []byte(v)} }
	out := []Header{
		h("stage", string(d.Why.Stage)),
		h("class", string(d.Why.Class)),
		h("reason", d.Why.Msg),
		h("byte", strconv.Itoa(d.Why.Offset)),
		h("topic", d.Topic),
		h("partition", strconv.FormatInt(int64(d.Partition), 10)),
		h("offset", strconv.FormatInt(d.Offset, 10)),
		h("append", d.Append.UTC().Format(time.RFC3339Nano)),
	}
	if d.Record.Key != nil {
		out = append(out, Header{HeaderKey, d.Record.Key})
	}
	if d.Redrive != nil {
		out = append(out, Header{HeaderRedrive, d.Redrive})
	}
	return out
}
