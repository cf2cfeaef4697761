package demo

import (
	"os"
	"path/filepath"
	"testing"
)

// TestScratch sweeps what a killed demo left, and nothing else.
func TestScratch(t *testing.T) {
	parent := t.TempDir()
	make := func(name string, locked bool) string {
		t.Helper()
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if locked {
			if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	there := func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	}
	running, stop, err := scratch(parent)
	if err != nil {
		t.Fatal(err)
	}
	killed, foreign, other := make("picket-demo-1", true), make("picket-demo-2", false), make("somebody-1", true)
	outside := filepath.Join(t.TempDir(), "mine")
	if err := os.MkdirAll(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(parent, "picket-demo-3")); err != nil {
		t.Fatal(err)
	}

	second, stopSecond, err := scratch(parent)
	if err != nil || second == running || !there(second) {
		t.Fatal(second, err)
	}
	if there(killed) {
		t.Error("what a killed demo left is still there")
	}
	for _, dir := range []string{running, foreign, other, outside} {
		if !there(dir) {
			t.Errorf("%s is gone", dir)
		}
	}
	stop()
	stopSecond()
	if there(running) || there(second) {
		t.Error("a demo that ended left its folder")
	}
}
