package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"picket/detect/diag"
)

const maxSecretFile = 64 << 10

// readSecrets fills each secret from its *_file.
func (l *loader) readSecrets() {
	for _, f := range l.cfg.fields() {
		target := f.tag.Get("secret")
		if target == "" || f.value.String() == "" {
			continue
		}
		secret := f.parent.FieldByName(target).Addr().Interface().(*Secret)
		plain := strings.TrimSuffix(f.name(), "_file")
		if secret.IsSet() {
			l.problem(f.path, "keep "+f.name(), "both %s and %s are set", plain, f.name())
			continue
		}
		*secret = l.readSecret(f.path, f.value.String())
	}
}

func (l *loader) readSecret(path, file string) Secret {
	data, mode, err := readSmall(file)
	if err != nil {
		l.problem(path, "", "read %s: %s", file, reason(err))
		return Secret{}
	}
	l.openToAll(path, file, mode)
	// Editors and echo end a file with a newline that is not part of the secret.
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if value == "" {
		l.problem(path, "", "%s is empty", file)
	}
	return NewSecret(value)
}

// readSmall reads a file or pipe that should hold one secret.
func readSmall(file string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(data) > maxSecretFile {
		err = errors.New("too large for one secret")
	}
	return data, info.Mode(), err
}

var (
	// written is a key and the start of its value on one line.
	written = regexp.MustCompile(`([A-Za-z0-9_-]+)["']?\s*:(?:\s+|$)`)
	// Also a misspelt or badly nested password is a password, so the key's name alone decides.
	telling = regexp.MustCompile(`(?i)pass|pwd|token|secret|webhook|routing|cred|api_?key`)
)

// shapes are secrets that give themselves away wherever they stand.
var shapes = regexp.MustCompile(`(?:xox[a-z]|xapp)-[A-Za-z0-9][^\s"',}]*|hooks\.slack\.com/[a-z]+/[A-Za-z0-9][^\s"',}]*`)

// mask hides secrets in problems, keeping the columns of source lines. What is
// masked goes to the end of the line: where a secret ends depends on YAML that
// may be the very thing that is wrong.
func (l *loader) mask(problems diag.Problems) {
	known, secrets := map[string]bool{}, []string(nil)
	for _, f := range l.cfg.fields() {
		known[f.name()] = true
		if f.value.Type() == secretType {
			secrets = append(secrets, f.name())
		}
	}
	tells := func(key string) bool {
		if strings.HasSuffix(strings.ToLower(key), "_file") {
			return false
		}
		return telling.MatchString(key) || !known[key] && diag.Closest(key, secrets) != ""
	}
	for i := range problems {
		p := &problems[i]
		p.Msg = shapes.ReplaceAllString(p.Msg, redacted)
		p.Hint = shapes.ReplaceAllString(p.Hint, redacted)
		p.Snippet = shapes.ReplaceAllStringFunc(p.Snippet, stars)
		// A text that should have been keys or a list is quoted; other messages hold no text of the file.
		if what, found, ok := strings.Cut(p.Msg, ", found "); ok {
			p.Msg = what + ", found " + cut(found, tells, func(string) string { return redacted })
		}
		p.Snippet = cut(p.Snippet, tells, stars)
		l.maskNodes(p)
	}
}

// cut hides what follows the first telling key; a variable's name is no secret.
func cut(s string, tells func(key string) bool, hide func(string) string) string {
	for _, m := range written.FindAllStringSubmatchIndex(s, -1) {
		value := s[m[1]:]
		if value != "" && tells(s[m[2]:m[3]]) && !strings.HasPrefix(strings.Trim(value, `"' `), "${") {
			return s[:m[1]] + hide(value)
		}
	}
	return s
}

// maskNodes hides secrets that stand apart from their key.
func (l *loader) maskNodes(p *diag.Problem) {
	if l.root == nil {
		return
	}
	for _, f := range l.cfg.fields() {
		if f.value.Type() != secretType {
			continue
		}
		n := locate(l.root, f.path)
		if n == nil || n.Line != p.Line {
			continue
		}
		if line := []rune(p.Snippet); n.Column <= len(line) && !strings.Contains(p.Snippet, "${") {
			p.Snippet = string(line[:n.Column-1]) + stars(string(line[n.Column-1:]))
		}
	}
}

func stars(s string) string { return strings.Repeat("*", utf8.RuneCountInString(s)) }
