package detect

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"picket/detect/diag"
)

var update = flag.Bool("update", false, "write the golden files of broken rules")

// TestBrokenRules holds what an author sees of each kind of mistake to a golden file.
func TestBrokenRules(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d broken rules, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Load(fstest.MapFS{"rule.yaml": {Data: data}})
			var problems diag.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("loaded without a problem: %v", err)
			}
			var b strings.Builder
			problems.Write(&b, false)
			for _, p := range problems {
				if p.Line == 0 || p.Column == 0 || p.Snippet == "" && !strings.Contains(p.Msg, "YAML") {
					t.Errorf("no place: %+v", p)
				}
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", b.String(), want)
			}
		})
	}
}

// TestHistoryRules holds rows of the launch pack that need the past to the message that says so.
func TestHistoryRules(t *testing.T) {
	files, err := filepath.Glob("testdata/history/*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d history rules, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Load(fstest.MapFS{"rule.yaml": {Data: data}})
		var problems diag.Problems
		if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasPrefix(problems[0].Msg, "history rules") || problems[0].Line != 7 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
