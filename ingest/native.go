package ingest

import (
	"strings"
	"unicode/utf8"

	"picket/detect"
)

// Limits of what the format leaves open.
const (
	maxLabels     = 32
	maxLabelValue = 256
	maxLabelKey   = 100
	maxListItems  = 64
	maxFindings   = 32
)

const schemaPrefix = "picket.event/"

func (d *Decoder) isNative() bool {
	n := d.get("schema")
	return n != nil && n.kind == kindString && strings.HasPrefix(n.val, schemaPrefix)
}

// native reads picket.event/1.
func (d *Decoder) native(ev *detect.Event, _ lineHeader) *Reject {
	if s := d.get("schema"); s.val != "picket.event/1" {
		return invalid(ClassUnknownFormat, int(s.off), "another version of picket.event; this one reads picket.event/1")
	}
	seen := false
	t := &d.tape
	for i := int32(1); i < t.nodes[0].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		x, variant := d.names.find(0, n.key, n.hash)
		var r *Reject
		switch {
		case variant:
			r = invalid(ClassCaseVariantKey, int(n.off), "a key is a field's name in another case")
		case x == nil:
			r = d.unknown(ev, "", n)
		case x.what == asGroup:
			r = d.group(ev, x.opens, i)
		case x.what == asLabels:
			r = d.labels(ev, i)
		case x.what == asTime:
			ev.Claimed, r = timeOf("time", n)
			seen = true
		case x.what == asNothing:
			_, r = timeOf("observed", n)
		default:
			r = d.field(ev, x.field, i)
		}
		if r != nil {
			return r
		}
	}
	for _, f := range [...]detect.Field{detect.ID, detect.Type, detect.Outcome, detect.ServerName} {
		if !ev.Has(f) {
			return invalid(ClassMissingField, 0, f.String()+" is missing or empty")
		}
	}
	if !seen {
		return invalid(ClassMissingField, 0, "time is missing")
	}
	if !ev.Has(detect.SrcFormat) {
		ev.Set(detect.SrcFormat, "native")
	}
	return nil
}

// group reads one of the event's objects.
func (d *Decoder) group(ev *detect.Event, g uint8, at int32) *Reject {
	t := &d.tape
	if t.nodes[at].kind != kindObject {
		return invalid(ClassBadType, int(t.nodes[at].off), d.names.groups[g]+" must be an object")
	}
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		x, variant := d.names.find(g, n.key, n.hash)
		var r *Reject
		switch {
		case variant:
			r = invalid(ClassCaseVariantKey, int(n.off), "a key of "+d.names.groups[g]+" is a field's name in another case")
		case x == nil:
			r = d.unknown(ev, d.names.groups[g]+".", n)
		case x.what == asArgs:
			r = d.free(ev, i, ioArgs)
		case x.what == asResult:
			r = d.free(ev, i, ioResult)
		case x.what == asFindings:
			r = d.findings(ev, i)
		default:
			r = d.field(ev, x.field, i)
		}
		if r != nil {
			return r
		}
	}
	return nil
}

// unknown keeps a scalar that the format does not know as a label. A top-level key with a
// dot is refused: it may be a field written flat, which no rule would see.
func (d *Decoder) unknown(ev *detect.Event, prefix string, n *node) *Reject {
	switch {
	case n.kind == kindObject || n.kind == kindArray:
		return invalid(ClassUnknownField, int(n.off), "an unknown field "+in(prefix)+"holds an object or array; only scalars become labels")
	case prefix == "" && strings.Contains(n.key, "."):
		return invalid(ClassUnknownField, int(n.off), `an unknown field has a dot in its name; fields nest: {"net": {"ip": ...}}`)
	}
	key := n.key
	if prefix != "" && key != "" {
		key = prefix + key
	}
	return d.label(ev, key, n)
}

func in(prefix string) string {
	if prefix == "" {
		return ""
	}
	return "in " + strings.TrimSuffix(prefix, ".") + " "
}

func (d *Decoder) labels(ev *detect.Event, at int32) *Reject {
	t := &d.tape
	if t.nodes[at].kind != kindObject {
		return invalid(ClassBadType, int(t.nodes[at].off), "labels must be an object")
	}
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		if n.kind == kindObject || n.kind == kindArray {
			return invalid(ClassBadType, int(n.off), "a label must be a string, number or boolean")
		}
		if r := d.label(ev, n.key, n); r != nil {
			return r
		}
	}
	return nil
}

func (d *Decoder) label(ev *detect.Event, key string, n *node) *Reject {
	switch {
	case key == "" || longer(key, maxLabelKey):
		return invalid(ClassBadValue, int(n.off), "a label's key must have 1 to 100 characters")
	case longer(n.val, maxLabelValue):
		return invalid(ClassTooLong, int(n.off), "a label's value is longer than 256 characters")
	case ev.NumLabels() >= maxLabels:
		return invalid(ClassTooManyLabels, int(n.off), "more than 32 labels and unknown fields")
	}
	had := ev.NumLabels()
	ev.SetLabel(d.own(key), d.own(n.val))
	if ev.NumLabels() == had {
		return invalid(ClassDuplicateKey, int(n.off), "a label and an unknown field have the same name")
	}
	return nil
}

// longer reports whether s has more than limit characters, counting them only where it must.
func longer(s string, limit int) bool {
	return len(s) > limit && utf8.RuneCountInString(s) > limit
}

// findings reads what a producer's own scanner saw.
func (d *Decoder) findings(ev *detect.Event, at int32) *Reject {
	t := &d.tape
	if t.nodes[at].kind != kindArray {
		return invalid(ClassBadType, int(t.nodes[at].off), "io.findings must be an array")
	}
	count := 0
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		if count++; count > maxFindings {
			return invalid(ClassTooManyValues, int(t.nodes[i].off), "io.findings has more than 32 items")
		}
		f, r := d.finding(i)
		if r != nil {
			return r
		}
		ev.AddFinding(f)
	}
	return nil
}

func (d *Decoder) finding(at int32) (detect.Finding, *Reject) {
	t := &d.tape
	var f detect.Finding
	if t.nodes[at].kind != kindObject {
		return f, invalid(ClassBadType, int(t.nodes[at].off), "io.findings must hold objects")
	}
	rule := false
	for i := at + 1; i < t.nodes[at].next; i = t.nodes[i].next {
		n := &t.nodes[i]
		var r *Reject
		switch n.key {
		case "cat":
			f.Cat, r = enumOf("io.findings.cat", n, findingCats())
		case "dir":
			f.Dir, r = enumOf("io.findings.dir", n, findingDirs())
		case "rule":
			f.Rule, r = textOf("io.findings.rule", n, 128)
			rule = true
		case "at":
			f.At, r = textOf("io.findings.at", n, 512)
		case "digest":
			f.Digest, r = textOf("io.findings.digest", n, 256)
		case "excerpt":
			f.Excerpt, r = textOf("io.findings.excerpt", n, 200)
		case "score":
			f.Score, r = numberOf("io.findings.score", n, numeric{min: 0, max: 1})
		default:
			r = invalid(ClassUnknownField, int(n.off), "io.findings has an unknown key")
		}
		if r != nil {
			return f, r
		}
	}
	if f.Cat == "" || f.Dir == "" || !rule {
		return f, invalid(ClassMissingField, int(t.nodes[at].off), "a finding needs cat, rule and dir")
	}
	f.Rule, f.At, f.Digest, f.Excerpt = d.own(f.Rule), d.own(f.At), d.own(f.Digest), d.own(f.Excerpt)
	return f, nil
}

func findingCats() []string {
	return []string{
		"sqli", "cmdi", "nosqli", "ssti", "path_traversal", "ssrf", "xss", "deserialization",
		"prompt_injection", "hidden_unicode", "secret", "pii", "tool_poisoning", "info_leak", "destructive",
	}
}

func findingDirs() []string { return []string{"input", "output", "definition", "error"} }
