package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestNothingPrintsIt(t *testing.T) {
	const s = "hunter2"
	type holder struct {
		Open Value
		shut Value
	}
	h := holder{New(s), New(s)}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", h, &h, h.shut)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "open", h.Open, "all", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "open", h.Open, "all", h)
	for _, encode := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := encode(h)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	if got := out.String(); strings.Contains(got, s) || strings.Contains(got, fmt.Sprintf("%x", s)) {
		t.Errorf("the secret was printed:\n%s", got)
	}
	if h.shut.Reveal() != s {
		t.Error("Reveal does not return the secret")
	}
}

func TestEmptyIsNoSecret(t *testing.T) {
	if v := New(""); v.IsSet() || v.Reveal() != "" || v.String() != "" {
		t.Errorf("New(\"\") = %v, set %t", v, v.IsSet())
	}
}
