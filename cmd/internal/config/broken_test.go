package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files and the documentation")

// golden compares got with the file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it):\ngot\n%s\nwant\n%s", file, got, want)
	}
}

// variables is an environment.
func variables(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// Each file holds one kind of mistake, in the places where people make it; the
// golden file is what they are shown.
func TestBroken(t *testing.T) {
	env := variables(map[string]string{
		"NOT_A_NUMBER": "s3cr3t",
		"EMPTY":        "",
		"SLACK_TOKEN":  "xoxb-1-sesame",
	})
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			c, problems := Load(file, env)
			if c != nil || len(problems) == 0 {
				t.Fatal("a broken file was accepted")
			}
			var b strings.Builder
			problems.Write(&b, false)
			for _, secret := range []string{"hunter", "sesame", "too-short"} {
				if strings.Contains(b.String(), secret) {
					t.Errorf("the secret %q is shown", secret)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", b.String())
		})
	}
}
