package config

import (
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
	info, err := os.Stat(file)
	if err != nil {
		l.problem(path, "", "read %s: %s", file, reason(err))
		return Secret{}
	}
	if info.IsDir() || info.Size() > maxSecretFile {
		l.problem(path, "", "%s is not a file that holds one secret", file)
		return Secret{}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		l.problem(path, "", "read %s: %s", file, reason(err))
		return Secret{}
	}
	if info.Mode().Perm()&0o007 != 0 {
		l.warning(path, "chmod o= "+file, "every user of this machine may read %s", file)
	}
	// Editors and echo end a file with a newline that is not part of the secret.
	value := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if value == "" {
		l.problem(path, "", "%s is empty", file)
	}
	return NewSecret(value)
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
	for i := range problems {
		p := &problems[i]
		p.Msg = shapes.ReplaceAllString(p.Msg, redacted)
		p.Hint = shapes.ReplaceAllString(p.Hint, redacted)
		p.Snippet = shapes.ReplaceAllStringFunc(p.Snippet, stars)
		for _, m := range written.FindAllStringSubmatchIndex(p.Snippet, -1) {
			key, value := p.Snippet[m[2]:m[3]], p.Snippet[m[1]:]
			telling := telling.MatchString(key) || !known[key] && diag.Closest(key, secrets) != ""
			if !telling || strings.HasSuffix(strings.ToLower(key), "_file") || strings.HasPrefix(strings.Trim(value, `"' `), "${") {
				continue
			}
			p.Snippet = p.Snippet[:m[1]] + stars(value)
			break
		}
		l.maskNodes(p)
	}
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
