package config

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

const docsHeader = `# Configuration

<!-- Made by 'make docs' from cmd/internal/config/config.go: change it there. -->

Picket runs without a configuration: it then starts a broker and a ClickHouse engine in its own process, on loopback.
What is to be different goes into one YAML file, named by ` + "`--config`" + ` or ` + "`$PICKET_CONFIG`" + `; without either,
` + "`picket.yaml`" + ` in the working directory is read if it is there.

- ` + "`picket check config`" + ` shows everything wrong with the file, with line and column, and what to write instead. ` + "`picket run`" + `
  makes the same checks and refuses a file with any problem (exit code 78).
- ` + "`picket check config --print-default`" + ` prints a file with every option, its default and its documentation.
- ` + "`${NAME}`" + ` and ` + "`${NAME:-default}`" + ` in a value stand for an environment variable; ` + "`$$`" + ` is a dollar sign. They are replaced
  after the YAML is read, so a variable fills one value and cannot add others. A variable that is not set and has no default is an error.
- Every secret has a twin ending in ` + "`_file`" + ` that names a file holding it; one newline at its end is dropped. Setting both is an error.
  Secrets are shown nowhere: logs, error messages and dumps print ` + "`<redacted>`" + `.
- Relative paths are relative to the configuration file.
- Durations have units: ` + "`500ms`, `10s`, `5m`, `2h`, `7d`" + `. Sizes too: ` + "`B`, `KiB`, `MiB`, `GiB`" + `.
- Unknown and repeated keys are errors.
`

// printDocs writes the reference page in Markdown.
func printDocs(w io.Writer) error {
	var b strings.Builder
	b.WriteString(docsHeader)
	table := false
	for i, f := range Default().fields() {
		switch {
		case f.section:
			fmt.Fprintf(&b, "\n## `%s`\n\n%s\n", f.path, f.tag.Get("doc"))
			table = false
			continue
		case i == 0:
			b.WriteString("\n## Top level\n")
		}
		if !table {
			b.WriteString("\n| Option | Type | Default | |\n| --- | --- | --- | --- |\n")
			table = true
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name(), f.kind(), f.shown(), strings.TrimSpace(f.tag.Get("doc")+" "+f.limits()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// shown is the default in the table: what empty means, where the default is empty.
func (f field) shown() string {
	if f.empty() {
		if unset := f.tag.Get("unset"); unset != "" {
			return unset
		}
		return "none"
	}
	return "`" + f.literal() + "`"
}

func (f field) empty() bool {
	return f.value.Kind() != reflect.Bool && (f.value.IsZero() || f.value.Kind() == reflect.Slice && f.value.Len() == 0)
}

func (f field) limits() string {
	notes := f.notes()
	if i := strings.Index(notes, "Empty: "); i >= 0 && f.empty() {
		notes = strings.TrimSpace(notes[:i])
	}
	return notes
}

// kind is the type's name in the documentation.
func (f field) kind() string {
	switch f.value.Type() {
	case durationType:
		return "duration"
	case secretType:
		return "secret"
	case sizeType:
		return "size"
	case versionType:
		return "text"
	}
	switch f.value.Kind() {
	case reflect.Slice:
		return "list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "number"
	default:
		return "text"
	}
}
