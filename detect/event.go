package detect

import "time"

// Event is one decoded security event (picket.event/1). Raw values live in
// unexported fields: code outside this package sets them, and reads back only
// what Redact made public. One goroutine owns an Event; Reset makes it reusable.
type Event struct {
	// Topic coordinates, and the broker's append time: the clock of everything.
	Topic     string
	Partition int32
	Offset    int64
	Append    time.Time

	// Claimed is the time that the producer wrote; Time is the one that counts (see Stamp).
	Claimed, Time time.Time
	Late          bool // Append - Time is above the lateness: not counted by windows' settled side
	TimeFlagged   bool // Claimed was out of bounds, Time is Append

	has    [NumFields]presence
	first  uint64 // bit per text and list field: it has a value
	text   [firstList]string
	num    [NumFields - firstNumber]float64
	lists  [firstNumber - firstList][]string
	labels []label
	finds  []Finding

	arrivedHashed uint64     // bit per text field: the producer sent a pseudonym, not a raw value
	digestOf      [2]string  // what the digests that are due are of: arguments, result
	ownPrefix     bool       // the network was made of the address here
	labelClasses  [16]string // a memory of labelClass, which Reset keeps
	room          *[]byte    // for texts that are derived (join); a copy of the event shares it
	forms         forms      // what Redact makes public
}

// presence says whether a field has a value.
type presence uint8

const (
	absent presence = iota
	there
	due // there is one, made when somebody asks for it (derive.go)
)

type label struct{ key, value string }

// Finding is one thing that a scanner saw in a text.
type Finding struct {
	Cat     string  `json:"cat"`
	Rule    string  `json:"rule"`
	Dir     string  `json:"dir"`
	At      string  `json:"at,omitempty"` // JSON pointer, array indexes only where keys could be personal
	Score   float64 `json:"score"`
	Digest  string  `json:"digest,omitempty"`
	Excerpt string  `json:"excerpt,omitempty"`
}

// Public is the form of a value that may be stored and told.
type Public struct {
	Value string // plain text, reduced form, or the 26 base32 characters of a pseudonym
	Key   string // key id when Value is a pseudonym, empty otherwise
	Hash  string // for reduced values: their pseudonym, for equality
	Up    bool   // the producer hashed it
}

// PublicLabel is a label in its public form.
type PublicLabel struct {
	Key string
	Public
}

// Time bounds of a claim, from design: outside them the append time counts.
const (
	MaxPast   = 7 * 24 * time.Hour
	MaxFuture = 5 * time.Minute
)

// Stamp sets Time from Claimed and Append, and Late by the lateness.
func (e *Event) Stamp(lateness time.Duration) {
	e.Time, e.TimeFlagged = e.Claimed, false
	age, near := since(e.Append, e.Claimed)
	if e.Claimed.IsZero() || !near || age > MaxPast || age < -MaxFuture {
		e.Time, e.TimeFlagged, age = e.Append, true, 0
	}
	cut := time.Duration(e.Time.Nanosecond()) % time.Millisecond // what the store keeps is what windows see
	e.Time = e.Time.Truncate(time.Millisecond)
	e.Late = age+cut > lateness
}

// since is how long after u t is, where they are within a year.
func since(t, u time.Time) (d time.Duration, near bool) {
	const year = 366 * 86400
	s := t.Unix() - u.Unix()
	if s < -year || s > year {
		return 0, false
	}
	return time.Duration(s)*time.Second + time.Duration(t.Nanosecond()-u.Nanosecond()), true
}

// Has reports whether the field has a value. It comes before every look at one: some are
// made when they are first asked for.
func (e *Event) Has(f Field) bool {
	return e.has[f] != absent && (e.has[f] == there || e.derive(f))
}

// Filled has a bit for each text and list field that has a value, or may have one when it is asked for.
func (e *Event) Filled() uint64 { return e.first }

func (e *Event) mark(f Field) { e.put(f, there) }

func (e *Event) put(f Field, p presence) {
	e.has[f] = p
	e.first |= 1 << f
}

// Set gives a text field its raw value.
func (e *Event) Set(f Field, s string) {
	e.text[f] = s
	e.mark(f)
}

// SetHashed gives a text field a pseudonym that the producer made.
func (e *Event) SetHashed(f Field, h string) {
	e.Set(f, h)
	e.arrivedHashed |= 1 << f
}

// SetNum gives a number field its value.
func (e *Event) SetNum(f Field, x float64) {
	e.num[f-firstNumber] = x
	e.mark(f)
}

// SetFlag gives a flag field its value.
func (e *Event) SetFlag(f Field, on bool) {
	x := 0.0
	if on {
		x = 1
	}
	e.num[f-firstNumber] = x
	e.mark(f)
}

// Add appends a value to a list field.
func (e *Event) Add(f Field, s string) {
	e.lists[f-firstList] = append(e.lists[f-firstList], s)
	e.mark(f)
}

// SetLabel sets a label; a later value of the same key replaces an earlier one.
func (e *Event) SetLabel(key, value string) {
	for i := range e.labels {
		if e.labels[i].key == key {
			e.labels[i].value = value
			return
		}
	}
	e.labels = append(e.labels, label{key, value})
}

// NumLabels is how many labels the event has.
func (e *Event) NumLabels() int { return len(e.labels) }

// AddFinding appends a finding.
func (e *Event) AddFinding(f Finding) { e.finds = append(e.finds, f) }

// Findings returns the findings; callers do not keep the slice beyond Reset.
func (e *Event) Findings() []Finding { return e.finds }

// Num returns a number field, and whether it has a value.
func (e *Event) Num(f Field) (float64, bool) { return e.num[f-firstNumber], e.Has(f) }

// Flag returns a flag field; absent is false.
func (e *Event) Flag(f Field) bool { return e.num[f-firstNumber] != 0 }

// Enum returns the raw value of a field with a closed set of values: those cannot be personal.
func (e *Event) Enum(f Field) string {
	if fieldInfo[f].Enum == nil {
		return ""
	}
	return e.text[f]
}

// Reset empties the event and keeps its memory.
func (e *Event) Reset() {
	clear(e.text[:])
	clear(e.num[:])
	for i := range e.lists {
		e.lists[i] = e.lists[i][:0]
	}
	clear(e.has[:])
	e.first = 0
	e.forms.reset()
	e.Topic, e.Partition, e.Offset, e.Append = "", 0, 0, time.Time{}
	e.Claimed, e.Time, e.Late, e.TimeFlagged = time.Time{}, time.Time{}, false, false
	e.labels, e.finds = e.labels[:0], e.finds[:0]
	e.arrivedHashed, e.digestOf, e.ownPrefix = 0, [2]string{}, false
}
