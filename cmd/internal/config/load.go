package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

// Load reads the file at path over the defaults; path "" means the defaults
// alone. env looks variables up, such as os.LookupEnv. With problems there is
// no Config.
func Load(path string, env func(string) (string, bool)) (*Config, diag.Problems) {
	if path == "" {
		c := Default()
		c.complete(env)
		return c, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.Problems{unreadable(path, err)}
	}
	return parse(diag.Source{File: path, Data: data}, env)
}

// parse reads the sections that are named, or all of them.
func parse(src diag.Source, env func(string) (string, bool), sections ...string) (*Config, diag.Problems) {
	c := Default()
	c.Path = src.File
	docs, problems := diag.Parse(src)
	blameVariable(src, problems)
	l := &loader{cfg: c, ctx: diag.NewCtx(src), warn: diag.NewCtx(src), dir: filepath.Dir(src.File), broken: map[place]bool{}}
	// Where the YAML itself is wrong, its values would only give follow-up problems.
	if len(problems) == 0 && len(docs) > 0 {
		l.root = docs[0]
		if len(docs) > 1 {
			l.ctx.Report(docs[1], "a second YAML document in the file", "keep one; remove the line ---")
		}
		if sections != nil {
			l.root = prune(l.root, sections)
		}
		l.expand(l.root, reflect.TypeFor[Config](), env)
		l.decode()
		l.resolvePaths()
		l.readSecrets()
		l.check()
	}
	problems = append(problems, l.ctx.Problems()...)
	problems.Sort()
	l.mask(problems)
	c.Warnings = l.warn.Problems()
	l.mask(c.Warnings)
	if len(problems) > 0 {
		return nil, problems
	}
	c.complete(env)
	return c, nil
}

// KeysFile is where the keys are. Nothing else of the file at path has to be right for it.
func KeysFile(path string, env func(string) (string, bool)) (string, diag.Problems) {
	if path == "" {
		c, _ := Load("", env)
		return c.Privacy.KeysFile, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", diag.Problems{unreadable(path, err)}
	}
	c, problems := parse(diag.Source{File: path, Data: data}, env, "data_dir", "privacy")
	if len(problems) > 0 {
		return "", problems
	}
	return c.Privacy.KeysFile, nil
}

// inFlow is a variable without quotes in {...} or [...].
var inFlow = regexp.MustCompile(`[{\[,]\s*(?:\w+:\s*)?(\$\{[^}]*\}?)`)

// blameVariable explains the one syntax error that variables invite: in {a: ${B}}
// the first } ends the mapping for YAML, which then complains at its start.
func blameVariable(src diag.Source, problems diag.Problems) {
	for i, p := range problems {
		if !strings.Contains(p.Msg, "did not find expected") {
			continue
		}
		for n, line := range strings.Split(string(src.Data), "\n") {
			if m := inFlow.FindStringSubmatchIndex(line); m != nil {
				problems[i] = diag.Problem{
					File: src.File, Line: n + 1, Column: utf8.RuneCountInString(line[:m[2]]) + 1, Len: utf8.RuneCountInString(line[m[2]:m[3]]),
					Msg: p.Msg, Hint: "write \"" + line[m[2]:m[3]] + "\" in quotes: within {...} or [...] YAML reads its braces", Snippet: line,
				}
				break
			}
		}
	}
}

func unreadable(path string, err error) diag.Problem {
	p := diag.Problem{File: path, Msg: "read config: " + reason(err)}
	if errors.Is(err, fs.ErrNotExist) {
		p.Hint = "'picket check config --print-default' prints a file to start from"
	}
	return p
}

// reason is err without the path, which the problem shows already.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// loader is one Load at work.
type loader struct {
	cfg  *Config
	root *yaml.Node
	ctx  *diag.Ctx // problems
	warn *diag.Ctx
	dir  string // that relative paths start from

	broken map[place]bool // has a problem: no need to look for what follows from it
}

type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// commented is a value that YAML takes for a comment, such as a Slack channel.
var commented = regexp.MustCompile(`:\s+(#[^\s#]+)\s*$`)

// decode fills cfg. What an unset variable left empty is reported already.
func (l *loader) decode() {
	for _, p := range diag.Decode(l.ctx.Source(), l.root, l.cfg) {
		at := place{p.Line, p.Column}
		if !l.broken[at] {
			if m := commented.FindStringSubmatch(p.Snippet); m != nil && strings.HasSuffix(p.Msg, "found nothing") {
				p.Hint = fmt.Sprintf("# starts a comment: write %q", m[1])
			}
			if f, n := l.option(at); n != nil {
				switch {
				case f.value.Type() == durationType && n.ShortTag() == "!!int":
					p.Hint = f.units(n.Value)
				case p.Hint == "":
					p.Hint = f.bounds()
				}
			}
			l.ctx.Add(p)
			l.broken[at] = true
		}
	}
}

// option is the option that is written at a place, and its node; nil if none is.
func (l *loader) option(at place) (field, *yaml.Node) {
	for _, f := range l.cfg.fields() {
		if n := locate(l.root, f.path); n != nil && placeOf(n) == at {
			return f, n
		}
	}
	return field{}, nil
}

// at is the node to blame for path: the option, or the nearest section that is written.
func (l *loader) at(path string) *yaml.Node {
	for p := path; ; {
		if n := locate(l.root, p); n != nil {
			return n
		}
		i := strings.LastIndexByte(p, '.')
		if i < 0 {
			return l.root
		}
		p = p[:i]
	}
}

// given reports whether the file sets path.
func (l *loader) given(path string) bool { return locate(l.root, path) != nil }

func (l *loader) problem(path, hint, format string, args ...any) {
	n := l.at(path)
	l.ctx.Report(n, fmt.Sprintf(format, args...), hint)
	l.broken[placeOf(n)] = true
}

// wrong reports whether the value at path has a problem already.
func (l *loader) wrong(path string) bool {
	n := locate(l.root, path)
	return n != nil && l.broken[placeOf(n)]
}

func (l *loader) warning(path, hint, format string, args ...any) {
	l.warn.Report(l.at(path), fmt.Sprintf(format, args...), hint)
}

// resolvePaths makes paths of the file absolute or relative to the working directory.
func (l *loader) resolvePaths() {
	for _, f := range l.cfg.fields() {
		switch f.tag.Get("format") {
		case "path", "dir":
		default:
			continue
		}
		if f.value.Kind() == reflect.String {
			f.value.SetString(l.abs(f.value.String()))
			continue
		}
		for i := range f.value.Len() {
			f.value.Index(i).SetString(l.abs(f.value.Index(i).String()))
		}
	}
}

func (l *loader) abs(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.dir, p)
}

// complete fills in what depends on the machine.
func (c *Config) complete(env func(string) (string, bool)) {
	if c.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		c.Instance = host + ":" + strconv.Itoa(os.Getpid())
	}
	if c.DataDir == "" {
		c.DataDir = "picket-data"
		if home, ok := env("HOME"); ok && filepath.IsAbs(home) {
			c.DataDir = filepath.Join(home, ".local", "share", "picket")
		}
		// The standard says to ignore a relative XDG path.
		if data, ok := env("XDG_DATA_HOME"); ok && filepath.IsAbs(data) {
			c.DataDir = filepath.Join(data, "picket")
		}
	}
	if c.Privacy.KeysFile == "" {
		c.Privacy.KeysFile = filepath.Join(c.DataDir, "keys.json")
	}
}
