package diag

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// NodeDecoder is for a type whose YAML has a shape of its own. DecodeNode
// reports what is wrong through d and may be called once per value.
type NodeDecoder interface {
	DecodeNode(d *Ctx, n *yaml.Node)
}

// Ctx collects the problems of one Decode.
type Ctx struct {
	src   Source
	found Problems
}

const maxProblems = 500

// NewCtx starts a collection for src, for callers that walk nodes themselves.
func NewCtx(src Source) *Ctx { return &Ctx{src: src} }

// Errorf reports a problem at n.
func (d *Ctx) Errorf(n *yaml.Node, format string, args ...any) {
	d.Report(n, fmt.Sprintf(format, args...), "")
}

// Report reports a problem at n with a hint.
func (d *Ctx) Report(n *yaml.Node, msg, hint string) {
	if len(d.found) >= maxProblems {
		return // nobody reads more, and finding the source line of each costs
	}
	d.found = append(d.found, d.src.At(n, msg, hint))
}

// Add reports a problem that has its place already.
func (d *Ctx) Add(p Problem) {
	if p.File == "" {
		p.File = d.src.File
	}
	if p.Snippet == "" && p.Line > 0 {
		p.Snippet = d.src.line(p.Line)
	}
	d.found = append(d.found, p)
}

// Unknown reports that word is none of the known ones and suggests the closest.
func (d *Ctx) Unknown(n *yaml.Node, what, word string, known []string) {
	d.Report(n, fmt.Sprintf("unknown %s %q", what, word), Suggest(word, known))
}

// Suggest is a hint that names the closest known word, or all in their order when they are few.
func Suggest(word string, known []string) string {
	if c := Closest(word, known); c != "" {
		return fmt.Sprintf("did you mean %q?", c)
	}
	if len(known) > 0 && len(known) <= 20 {
		return "known: " + strings.Join(known, ", ")
	}
	return ""
}

// Problems returns what was found so far, sorted.
func (d *Ctx) Problems() Problems {
	d.found.Sort()
	return d.found
}

// Len is how many problems were found so far.
func (d *Ctx) Len() int { return len(d.found) }

// Source is what is being decoded.
func (d *Ctx) Source() Source { return d.src }

// Decode fills into, a pointer, from node. Struct fields are named by the tag
// `yaml:"name"`; options are required (must be there) and inline (its keys are
// the parent's). Fields without a tag are left alone. Types: string, bool,
// numbers, time.Duration, time.Time (RFC 3339 or a date), slices, maps with
// text keys, pointers, structs, *yaml.Node, encoding.TextUnmarshaler,
// NodeDecoder. Keys that are not given leave their fields as they were, so
// defaults go in first.
func Decode(src Source, node *yaml.Node, into any) Problems {
	d := NewCtx(src)
	d.Decode(node, into)
	return d.Problems()
}

// Decode is Decode as part of a larger collection.
func (d *Ctx) Decode(n *yaml.Node, into any) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic("diag: Decode needs a pointer")
	}
	d.value(n, v.Elem())
}

var (
	nodeType     = reflect.TypeFor[yaml.Node]()
	nodePtrType  = reflect.TypeFor[*yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
)

func (d *Ctx) value(n *yaml.Node, v reflect.Value) {
	if v.Type() == nodePtrType {
		v.Set(reflect.ValueOf(Resolve(n)))
		return
	}
	n = Resolve(n)
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(*n))
		return
	}
	if v.CanAddr() {
		if nd, ok := v.Addr().Interface().(NodeDecoder); ok {
			nd.DecodeNode(d, n)
			return
		}
	}
	if v.Kind() == reflect.Pointer {
		if isNull(n) {
			v.SetZero()
			return
		}
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem())
		return
	}
	if done := d.scalar(n, v); done {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Slice:
		d.slice(n, v)
	case reflect.Map:
		d.mapping(n, v)
	default:
		panic("diag: cannot decode into " + v.Type().String())
	}
}

func (d *Ctx) slice(n *yaml.Node, v reflect.Value) {
	if isNull(n) {
		v.SetZero()
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.Report(n, "expected a list, found "+Describe(n), listHint(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, out.Index(i))
	}
	v.Set(out)
}

func listHint(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && len(n.Value) <= 40 && !strings.Contains(n.Value, "\n") {
		return "write [" + n.Value + "]"
	}
	return ""
}

func (d *Ctx) mapping(n *yaml.Node, v reflect.Value) {
	if isNull(n) {
		v.SetZero()
		return
	}
	if n.Kind != yaml.MappingNode {
		d.Errorf(n, "expected keys with values, found %s", Describe(n))
		return
	}
	if v.Type().Key().Kind() != reflect.String {
		panic("diag: map keys must be strings")
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(n.Content[i+1], item)
		out.SetMapIndex(reflect.ValueOf(Resolve(n.Content[i]).Value).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

type structField struct {
	index    []int
	required bool
}

func (d *Ctx) structure(n *yaml.Node, v reflect.Value) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.Errorf(n, "expected keys with values, found %s", Describe(n))
		return
	}
	fields := map[string]structField{}
	collect(v.Type(), nil, fields)
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := Resolve(n.Content[i])
		f, ok := fields[key.Value]
		if !ok {
			left := slices.DeleteFunc(slices.Clone(known), func(k string) bool { return seen[k] || has(n, k) })
			d.Unknown(n.Content[i], "key", key.Value, left)
			continue
		}
		seen[key.Value] = true
		d.value(n.Content[i+1], v.FieldByIndex(f.index))
	}
	for _, name := range known {
		if fields[name].required && !seen[name] {
			d.Report(n, fmt.Sprintf("%q is missing", name), "")
		}
	}
}

func has(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// collect lists the keys of t; inline structs give theirs to it.
func collect(t reflect.Type, at []int, into map[string]structField) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("yaml")
		if !ok || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		index := append(slices.Clone(at), i)
		if strings.Contains(options, "inline") {
			collect(f.Type, index, into)
			continue
		}
		into[name] = structField{index, strings.Contains(options, "required")}
	}
}
