package app

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"

	"picket/cmd/internal/config"
	"picket/detect"
	"picket/detect/diag"
	"picket/rules"
)

// LoadRules reads the configured rules: the built-in pack, the configured
// folders, and named lists, as one set. Its error is diag.Problems when a rule is wrong.
func LoadRules(c *config.Config, opts detect.LoadOptions) (*detect.RuleSet, diag.Problems, error) {
	src, err := readRules(c)
	if err != nil {
		return nil, nil, err
	}
	return src.compile(c, opts)
}

// ruleFiles are all rules and lists, as they were when they were read.
type ruleFiles struct {
	all   fstest.MapFS
	names map[string]string // of a file in all -> as the user knows it
}

func readRules(c *config.Config) (*ruleFiles, error) {
	f := &ruleFiles{all: fstest.MapFS{}, names: map[string]string{}}
	if c.Rules.Builtin {
		if err := f.gather("builtin", "builtin:", rules.FS()); err != nil {
			return nil, err
		}
	}
	for i, dir := range c.Rules.Dirs {
		if err := f.folder("dir"+strconv.Itoa(i), dir); err != nil {
			return nil, fmt.Errorf("read rules in %s: %w", dir, err)
		}
	}
	if dir := c.Rules.ListsDir; dir != "" {
		if err := f.folder("lists", dir); err != nil {
			return nil, fmt.Errorf("read lists in %s: %w", dir, err)
		}
	}
	return f, nil
}

// folder reads the files of a folder, or one file. A folder without any is a mistake: its rules
// would be missed by nobody.
func (f *ruleFiles) folder(below, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return errors.Unwrap(err) // the caller names the folder
	}
	if !info.IsDir() {
		data, err := os.ReadFile(dir)
		to := path.Join(below, filepath.Base(dir))
		f.all[to], f.names[to] = &fstest.MapFile{Data: data}, dir
		return err
	}
	before := len(f.all)
	if err := f.gather(below, dir+string(filepath.Separator), os.DirFS(dir)); err != nil {
		return err
	}
	if len(f.all) == before {
		return errors.New("there are no *.yaml files")
	}
	return nil
}

func (f *ruleFiles) compile(c *config.Config, opts detect.LoadOptions) (*detect.RuleSet, diag.Problems, error) {
	opts.Disabled, opts.Names = slices.Concat(opts.Disabled, c.Rules.Disabled), f.names
	return detect.LoadWith(f.all, opts)
}

// sum tells readings apart by their bytes.
func (f *ruleFiles) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f.all)) {
		fmt.Fprintf(h, "%q %q\n", name, f.all[name].Data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// walkRules calls fn for each YAML file. Names that begin with a dot are left out: editors
// keep locks and copies there, and Kubernetes the versions of a ConfigMap that its plain
// names lead to.
func walkRules(fsys fs.FS, fn func(name string) error) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch ext := path.Ext(name); {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || ext != ".yaml" && ext != ".yml":
			return nil
		}
		return fn(name)
	})
}

// gather reads the files of fsys into a folder of all. The pack's own lists go where
// lists are looked for.
func (f *ruleFiles) gather(below, shown string, fsys fs.FS) error {
	return walkRules(fsys, func(name string) error {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		to := path.Join(below, name)
		if strings.HasPrefix(name, "lists/") {
			to = path.Join("lists", below, name)
		}
		f.all[to] = &fstest.MapFile{Data: data}
		f.names[to] = shown + filepath.FromSlash(name)
		return nil
	})
}
