//go:build unix

package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhoNeedsTheGroupOfAKeyFile(t *testing.T) {
	for _, c := range []struct {
		name           string
		uid, gid, user int
		groups         []int
		want           bool
	}{
		{"own file", 65532, 2000, 65532, []int{65532, 2000}, true},
		{"secret of Kubernetes, by fsGroup", 0, 2000, 65532, []int{65532, 2000}, false},
		{"credential of systemd, by an ACL", 0, 0, 65532, []int{65532}, false},
		{"file of another, by its group", 1000, 2000, 65532, []int{65532, 2000}, false},
		{"root's own", 0, 2000, 0, []int{0, 2000}, true},
		{"root, and a file between others", 1000, 2000, 0, []int{0}, true},
		{"root, put into the group of another", 1000, 2000, 0, []int{0, 2000}, false},
	} {
		if got := needsNoGroup(c.uid, c.gid, c.user, c.groups); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Root can read everything: it does not need a group that it is not in, whose other members could read along.
func TestRootAndKeyFilesOfOtherGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files of others")
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := testKeys(t, 1).WriteNew(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	for gid, want := range map[int]string{54321: "(mode 0640, user 12345, group 54321); run: chmod 600 " + path, os.Getegid(): ""} {
		if err := os.Chown(path, 12345, gid); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKeyring(path)
		if (want == "") != (err == nil) || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("group %d: %v, want %q", gid, err, want)
		}
	}
}
