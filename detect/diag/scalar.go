package diag

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Describe says in a few words what a node is, for "expected X, found Y".
func Describe(n *yaml.Node) string {
	n = Resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			return "an empty list"
		}
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return clip(n.Value)
	}
	return strconv.Quote(clip(n.Value))
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:37]) + "..."
	}
	return s
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// ParseDuration is time.ParseDuration that also knows days: 7d, 1d12h.
func ParseDuration(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("invalid duration %q", s)
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 {
		return 0, fmt.Errorf("invalid duration %q", s)
	}
	return d + more, nil
}

// scalar decodes the types that one plain value fills, and reports whether v is of one.
func (d *Ctx) scalar(n *yaml.Node, v reflect.Value) bool {
	switch v.Type() {
	case durationType:
		d.duration(n, v)
		return true
	case timeType:
		d.time(n, v)
		return true
	}
	if v.CanAddr() {
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if !d.plain(n, "a value") {
				return true
			}
			if err := u.UnmarshalText([]byte(n.Value)); err != nil {
				d.Errorf(n, "%v", err)
			}
			return true
		}
	}
	switch v.Kind() {
	case reflect.String:
		if d.plain(n, "text") && d.text(n) {
			v.SetString(n.Value)
		}
	case reflect.Bool:
		var b bool
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" && n.Decode(&b) == nil {
			v.SetBool(b)
		} else {
			d.Errorf(n, "expected true or false, found %s", Describe(n))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var x int64
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&x) != nil {
			d.Errorf(n, "expected a whole number, found %s", Describe(n))
		} else if v.OverflowInt(x) {
			d.Errorf(n, "%s is out of range", n.Value)
		} else {
			v.SetInt(x)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var x uint64
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || n.Decode(&x) != nil {
			d.Errorf(n, "expected a whole number from 0, found %s", Describe(n))
		} else if v.OverflowUint(x) {
			d.Errorf(n, "%s is out of range", n.Value)
		} else {
			v.SetUint(x)
		}
	case reflect.Float32, reflect.Float64:
		if x, ok := Float(n); ok {
			v.SetFloat(x)
		} else {
			d.Errorf(n, "expected a number, found %s", Describe(n))
		}
	case reflect.Interface:
		var x any
		if err := n.Decode(&x); err != nil {
			d.Errorf(n, "%v", err)
		} else if x != nil {
			v.Set(reflect.ValueOf(x))
		}
	default:
		return false
	}
	return true
}

// Float returns the finite number that n holds.
func Float(n *yaml.Node) (float64, bool) {
	n = Resolve(n)
	if n.Kind != yaml.ScalarNode {
		return 0, false
	}
	if t := n.ShortTag(); t != "!!int" && t != "!!float" {
		return 0, false
	}
	var x float64
	if n.Decode(&x) != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, false
	}
	return x, true
}

func (d *Ctx) plain(n *yaml.Node, what string) bool {
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		return true
	}
	d.Errorf(n, "expected %s, found %s", what, Describe(n))
	return false
}

// text refuses what YAML reads as something else than text: a version 1.10 would lose its zero elsewhere.
func (d *Ctx) text(n *yaml.Node) bool {
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return true
	}
	hint := ""
	if len(n.Value) <= 40 {
		hint = fmt.Sprintf("write it in quotes: %q", n.Value)
	}
	d.Report(n, "expected text, found "+Describe(n), hint)
	return false
}

func (d *Ctx) duration(n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!str" || n.Value == "0") {
		if x, err := ParseDuration(n.Value); err == nil && x >= 0 {
			v.SetInt(int64(x))
			return
		}
	}
	hint := ""
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		hint = fmt.Sprintf("write the unit: %ss or %sm", n.Value, n.Value)
	}
	found := Describe(n)
	if n.Kind == yaml.ScalarNode && !isNull(n) {
		found = clip(n.Value)
	}
	d.Report(n, "expected a duration such as 5m, found "+found, hint)
}

func (d *Ctx) time(n *yaml.Node, v reflect.Value) {
	if n.Kind == yaml.ScalarNode {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, n.Value); err == nil {
				v.Set(reflect.ValueOf(t))
				return
			}
		}
	}
	d.Errorf(n, "expected a date such as 2027-01-31, found %s", Describe(n))
}
