package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Version is the libchdb this package is written for and tested with.
const Version = "26.7.3-stable.1"

// EnvLibrary names a libchdb to use instead of fetching one.
const EnvLibrary = "PICKET_LIBCHDB"

// EnvCache moves the folder where fetched libraries are kept.
const EnvCache = "PICKET_CACHE_DIR"

// source is the npm package of one platform.
type source struct {
	pkg       string
	integrity string // npm's dist.integrity of Version; "" where this release has not been checked
}

func (s source) spec() string { return s.pkg + "@" + Version }

var sources = map[string]source{
	"linux/amd64":  {"@chdb/lib-linux-x64-gnu", "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="},
	"linux/arm64":  {"@chdb/lib-linux-arm64-gnu", ""},
	"darwin/amd64": {"@chdb/lib-darwin-x64", ""},
	"darwin/arm64": {"@chdb/lib-darwin-arm64", ""},
}

// ErrNoNPM means that there is no npm to fetch the library with.
var ErrNoNPM = errors.New("npm is not installed")

// Progress is told what is going on. total is 0 where it is not known.
type Progress func(done, total int64, what string)

// Fetch returns the path of libchdb, fetching it on first use with the user's own npm,
// so that npm's registry, proxy and token settings hold. cacheDir may be "": then it is
// $PICKET_CACHE_DIR or the user's cache folder. $PICKET_LIBCHDB skips everything.
func Fetch(ctx context.Context, cacheDir string, progress func(done, total int64, what string)) (libPath string, err error) {
	if progress == nil {
		progress = func(int64, int64, string) {}
	}
	if lib := os.Getenv(EnvLibrary); lib != "" {
		if _, err := os.Stat(lib); err != nil {
			return "", fmt.Errorf("use %s: %w", EnvLibrary, err)
		}
		return lib, nil
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	src, ok := sources[platform]
	if !ok {
		return "", fmt.Errorf("fetch the ClickHouse engine: there is no libchdb for %s; run Picket against a ClickHouse server", platform)
	}
	if cacheDir, err = resolveCache(cacheDir); err != nil {
		return "", err
	}
	return fetch(ctx, src, cacheDir, progress)
}

func resolveCache(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv(EnvCache)
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a cache folder (set %s): %w", EnvCache, err)
		}
		dir = filepath.Join(user, "picket")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find a cache folder (set %s): %w", EnvCache, err)
	}
	return dir, nil
}

func fetch(ctx context.Context, src source, cacheDir string, progress Progress) (string, error) {
	root := filepath.Join(cacheDir, "chdb")
	dir := filepath.Join(root, Version+"-"+runtime.GOOS+"-"+runtime.GOARCH)
	lib := filepath.Join(dir, "libchdb.so") // also on macOS
	// The folder appears by rename when its file is whole: what is there is good.
	if _, err := os.Stat(lib); err == nil {
		return lib, nil
	}
	if src.integrity == "" {
		return "", fmt.Errorf("fetch the ClickHouse engine: no checksum of %s is known to this release, so it is not fetched; "+
			"get it yourself with `%s`, unpack it and set %s to its libchdb.so", src.spec(), byHand(src), EnvLibrary)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	lock, err := waitLock(ctx, root, func(err error) { progress(0, 0, "wait: "+err.Error()) })
	if err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	defer lock.unlock()
	if _, err := os.Stat(lib); err == nil {
		return lib, nil // somebody else fetched it while we waited
	}
	if err := removeLeftovers(root); err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	tmp, err := os.MkdirTemp(root, tmpPrefix)
	if err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	defer os.RemoveAll(tmp)
	tarball, err := npmPack(ctx, src, tmp, progress)
	if err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	if err := verify(ctx, tarball, src, progress); err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	out := filepath.Join(tmp, "out")
	if err := unpack(ctx, tarball, out, progress); err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil { // without its file it is nobody's
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	if err := os.Rename(out, dir); err != nil {
		return "", fmt.Errorf("fetch the ClickHouse engine: %w", err)
	}
	return lib, nil
}

const tmpPrefix = "fetch-"

// removeLeftovers clears what killed processes left. The lock is held, so nobody works there.
func removeLeftovers(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func byHand(src source) string { return "npm pack " + src.spec() }
