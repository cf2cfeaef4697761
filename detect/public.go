package detect

import (
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Pseudonymizer hashes a value under the key that is in force at a time. It is called
// from one goroutine.
type Pseudonymizer interface {
	Pseudonym(tenant, class, value string, at time.Time) (hash, keyID string)
}

// forms are the public forms of an event. Public, PublicList, PublicLabels and KeyID alone look
// into them, and make what is not there yet; before Redact there is none.
type forms struct {
	keys   Pseudonymizer // nil before Redact
	keep   func(key string) bool
	made   uint64 // bit per field: its form is there
	asIs   uint64 // bit per text field that has one: it is the raw value, and text has nothing
	labels bool   // their forms are there
	whole  bool   // all of them are there

	text   [firstList]Public
	lists  [firstNumber - firstList][]Public
	ofKeys []PublicLabel
	keyID  string // of the pseudonyms
}

const _ = uint(64 - firstNumber) // a bit for each

// Redact gives every value a public form by its field's privacy. It comes after Stamp,
// Derive and every finding; the second call in an event's life does nothing.
// keepLabel names labels that may stay readable; nil keeps none.
//
// A value that arrived hashed is hashed again under our key: hashes of producers are
// often short and without a key, which anybody can reverse. Its Up is true, and it is
// looked up by the producer's hash.
func (e *Event) Redact(p Pseudonymizer, keepLabel func(key string) bool) {
	e.RedactLater(p, keepLabel)
	e.redactAll()
}

// RedactLater is Redact for who asks for few forms: each is made when it is first asked
// for, findings at once. The event's values must not change any more.
func (e *Event) RedactLater(p Pseudonymizer, keepLabel func(key string) bool) {
	if e.forms.keys != nil {
		return
	}
	e.forms.keys, e.forms.keep = p, keepLabel
	for i := range e.finds {
		e.publicFinding(&e.finds[i])
	}
}

func (e *Event) redactAll() {
	if e.forms.whole || e.forms.keys == nil {
		return
	}
	for left := e.first &^ e.forms.made; left != 0; left &= left - 1 {
		switch f := Field(bits.TrailingZeros64(left)); {
		case f < firstList:
			e.form(f)
		case f < firstNumber:
			e.PublicList(f)
		}
	}
	e.PublicLabels()
	e.forms.whole = true
}

// Public returns the public form of a text field; before Redact there is none.
func (e *Event) Public(f Field) Public {
	if e.forms.made>>f&1 == 0 {
		e.form(f)
	}
	if e.forms.asIs>>f&1 != 0 {
		return Public{Value: e.text[f]}
	}
	return e.forms.text[f]
}

// form makes the public form of a text field that has none yet.
func (e *Event) form(f Field) {
	if e.forms.keys != nil && e.Has(f) {
		e.forms.made |= 1 << f
		if e.readable(f, e.text[f]) {
			e.forms.asIs |= 1 << f
		} else {
			e.hiddenForm(&e.forms.text[f], f, e.text[f])
		}
	}
}

// PublicList returns the public form of a list field; before Redact there is none.
func (e *Event) PublicList(f Field) []Public {
	l := &e.forms.lists[f-firstList]
	if e.forms.made>>f&1 == 0 && e.forms.keys != nil && fieldInfo[f].Privacy != Dropped {
		e.forms.made |= 1 << f
		for _, s := range e.lists[f-firstList] {
			if e.readable(f, s) {
				*l = append(*l, Public{Value: s})
				continue
			}
			*l = append(*l, Public{})
			e.hiddenForm(&(*l)[len(*l)-1], f, s)
		}
	}
	return *l
}

// PublicLabels returns the labels in public form; before Redact there is none.
func (e *Event) PublicLabels() []PublicLabel {
	if !e.forms.labels && e.forms.keys != nil {
		e.forms.labels = true
		for _, l := range e.labels {
			e.forms.ofKeys = append(e.forms.ofKeys, e.publicLabel(l))
		}
	}
	return e.forms.ofKeys
}

// KeyID is the id of the key that hashed the event's values; empty when none was.
func (e *Event) KeyID() string {
	e.redactAll()
	return e.forms.keyID
}

// reset forgets the forms and keeps their memory.
func (p *forms) reset() {
	for word := p.made &^ p.asIs & (1<<firstList - 1); word != 0; word &= word - 1 {
		p.text[bits.TrailingZeros64(word)] = Public{}
	}
	for word := p.made >> firstList; word != 0; word &= word - 1 {
		i := bits.TrailingZeros64(word)
		p.lists[i] = p.lists[i][:0]
	}
	p.keys, p.keep, p.made, p.asIs, p.labels, p.whole = nil, nil, 0, 0, false, false
	p.ofKeys, p.keyID = p.ofKeys[:0], ""
}

// DropRaw forgets every raw value except those from closed sets. Has still tells what
// there was.
func (e *Event) DropRaw() {
	e.redactAll()
	for word := e.forms.asIs; word != 0; word &= word - 1 {
		f := bits.TrailingZeros64(word)
		e.forms.text[f].Value = e.text[f]
	}
	e.forms.asIs = 0
	for f := range firstList {
		if e.has[f] == due {
			e.has[f] = there
		}
		if fieldInfo[f].Enum == nil {
			e.text[f] = ""
		}
	}
	for i := range e.lists {
		clear(e.lists[i])
		e.lists[i] = e.lists[i][:0]
	}
	clear(e.labels)
	e.labels = e.labels[:0]
	e.digestOf, e.labelClasses, e.room = [2]string{}, [16]string{}, nil
}

// readable reports whether a value may leave as it is.
func (e *Event) readable(f Field, s string) bool {
	switch info := &fieldInfo[f]; info.Privacy {
	case Plain:
		if info.Enum != nil {
			return slices.Contains(info.Enum, s)
		}
		return f == NetIPPrefix && e.ownPrefix || plainText(f, s)
	case Free:
		return freeText(s)
	}
	return false
}

// hiddenForm fills the form of a value that may not, which is empty.
func (e *Event) hiddenForm(p *Public, f Field, s string) {
	switch fieldInfo[f].Privacy {
	case Path:
		p.Value, p.Hash = reducePath(s), e.pseudonym("path", s)
		return
	case Dropped:
		return
	}
	p.Value = e.pseudonym(f.Class(), s)
	p.Key, p.Up = e.forms.keyID, f < firstList && e.isHashed(f)
}

func (e *Event) pseudonym(class, s string) string {
	h, k := e.forms.keys.Pseudonym(e.text[Tenant], class, s, e.Time)
	e.forms.keyID = k
	return h
}

func (e *Event) publicLabel(l label) PublicLabel {
	out := PublicLabel{Key: l.key}
	if !plainText(NumFields, l.key) {
		out.Key = "h:" + e.pseudonym("label", l.key)
	}
	if keep := e.forms.keep; keep != nil && keep(l.key) && freeText(l.value) {
		out.Public = Public{Value: l.value}
		return out
	}
	h := e.pseudonym(e.labelClass(l.key), l.value)
	out.Public = Public{Value: h, Key: e.forms.keyID}
	return out
}

// labelClass is the class of a label's values; producers send the same labels again and again.
func (e *Event) labelClass(key string) string {
	const prefix = "label:"
	if key == "" {
		return prefix
	}
	c := &e.labelClasses[(len(key)+int(key[len(key)-1]))%len(e.labelClasses)]
	if !strings.HasPrefix(*c, prefix) || (*c)[len(prefix):] != key {
		*c = prefix + key
	}
	return *c
}

func (e *Event) publicFinding(f *Finding) {
	f.Excerpt = ""
	if !lowerWord(f.Cat) {
		f.Cat = "other"
	}
	if !lowerWord(f.Dir) {
		f.Dir = "other"
	}
	if f.Rule != "" && !plainText(NumFields, f.Rule) {
		f.Rule = e.pseudonym("text", f.Rule)
	}
	if f.Digest != "" {
		f.Digest = e.pseudonym("digest", f.Digest)
	}
	if f.At == "" {
		return
	}
	segs := strings.Split(f.At, "/")
	whole := personal(f.At, false) // a path that somebody pointed with
	for i, s := range segs {
		if s != "" && (whole && !arrayIndex(s) || len(s) > 64 || strings.ContainsAny(s, ":@+") || !plainText(NumFields, s)) {
			segs[i] = "*"
		}
	}
	f.At = strings.Join(segs, "/")
}

func arrayIndex(s string) bool { return len(s) <= 5 && strings.Trim(s, "0123456789") == "" }

func lowerWord(s string) bool {
	for i := range len(s) {
		if (s[i] < 'a' || s[i] > 'z') && s[i] != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
