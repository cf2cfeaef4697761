package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

const header = `# Picket's configuration. Every option is here with its default: an empty file means the same.
#
# In values ${NAME} and ${NAME:-default} stand for environment variables, and $$ for a dollar sign.
# Relative paths are relative to this file. Durations: 500ms, 10s, 5m, 2h, 7d. Sizes: B, KiB, MiB, GiB.
`

// PrintDefault writes the defaults as YAML, each option with its documentation.
func PrintDefault(w io.Writer) error {
	var b strings.Builder
	b.WriteString(header)
	for _, f := range Default().fields() {
		indent := strings.Repeat("  ", f.depth)
		if f.section {
			fmt.Fprintf(&b, "\n%s# %s\n%s%s:\n", indent, f.tag.Get("doc"), indent, f.name())
			continue
		}
		if f.depth == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s# %s\n", indent, f.tag.Get("doc"))
		if more := f.notes(); more != "" {
			fmt.Fprintf(&b, "%s# %s\n", indent, more)
		}
		fmt.Fprintf(&b, "%s%s: %s\n", indent, f.name(), f.literal())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// notes says what may be written and what empty means.
func (f field) notes() string {
	var out []string
	if enum := f.tag.Get("enum"); enum != "" {
		word := "One of: "
		if f.value.Kind() == reflect.Slice {
			word = "Any of: "
		}
		out = append(out, word+strings.ReplaceAll(enum, ",", ", ")+".")
	}
	if lo := f.tag.Get("min"); lo != "" {
		out = append(out, "From "+lo+" to "+f.tag.Get("max")+".")
	}
	if unset := f.tag.Get("unset"); unset != "" {
		out = append(out, "Empty: "+unset+".")
	}
	return strings.Join(out, " ")
}
