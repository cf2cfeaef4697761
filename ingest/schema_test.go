package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"picket/detect"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("urn:picket:event:1", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:picket:event:1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stricter are the refusals for which a schema has no words. The rest must agree.
var stricter = map[Class]bool{
	ClassTooLarge: true, ClassTooDeep: true, ClassTooManyKeys: true, ClassDuplicateKey: true,
	ClassCaseVariantKey: true, ClassBadUTF8: true, ClassBadEscape: true, ClassBadNumber: true, ClassBOM: true,
	ClassTooManyLabels: true, // labels and unknown fields together
}

// agree returns what is wrong when schema and decoder do not say the same of a native event.
func agree(s *jsonschema.Schema, value []byte) error {
	schemaErr := errors.New("not JSON")
	if inst, err := jsonschema.UnmarshalJSON(bytes.NewReader(value)); err == nil {
		schemaErr = s.Validate(inst)
	}
	err := NewDecoder(Options{}).Decode(&detect.Event{}, record(string(value)))
	var r *Reject
	switch {
	case err == nil && schemaErr == nil:
		return nil
	case err == nil:
		return fmt.Errorf("decoder accepts, schema refuses: %w", schemaErr)
	case schemaErr == nil && errors.As(err, &r) && !stricter[r.Class]:
		return fmt.Errorf("schema accepts, decoder refuses: %w", err)
	}
	return nil
}

func TestSchemaAgreesOnCorpus(t *testing.T) {
	s := compileSchema(t)
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) < 2 {
		t.Fatalf("corpus: %v %v", files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := agree(s, b); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	for _, m := range []string{
		`"a":"b"`, `"seq":1.0`, `"seq":1e3`, `"seq":"1"`, `"env":""`, `"actor":{"token_exp":"2026-11-22 14:30:00"}`,
		`"observed":"2026-11-22T14:30:00"`, `"observed":"2026-11-22T14:30:00+25:00"`, `"io":{"args":[]}`, `"io":{"result":null}`,
		`"x":null`, `"x":{}`, `"net":{"x":null}`, `"labels":{"a":1,"b":true,"c":null}`, `"a.b":1`, `"":1`, `"net":{"":1}`, `"labels":{"":"x"}`,
		`"net":{"ip":{"h":"x","k":"y"}}`, `"net":{"ip":"","port":0}`, `"env":"` + strings.Repeat("é", 128) + `"`, `"env":"` + strings.Repeat("é", 129) + `"`,
	} {
		if err := agree(s, []byte(with(m))); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
}

// TestSchemaNamesEveryField keeps the fields of detect and the schema together.
func TestSchemaNamesEveryField(t *testing.T) {
	type object struct {
		Properties map[string]json.RawMessage
	}
	var root object
	if err := json.Unmarshal(Schema, &root); err != nil {
		t.Fatal(err)
	}
	for f := range detect.NumFields {
		group, key, nested := strings.Cut(f.String(), ".")
		in := root
		if nested {
			in = object{}
			if err := json.Unmarshal(root.Properties[group], &in); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
		} else {
			key = group
		}
		raw, ok := in.Properties[key]
		if !ok {
			t.Errorf("the schema lacks %s", f)
			continue
		}
		var p struct {
			Enum      []string
			MaxLength int
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		if want := f.Info().Enum; want != nil && f != detect.Schema && fmt.Sprint(p.Enum) != fmt.Sprint(want) {
			t.Errorf("%s: schema lists %v, detect %v", f, p.Enum, want)
		}
		if p.MaxLength != 0 && p.MaxLength != f.Info().Limit() {
			t.Errorf("%s: schema has maxLength %d, detect %d", f, p.MaxLength, f.Info().Limit())
		}
	}
}

// genEvent draws an event that is mostly valid, with a few values of any kind in wrong places.
func genEvent(t *rapid.T) map[string]any {
	texts := rapid.OneOf(rapid.StringMatching(`[a-z0-9 _./:@-]{0,12}`), rapid.SampledFrom([]string{"", "x", "203.0.113.9", "é'\"\\\n", strings.Repeat("y", 600)}))
	ev := map[string]any{
		"schema": "picket.event/1", "id": "e-1", "time": "2026-11-22T14:30:00Z", "type": "token", "outcome": "success",
		"server": map[string]any{"name": "s"},
	}
	group := func(name string) map[string]any {
		g, ok := ev[name].(map[string]any)
		if !ok {
			g = map[string]any{}
			ev[name] = g
		}
		return g
	}
	for range rapid.IntRange(0, 12).Draw(t, "fields") {
		f := detect.Field(rapid.IntRange(0, int(detect.NumFields)-1).Draw(t, "field"))
		var v any
		switch {
		case rapid.IntRange(0, 9).Draw(t, "odd") == 0:
			v = rapid.SampledFrom([]any{nil, true, 7, -1, 1.5, 1e18, "text", []any{}, []any{1}, map[string]any{}, map[string]any{"h": "abcdefghijklmnopqrstuvwxyz", "k": "k"}}).Draw(t, "value")
		case f == detect.ActorTokenExp:
			v = rapid.SampledFrom([]string{"2026-11-22T14:30:00Z", "2026-11-22T14:30:00", "2026-11-22", "soon"}).Draw(t, "time")
		case f.Info().Enum != nil:
			v = rapid.SampledFrom(f.Info().Enum).Draw(t, "enum")
		case f.Kind() == detect.Number:
			v = rapid.SampledFrom([]any{0, 1, 443, 70000, 1 << 40}).Draw(t, "number")
		case f.Kind() == detect.Flag:
			v = rapid.Bool().Draw(t, "flag")
		case f.Kind() == detect.List && f != detect.IOArgs && f != detect.IOResult:
			v = rapid.SliceOfN(texts, 0, 3).Draw(t, "list")
		default:
			v = texts.Draw(t, "text")
		}
		if g, key, nested := strings.Cut(f.String(), "."); nested {
			group(g)[key] = v
		} else {
			ev[g] = v
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "unknown") {
		key := rapid.StringMatching(`[a-z.]{0,4}x`).Draw(t, "key")
		v := rapid.SampledFrom([]any{nil, true, 1, "text", []any{}, map[string]any{"a": 1}}).Draw(t, "unknown value")
		where := rapid.SampledFrom([]string{"", "net", "labels", "io"}).Draw(t, "where")
		if where == "" {
			ev[key] = v
		} else {
			group(where)[key] = v
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "drop") == 0 {
		delete(ev, rapid.SampledFrom([]string{"id", "time", "type", "outcome", "server"}).Draw(t, "dropped"))
	}
	return ev
}

func TestSchemaAgreesOnGenerated(t *testing.T) {
	s := compileSchema(t)
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.Marshal(genEvent(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := agree(s, b); err != nil {
			t.Fatalf("%s\n%v", b, err)
		}
		if NewDecoder(Options{}).Decode(&detect.Event{}, record(string(b))) == nil {
			accepted++
		} else {
			refused++
		}
	})
	if !t.Failed() && !testing.Short() && (accepted < 10 || refused < 10) {
		t.Errorf("%d accepted, %d refused: the generator is lopsided", accepted, refused)
	}
}
