package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const docsPage = "../../../docs/configuration.md"

func TestDocsAreCurrent(t *testing.T) {
	var b bytes.Buffer
	if err := printDocs(&b); err != nil {
		t.Fatal(err)
	}
	if !*update {
		if got, err := os.ReadFile(docsPage); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("%s is not what the code says (%v): run 'make docs'", docsPage, err)
		}
		return
	}
	golden(t, docsPage, b.String())
}

func TestPrintedDefaultIsTheDefault(t *testing.T) {
	var b bytes.Buffer
	if err := PrintDefault(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "picket.yaml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, problems := Load(file, variables(nil))
	if len(problems) > 0 {
		t.Fatalf("%v in\n%s", problems, b.String())
	}
	want, _ := Load("", variables(nil))
	got.Path = ""
	for _, c := range []*Config{got, want} { // an empty list and none are the same
		for _, f := range c.fields() {
			if f.value.Kind() == reflect.Slice && f.value.Len() == 0 {
				f.value.SetZero()
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

// The tags are programs that no compiler reads.
func TestTags(t *testing.T) {
	formats := []string{"", "path", "dir", "listen", "address", "url", "topic", "identifier", "required"}
	for _, f := range Default().fields() {
		if doc := f.tag.Get("doc"); doc == "" || !strings.HasSuffix(doc, ".") && !strings.HasSuffix(doc, "#security\") that the bot posts to.") {
			t.Errorf("%s: doc %q is no sentence", f.path, doc)
		}
		format, _, _ := strings.Cut(f.tag.Get("format"), ":")
		if !slices.Contains(formats, format) {
			t.Errorf("%s: unknown format %q", f.path, format)
		}
		if lo, hi := f.tag.Get("min"), f.tag.Get("max"); lo != "" || hi != "" {
			if v := f.value.Int(); v < number(f, lo) || v > number(f, hi) {
				t.Errorf("%s: the default is out of bounds", f.path)
			}
		}
		if f.value.Type() == secretType {
			if sibling := f.parent.Type(); !hasFileTwin(sibling, f.name()) {
				t.Errorf("%s has no *_file twin", f.path)
			}
		}
	}
}

func hasFileTwin(t reflect.Type, secret string) bool {
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Tag.Get("yaml") == secret+"_file" {
			target, ok := t.FieldByName(sf.Tag.Get("secret"))
			return ok && target.Tag.Get("yaml") == secret
		}
	}
	return false
}
