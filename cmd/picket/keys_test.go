package main

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/ingest"
)

func TestKeyInForceIsNotDestroyed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	keys := func(args ...string) (int, string) {
		var errs strings.Builder
		code := run(t.Context(), append([]string{"keys"}, args...), strings.NewReader(""), io.Discard, &errs)
		return code, errs.String()
	}
	if code, errs := keys("new", path); code != exitOK {
		t.Fatal(errs)
	}
	if code, errs := keys("rotate", path); code != exitOK {
		t.Fatal(errs)
	}
	k, err := ingest.LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	inForce := k.InForce(time.Now()) // until midnight, when the new one is
	if code, errs := keys("destroy", inForce, path); code != exitFailure || !strings.Contains(errs, "in force") {
		t.Errorf("destroying the key in force: exit %d, %q", code, errs)
	}
	if again, err := ingest.LoadKeyring(path); err != nil || len(again.Keys()) != 2 {
		t.Errorf("the file has changed: %v, %v", again.Keys(), err)
	}
}
