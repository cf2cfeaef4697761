package ingest

import (
	"fmt"
	"strconv"
	"time"
)

// Stage is where a record was refused.
type Stage string

const (
	StageDecode   Stage = "decode"
	StageValidate Stage = "validate"
	StageRedact   Stage = "redact"
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
)

// Classes are all classes, so that a counter exists from zero for each.
func Classes() []Class {
	return []Class{
		ClassEmpty, ClassNotJSON, ClassBOM, ClassTooLarge, ClassTooDeep, ClassTooManyKeys,
		ClassDuplicateKey, ClassCaseVariantKey, ClassBadUTF8, ClassBadEscape, ClassBadNumber,
		ClassTrailingData, ClassUnknownFormat, ClassMissingField, ClassBadType, ClassBadValue,
		ClassTooLong, ClassTooManyValues, ClassTooManyLabels, ClassUnknownField,
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

func (r *Reject) Error() string {
	return fmt.Sprintf("%s: %s: %s (byte %d)", r.Stage, r.Class, r.Msg, r.Offset)
}

func decodeErr(c Class, off int, msg string) *Reject {
	return &Reject{Stage: StageDecode, Class: c, Msg: msg, Offset: off}
}

func invalid(c Class, off int, msg string) *Reject {
	return &Reject{Stage: StageValidate, Class: c, Msg: msg, Offset: off}
}

// Header is one header of a dead letter.
type Header struct{ Key, Value string }

// DeadLetter is a record for the topic of dead letters. Value is the original, untouched, so
// that it can be sent again once its producer or Picket is mended; the topic is as raw as
// the source and has its short retention. The name of a dead letter is its source
// coordinates: writing it twice is harmless.
type DeadLetter struct {
	Key     []byte // "topic:partition:offset"
	Value   []byte // the bytes of the original
	Headers []Header
}

// DeadRecord makes the dead letter of a record that was refused.
func DeadRecord(rec Record, why *Reject) DeadLetter {
	at := strconv.FormatInt(int64(rec.Partition), 10) + ":" + strconv.FormatInt(rec.Offset, 10)
	return DeadLetter{
		Key:   []byte(rec.Topic + ":" + at),
		Value: rec.Value,
		Headers: []Header{
			{"picket-stage", string(why.Stage)},
			{"picket-class", string(why.Class)},
			{"picket-reason", why.Msg},
			{"picket-byte", strconv.Itoa(why.Offset)},
			{"picket-topic", rec.Topic},
			{"picket-partition", strconv.FormatInt(int64(rec.Partition), 10)},
			{"picket-offset", strconv.FormatInt(rec.Offset, 10)},
			{"picket-append", rec.Append.UTC().Format(time.RFC3339Nano)},
		},
	}
}
