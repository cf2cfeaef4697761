package embedded

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// npmPack lets npm download the package into dir.
func npmPack(ctx context.Context, src source, dir string, progress Progress) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w: install Node.js (it brings npm) and try again, or set %s to a libchdb.so you have", ErrNoNPM, EnvLibrary)
	}
	cmd := exec.CommandContext(ctx, npm, "pack", src.spec(), "--json", "--pack-destination", dir)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	cmd.WaitDelay = 5 * time.Second // a child of npm may hold the pipes open
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run npm: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	// npm writes the file only when it has it all, so there is often nothing to see but time.
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	progress(0, 0, "download")
	for {
		select {
		case err := <-done:
			if err != nil {
				return "", npmError(ctx, err, stderr.String(), src)
			}
			return findTarball(dir, src)
		case <-tick.C:
			progress(folderSize(dir), 0, "download")
		}
	}
}

func npmError(ctx context.Context, err error, stderr string, src source) error {
	if ctx.Err() != nil {
		return fmt.Errorf("download %s: %w", src.spec(), ctx.Err())
	}
	var lines []string
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "npm error") || strings.HasPrefix(line, "npm ERR!") {
			lines = append(lines, line)
		}
		if len(lines) == 4 {
			break
		}
	}
	if len(lines) == 0 {
		lines = append(lines, strings.TrimSpace(stderr[:min(len(stderr), 500)]))
	}
	return fmt.Errorf("download %s: %w: %s\nrun `%s` to see what npm says; once that works, so does this. Or set %s to a libchdb.so you have",
		src.spec(), err, strings.Join(lines, "; "), byHand(src), EnvLibrary)
}

func findTarball(dir string, src source) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("download %s: npm succeeded but left %d packages", src.spec(), len(found))
	}
	return found[0], nil
}

func folderSize(dir string) (n int64) {
	entries, _ := os.ReadDir(dir) // only for show
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n
}

// counted passes bytes on, tells about them, and ends with ctx.
type counted struct {
	ctx         context.Context // of the one call this reader lives in
	r           io.Reader
	done, total int64
	told        int64
	what        string
	progress    Progress
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	first := c.done == 0
	c.done += int64(n)
	if first || c.done-c.told >= 8<<20 || err == io.EOF {
		c.told = c.done
		c.progress(c.done, c.total, c.what)
	}
	return n, err
}

// verify compares the package with the checksum in this source, not with one that the
// registry sends along.
func verify(ctx context.Context, tarball string, src source, progress Progress) error {
	f, err := os.Open(tarball)
	if err != nil {
		return fmt.Errorf("verify %s: %w", src.spec(), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("verify %s: %w", src.spec(), err)
	}
	h := sha512.New()
	if _, err := io.Copy(h, &counted{ctx: ctx, r: f, total: info.Size(), what: "verify", progress: progress}); err != nil {
		return fmt.Errorf("verify %s: %w", src.spec(), err)
	}
	got := "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil))
	if subtle.ConstantTimeCompare([]byte(got), []byte(src.integrity)) != 1 {
		return fmt.Errorf("verify %s: the download does not match the checksum in this release and was deleted\n  want %s\n  got  %s\nrun `npm cache clean --force` and try again; if it persists, the package was changed on its way or in your registry", src.spec(), src.integrity, got)
	}
	return nil
}

// maxLibrary is twice what libchdb is today.
const maxLibrary = 1200 << 20

// unpack takes only the library out of the package, into the new folder out.
func unpack(ctx context.Context, tarball, out string, progress Progress) error {
	f, err := os.Open(tarball)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	z, err := gzip.NewReader(&counted{ctx: ctx, r: f, total: info.Size(), what: "unpack", progress: progress})
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return errors.New("unpack: there is no libchdb in the package")
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if name := path.Base(h.Name); h.Typeflag != tar.TypeReg || name != "libchdb.so" && name != "libchdb.dylib" {
			continue
		}
		if h.Size > maxLibrary {
			return fmt.Errorf("unpack: libchdb of %d bytes is larger than it can be", h.Size)
		}
		return writeLibrary(t, h.Size, out)
	}
}

func writeLibrary(r io.Reader, size int64, out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	lib, err := os.OpenFile(filepath.Join(out, "libchdb.so"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer lib.Close()
	if _, err := io.CopyN(lib, r, size); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	// Synced before the rename makes it the library: a power cut must not leave half of it.
	if err := lib.Sync(); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return lib.Close()
}
