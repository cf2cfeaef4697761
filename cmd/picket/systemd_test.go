package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"picket/ingest"
	"picket/ingest/kafka/kafkatest"
)

const unit = "../../deploy/systemd/picket.service"

// The configuration that the unit's comment shows is one, and names every credential that the unit hands over.
func TestUnitsConfiguration(t *testing.T) {
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	pki, err := kafkatest.NewPKI(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var yaml strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "#   "); ok {
			yaml.WriteString(rest)
		}
	}
	config := filepath.Join(pki.Dir, "picket.yaml") // beside ca.pem
	if err := os.WriteFile(config, []byte(yaml.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", credentials)
	for _, m := range regexp.MustCompile(`(?m)^LoadCredential=([^:]+):`).FindAllStringSubmatch(string(text), -1) {
		file := filepath.Join(credentials, m[1])
		if !strings.Contains(yaml.String(), "/"+m[1]) {
			t.Errorf("the configuration does not name %s", m[1])
		}
		if m[1] == "keys.json" {
			keys, err := ingest.NewKeyring(rand.Reader, time.Now())
			if err == nil {
				err = keys.WriteNew(file)
			}
			if err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(file, []byte("x\n"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if code := run(context.Background(), []string{"check", "config", config}, strings.NewReader(""), &out, &out); code != 0 || strings.Contains(out.String(), "warning") {
		t.Errorf("exit code %d:\n%s", code, out.String())
	}
}
