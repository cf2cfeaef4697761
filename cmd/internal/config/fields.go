package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"picket/detect"
	"picket/detect/diag"
)

// field is one option or section of a Config.
type field struct {
	path    string // kafka.tls.ca_file
	depth   int
	value   reflect.Value
	parent  reflect.Value
	tag     reflect.StructTag
	section bool
}

func (f field) name() string { return f.path[strings.LastIndexByte(f.path, '.')+1:] }

// bounds says from where to where the value may go, or "".
func (f field) bounds() string {
	if f.tag.Get("min") == "" {
		return ""
	}
	return "from " + f.tag.Get("min") + " to " + f.tag.Get("max")
}

// units says how a number without its unit may be written, within the bounds of a duration.
func (f field) units(n string) string {
	var fit []string
	for _, unit := range []string{"s", "m", "h", "d", "ms"} {
		d, err := diag.ParseDuration(n + unit)
		if err == nil && len(fit) < 2 && (f.tag.Get("min") == "" || int64(d) >= number(f, f.tag.Get("min")) && int64(d) <= number(f, f.tag.Get("max"))) {
			fit = append(fit, n+unit)
		}
	}
	if fit == nil {
		return f.bounds()
	}
	return "write the unit: " + strings.Join(fit, " or ")
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[Secret]()
	sizeType     = reflect.TypeFor[Size]()
	versionType  = reflect.TypeFor[TLSVersion]()
)

// fields lists every section and option in the order of the structs.
func (c *Config) fields() []field {
	var out []field
	var walk func(v reflect.Value, prefix string, depth int)
	walk = func(v reflect.Value, prefix string, depth int) {
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			name, ok := sf.Tag.Lookup("yaml")
			if !ok {
				continue
			}
			f := field{
				path: prefix + name, depth: depth, value: v.Field(i), parent: v, tag: sf.Tag,
				section: sf.Type.Kind() == reflect.Struct && sf.Type != secretType,
			}
			out = append(out, f)
			if f.section {
				walk(f.value, f.path+".", depth+1)
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "", 0)
	return out
}

// option returns the type of the option called name in the struct t, or nil.
func option(t reflect.Type, name string) reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == name {
			return t.Field(i).Type
		}
	}
	return nil
}

// literal is the value as it is written in YAML.
func (f field) literal() string {
	switch f.value.Type() {
	case durationType:
		return detect.Span(f.value.Interface().(time.Duration))
	case secretType:
		return `""`
	case sizeType:
		return f.value.Interface().(Size).String()
	case versionType:
		return strconv.Quote(f.value.Interface().(TLSVersion).String())
	}
	switch f.value.Kind() {
	case reflect.String:
		return scalar(f.value.String())
	case reflect.Slice:
		items := make([]string, f.value.Len())
		for i := range items {
			items[i] = scalar(f.value.Index(i).String())
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Bool:
		return strconv.FormatBool(f.value.Bool())
	default:
		return strconv.FormatInt(f.value.Int(), 10)
	}
}

// scalar quotes s where plain YAML would read it as something else.
func scalar(s string) string {
	out, err := yaml.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// locate returns the node of the option at path, or nil. An index into a list is a number.
func locate(root *yaml.Node, path string) *yaml.Node {
	n := root
	for _, part := range strings.Split(path, ".") {
		if n = child(n, part); n == nil {
			return nil
		}
	}
	return n
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil {
		return nil
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// prune is a mapping with nothing in it but the keys to keep.
func prune(n *yaml.Node, keep []string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if slices.Contains(keep, n.Content[i].Value) {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}
