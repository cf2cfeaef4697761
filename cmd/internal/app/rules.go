package app

import (
	"errors"
	"fmt"
	"io/fs"
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
	all := fstest.MapFS{}
	names := map[string]string{} // of a source in all -> as the user knows it
	if c.Rules.Builtin {
		if err := gather(all, names, "builtin", "builtin:", rules.FS()); err != nil {
			return nil, nil, err
		}
	}
	for i, dir := range c.Rules.Dirs {
		if err := gather(all, names, "dir"+strconv.Itoa(i), dir+string(filepath.Separator), os.DirFS(dir)); err != nil {
			return nil, nil, fmt.Errorf("read rules in %s: %w", dir, err)
		}
	}
	if dir := c.Rules.ListsDir; dir != "" {
		if err := gather(all, names, "lists", dir+string(filepath.Separator), os.DirFS(dir)); err != nil {
			return nil, nil, fmt.Errorf("read lists in %s: %w", dir, err)
		}
	}
	opts.Disabled = slices.Concat(opts.Disabled, c.Rules.Disabled)
	rs, warnings, err := detect.LoadWith(all, opts)
	var problems diag.Problems
	if errors.As(err, &problems) {
		err = renamed(problems, names)
	}
	if err == nil {
		for _, r := range rs.Rules() { // nobody else has them yet
			r.File = names[r.File]
		}
	}
	return rs, renamed(warnings, names), err
}

// gather copies the YAML files of fsys below a folder of all. The pack's own lists
// go where lists are looked for.
func gather(all fstest.MapFS, names map[string]string, below, shown string, fsys fs.FS) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		to := path.Join(below, name)
		if strings.HasPrefix(name, "lists/") {
			to = name
		}
		all[to] = &fstest.MapFile{Data: data}
		names[to] = shown + filepath.FromSlash(name)
		return nil
	})
}

func renamed(ps diag.Problems, names map[string]string) diag.Problems {
	out := slices.Clone(ps)
	for i := range out {
		if name, ok := names[out[i].File]; ok {
			out[i].File = name
		}
	}
	return out
}
