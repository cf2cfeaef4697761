package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// pack builds a package like npm's, with its integrity.
func pack(t *testing.T, files map[string]string) ([]byte, string) {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: "package/" + name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	z.Close()
	return buf.Bytes(), integrity(buf.Bytes())
}

func integrity(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// fakeNPM puts a script named npm first on PATH. It sees the real arguments.
func fakeNPM(t *testing.T, tarball []byte, script string) (calls string) {
	t.Helper()
	bin := t.TempDir()
	calls = filepath.Join(bin, "calls")
	if err := os.WriteFile(filepath.Join(bin, "tarball"), tarball, 0o600); err != nil {
		t.Fatal(err)
	}
	full := "#!/bin/sh\necho \"$@\" >> " + calls + "\nTARBALL=" + filepath.Join(bin, "tarball") + "\nDEST=$5\n" + script
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte(full), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	return calls
}

const copyTarball = `cp "$TARBALL" "$DEST/lib.tgz"`

// left are the files in the cache, without locks.
func left(t *testing.T, cache string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(cache, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFetch(t *testing.T) {
	tarball, sum := pack(t, map[string]string{"libchdb.so": "the library", "package.json": "{}", "chdb_node.node": "no use"})
	calls := fakeNPM(t, tarball, copyTarball)
	cache := t.TempDir()
	var phases []string
	tell := func(done, total int64, what string) {
		if len(phases) == 0 || phases[len(phases)-1] != what {
			phases = append(phases, what)
		}
	}
	lib, err := fetch(t.Context(), source{"@x/lib", sum}, cache, tell)
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(cache, "chdb", Version+"-"+runtime.GOOS+"-"+runtime.GOARCH, "libchdb.so")
	if b, err := os.ReadFile(lib); lib != want || string(b) != "the library" || err != nil {
		t.Errorf("got %s with %q, %v; want %s", lib, b, err, want)
	}
	if files := left(t, cache); len(files) != 1 {
		t.Errorf("the cache holds more than the library: %v", files)
	}
	if got := strings.Join(phases, " "); got != "download verify unpack" {
		t.Errorf("told %q", got)
	}
	args, _ := os.ReadFile(calls)
	if got := string(args); !strings.HasPrefix(got, "pack @x/lib@"+Version+" --json --pack-destination "+cache) {
		t.Errorf("npm was called with %q", got)
	}
	// The second time nothing is called, not even when npm is gone.
	t.Setenv("PATH", t.TempDir())
	if again, err := fetch(t.Context(), source{"@x/lib", sum}, cache, tell); again != lib || err != nil {
		t.Errorf("with a warm cache: %s, %v", again, err)
	}
}

func TestFetchTwiceAtOnceDownloadsOnce(t *testing.T) {
	tarball, sum := pack(t, map[string]string{"libchdb.dylib": "the library"})
	calls := fakeNPM(t, tarball, copyTarball)
	cache := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := fetch(t.Context(), source{"@x/lib", sum}, cache, func(int64, int64, string) {}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b, _ := os.ReadFile(calls); strings.Count(string(b), "\n") != 1 {
		t.Errorf("npm ran more than once:\n%s", b)
	}
}

func TestFetchFailures(t *testing.T) {
	good, sum := pack(t, map[string]string{"libchdb.so": strings.Repeat("the library", 1000)})
	empty, emptySum := pack(t, map[string]string{"readme": "nothing here"})
	cut := good[:len(good)/2]
	for _, c := range []struct {
		name, script string
		tarball      []byte
		integrity    string
		want         []string
	}{
		{
			"npm fails", `echo "npm warn noise" >&2; echo "npm error code ENOTFOUND" >&2; echo "npm error network request failed" >&2; exit 1`, good, sum,
			[]string{"ENOTFOUND", "network request failed", "npm pack @x/lib@" + Version, EnvLibrary},
		},
		{"npm fails without a word", "exit 7", good, sum, []string{"exit status 7", "npm pack @x/lib@"}},
		{"npm writes nothing", "exit 0", good, sum, []string{"left 0 packages"}},
		{"changed package", copyTarball, append(bytes.Clone(good), 0), sum, []string{"does not match the checksum", "deleted", "want " + sum}},
		{"cut package", copyTarball, cut, sum, []string{"does not match the checksum"}},
		{"cut package with a matching checksum", copyTarball, cut, integrity(cut), []string{"unpack: unexpected EOF"}},
		{"no library inside", copyTarball, empty, emptySum, []string{"there is no libchdb in the package"}},
		{"no archive", copyTarball, []byte("<html>"), integrity([]byte("<html>")), []string{"unpack: "}},
		{"platform without checksum", copyTarball, good, "", []string{"no checksum", "npm pack @x/lib@", EnvLibrary}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeNPM(t, c.tarball, c.script)
			cache := t.TempDir()
			lib, err := fetch(t.Context(), source{"@x/lib", c.integrity}, cache, func(int64, int64, string) {})
			if err == nil {
				t.Fatalf("got %s", lib)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "noise") {
				t.Errorf("the error repeats npm's warnings: %v", err)
			}
			if files := left(t, cache); len(files) != 0 {
				t.Errorf("kept %v", files)
			}
		})
	}
}

func TestFetchWithoutNPM(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := fetch(t.Context(), source{"@x/lib", "sha512-x"}, t.TempDir(), func(int64, int64, string) {})
	if !errors.Is(err, ErrNoNPM) || !strings.Contains(err.Error(), "install Node.js") || !strings.Contains(err.Error(), EnvLibrary) {
		t.Errorf("got %v", err)
	}
}

func TestFetchCancelled(t *testing.T) {
	good, sum := pack(t, map[string]string{"libchdb.so": "x"})
	fakeNPM(t, good, "exec sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	cache := t.TempDir()
	_, err := fetch(ctx, source{"@x/lib", sum}, cache, func(_, _ int64, what string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if files := left(t, cache); len(files) != 0 {
		t.Errorf("kept %v", files)
	}
}

// A process killed while it unpacked leaves half a library; the next one must not use it.
func TestFetchAfterInterruption(t *testing.T) {
	tarball, sum := pack(t, map[string]string{"libchdb.so": "the library"})
	fakeNPM(t, tarball, copyTarball)
	cache := t.TempDir()
	half := filepath.Join(cache, "chdb", tmpPrefix+"123", "out")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "libchdb.so"), []byte("the li"), 0o755); err != nil {
		t.Fatal(err)
	}
	lib, err := fetch(t.Context(), source{"@x/lib", sum}, cache, func(int64, int64, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(lib); string(b) != "the library" {
		t.Errorf("got %q", b)
	}
	if files := left(t, cache); len(files) != 1 {
		t.Errorf("leftovers were kept: %v", files)
	}
}

func TestFetchUsesGivenLibrary(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	lib := filepath.Join(t.TempDir(), "libchdb.so")
	t.Setenv(EnvLibrary, lib)
	if _, err := Fetch(t.Context(), "", nil); err == nil || !strings.Contains(err.Error(), EnvLibrary) {
		t.Errorf("a library that is not there: %v", err)
	}
	if err := os.WriteFile(lib, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Fetch(t.Context(), "", nil); got != lib || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestCacheFolder(t *testing.T) {
	t.Setenv(EnvCache, "/somewhere")
	if got, err := resolveCache(""); got != "/somewhere" || err != nil {
		t.Errorf("from the environment: %s, %v", got, err)
	}
	if got, err := resolveCache("/given"); got != "/given" || err != nil {
		t.Errorf("given: %s, %v", got, err)
	}
	t.Setenv(EnvCache, "")
	t.Setenv("XDG_CACHE_HOME", "/xdg")
	if got, err := resolveCache(""); runtime.GOOS == "linux" && got != "/xdg/picket" || err != nil {
		t.Errorf("default: %s, %v", got, err)
	}
}
