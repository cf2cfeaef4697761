package tlsfile

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongFiles(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files Files
		want  string
	}{
		"no authority":   {Files{CA: "/does/not/exist"}, "read /does/not/exist: no such file or directory"},
		"not PEM":        {Files{CA: text}, "no certificate in PEM form"},
		"half a pair":    {Files{Cert: text}, "give both"},
		"no pair":        {Files{Cert: text, Key: "/does/not/exist"}, "/does/not/exist"},
		"pair not PEM":   {Files{Cert: text, Key: text}, "failed to find any PEM data"},
		"other half too": {Files{Key: text}, "give both"},
	} {
		if _, err := New(c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v does not say %q", name, err, c.want)
		}
	}
	c, err := New(Files{ServerName: "kafka", MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	if conf, err := c.Config(); err != nil || conf.ServerName != "kafka" || conf.MinVersion != tls.VersionTLS13 || conf.RootCAs != nil || conf.InsecureSkipVerify {
		t.Errorf("%+v, %v", conf, err)
	}
}
