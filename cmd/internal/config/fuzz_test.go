package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picket/detect/diag"
)

// Whatever is around it, a password that is written as one is not shown, and
// every problem has a place that exists.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "")
		f.Add("roles: [store", string(data))
	}
	const canary = "canary-7f3a91"
	f.Fuzz(func(t *testing.T, before, after string) {
		text := before + "\nclickhouse:\n  password: " + canary + "\n" + after
		c, problems := parse(diag.Source{File: "picket.yaml", Data: []byte(text)}, variables(map[string]string{"A": "x: [$"}))
		if (c == nil) != (len(problems) > 0) {
			t.Fatalf("%v and %d problems", c, len(problems))
		}
		lines := 1 // as YAML counts them
		for _, r := range text {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) {
				lines++
			}
		}
		for _, p := range problems {
			if p.Msg == "" || p.Line > lines || p.Line > 0 && p.Column < 1 {
				t.Errorf("%+v in %d lines", p, lines)
			}
			if strings.Contains(p.Msg+p.Hint+p.Snippet, canary) {
				t.Errorf("the password is shown: %+v", p)
			}
		}
		problems.Write(io.Discard, true)
	})
}
