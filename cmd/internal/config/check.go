package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"picket/detect/diag"
)

// check looks at each option by its tags, then at options together.
func (l *loader) check() {
	for _, f := range l.cfg.fields() {
		if f.section || !l.given(f.path) || l.wrong(f.path) {
			continue // a default is right
		}
		l.bounds(f)
		switch f.value.Kind() {
		case reflect.String:
			l.text(f, f.path, f.value.String())
		case reflect.Slice:
			seen := map[string]bool{}
			for i := range f.value.Len() {
				s, path := f.value.Index(i).String(), f.path+"."+strconv.Itoa(i)
				if l.wrong(path) {
					continue
				}
				if seen[s] {
					l.problem(path, "", "%q is in the list twice", s)
				}
				seen[s] = true
				if s == "" {
					l.problem(path, "", "an empty value in the list")
					continue
				}
				l.text(f, path, s)
			}
		}
	}
	l.checkRoles()
	l.checkKafka()
	l.checkClickHouse()
	l.checkAlerting()
	l.checkWebhook()
}

// bounds checks min and max.
func (l *loader) bounds(f field) {
	lo, hi := f.tag.Get("min"), f.tag.Get("max")
	if lo == "" {
		return
	}
	if v := f.value.Int(); v < number(f, lo) || v > number(f, hi) {
		l.problem(f.path, f.bounds(), "%s is out of range", f.literal())
	}
}

// number reads a bound, which is written as the option is.
func number(f field, s string) int64 {
	switch f.value.Type() {
	case durationType:
		d, err := diag.ParseDuration(s)
		if err != nil {
			panic(err)
		}
		return int64(d)
	case sizeType:
		var size Size
		if err := size.UnmarshalText([]byte(s)); err != nil {
			panic(err)
		}
		return int64(size)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

var (
	topicName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
)

// text checks one text by the tags enum and format.
func (l *loader) text(f field, path, s string) {
	if enum := f.tag.Get("enum"); enum != "" {
		if known := strings.Split(enum, ","); !slices.Contains(known, s) {
			name := f.name()
			if f.value.Kind() == reflect.Slice {
				name = strings.TrimSuffix(name, "s")
			}
			l.problem(path, diag.Suggest(s, known), "unknown %s %q", name, s)
		}
		return
	}
	format, arg, _ := strings.Cut(f.tag.Get("format"), ":")
	if s == "" && format != "required" && format != "topic" && format != "identifier" {
		return
	}
	switch format {
	case "required":
		if strings.TrimSpace(s) == "" {
			l.problem(path, "", "%s must not be empty", f.name())
		}
	case "listen", "address":
		if msg, hint := badAddress(s, format == "address"); msg != "" {
			l.problem(path, hint, "%s", msg)
		}
	case "url":
		l.url(path, s, strings.Split(arg, ","))
	case "topic":
		if !topicName.MatchString(s) || s == "." || s == ".." {
			l.problem(path, "letters, digits, dot, _ and -, at most 249", "%q cannot be the name of a topic", s)
		}
	case "identifier":
		if !identifier.MatchString(s) {
			l.problem(path, "letters, digits and _, not starting with a digit", "%q cannot be the name of a database", s)
		}
	case "dir":
		if info, err := os.Stat(s); err != nil {
			l.problem(path, "", "read %s: %s", s, reason(err))
		} else if !info.IsDir() {
			l.problem(path, "name the folder that holds the files", "%s is not a folder", s)
		}
	}
}

// badAddress says what is wrong with host:port, or "". A listener may leave the
// host out and let the system pick the port; one that is dialled may not.
func badAddress(s string, dialled bool) (msg, hint string) {
	example := "write host:port, such as 127.0.0.1:9750"
	if dialled {
		example = "write host:port, such as kafka-1:9092"
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return fmt.Sprintf("%q is a URL, not an address", s), fmt.Sprintf("write %q", strings.TrimRight(rest, "/"))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Sprintf("%q is not an address", s), example
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || dialled && n == 0 {
		return fmt.Sprintf("%q is not a port", port), "a number from 1 to 65535"
	}
	if dialled && host == "" {
		return fmt.Sprintf("%q has no host", s), example
	}
	return "", ""
}

func (l *loader) url(path, s string, schemes []string) {
	u, err := url.Parse(s)
	switch {
	case !strings.Contains(s, "://") && strings.Contains(s, "@"):
		l.secretURL(path)
	case !strings.Contains(s, "://"):
		l.problem(path, "write "+withScheme(s, schemes), "%q lacks its scheme", s)
	case err != nil || u.Host == "":
		l.problem(path, "such as "+schemes[0]+"://host:port", "%q is not a URL", hideUser(s))
	case !slices.Contains(schemes, u.Scheme):
		l.problem(path, diag.Suggest(u.Scheme, schemes), "unknown scheme %q", u.Scheme)
	case u.User != nil:
		// It would be shown wherever the URL is.
		l.secretURL(path)
	}
}

// withScheme is an address as a URL, by what its port is used for.
func withScheme(s string, schemes []string) string {
	_, port, _ := net.SplitHostPort(s)
	native := slices.Contains(schemes, "clickhouse")
	switch {
	case native && port == "9000":
		return "clickhouse://" + s
	case native && port == "9440":
		return "clickhouse://" + s + "?secure=true"
	case !native, port == "8443", port == "443":
		return "https://" + s
	}
	if port == "" {
		s += ":8123"
	}
	return fmt.Sprintf("http://%s (the HTTP port, 8123 by default; https:// for 8443, clickhouse:// for the native ports 9000 and 9440)", s)
}

func hideUser(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return redacted + s[i:]
	}
	return s
}

// secretURL reports a URL that holds a password, without its source line.
func (l *loader) secretURL(path string) {
	p := l.ctx.Source().At(l.at(path), "a user name or password in the URL", "set user and password_file instead")
	line, from := []rune(p.Snippet), p.Column-1
	if before, _, ok := strings.Cut(p.Snippet, "://"); ok {
		from = utf8.RuneCountInString(before) + 3
	}
	p.Snippet = string(line[:from]) + stars(string(line[from:]))
	l.ctx.Add(p)
}

// expired says when the last of the certificates in PEM form expires, if that is past.
func expired(notAfter, now time.Time) string {
	if now.After(notAfter) {
		return notAfter.UTC().Format(time.DateOnly)
	}
	return ""
}
