package alerting

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean makes text that came over the wire safe to show anywhere: valid UTF-8,
// one line, nothing invisible, no control or bidirectional characters, at most
// two combining marks in a row, URLs and addresses defanged. What it takes out
// it replaces by U+FFFD, so that the reader sees that something was there.
func Clean(s string) string {
	s = head(s, 4<<10)
	return defang(strings.Join(strings.Fields(visible(s, false)), " "))
}

// cleanLines is Clean for text of several lines; indentation stays.
func cleanLines(s string) string {
	lines := strings.Split(visible(head(s, 8<<10), true), "\n")
	for i, l := range lines {
		lines[i] = defang(strings.TrimRight(l, " "))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// head bounds the work: nothing longer is shown anyway.
func head(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

const hidden = unicode.ReplacementChar

func visible(s string, lines bool) string {
	var b strings.Builder
	marks := 0
	put := func(r rune) {
		// A run of hidden characters is one mark: they must not make a text long.
		if r == hidden && strings.HasSuffix(b.String(), string(hidden)) {
			return
		}
		b.WriteRune(r)
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		if unicode.Is(unicode.M, r) {
			if marks++; marks <= 2 && !unicode.Is(unicode.Variation_Selector, r) && b.Len() > 0 {
				b.WriteRune(r)
			}
			continue
		}
		marks = 0
		switch {
		case r == '\n' && lines:
			b.WriteByte('\n')
		case r == '\t', r == '\n', r == '\r', unicode.Is(unicode.Z, r):
			b.WriteByte(' ')
		case !unicode.IsPrint(r), blank(r):
			put(hidden)
		default:
			put(r)
		}
	}
	return b.String()
}

// blank is true for letters and symbols that print nothing.
func blank(r rune) bool {
	switch r {
	case 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, 0x2800:
		return true
	}
	return false
}

var (
	// Whatever stands before the colon: text can be glued together so that a scheme begins mid-word.
	authority = regexp.MustCompile(`:([/\\]{2,}[^\s/\\?#:]*)`)
	webScheme = regexp.MustCompile(`(?i)http(s?)(?::|\[:\])`)
	// Schemes without slashes that a client may make clickable or run.
	bareScheme = regexp.MustCompile(`(?i)\b(javascript|vbscript|data|mailto|tel|sms|slack|blob):`)
	address    = regexp.MustCompile(`([^\s@<>]{1,64})@([^\s@<>]*\.[^\s@<>]+)`)
	// Clients make links of host names without a scheme when the ending is a common one.
	bareHost = regexp.MustCompile(`(?i)\b((?:[\pL\pN_-]+\.)+)(com|net|org|io|dev|app|co|ru|cn|info|biz|xyz|me|ai|ly|gg|to|top|site|` +
		`online|link|click|cloud|sh|zip|mov|eu|de|uk|fr|nl|ch|us|in|br|jp|su|tk|pw|cc|tv|page|web|live|shop|store|tech|space|example|test)\b`)
	wwwHost = regexp.MustCompile(`(?i)\bwww\.([\pL\pN_-])`)
	mention = regexp.MustCompile(`(?i)@(here|channel|everyone|group)\b`)
)

// defang writes hxxp for http and [.] for the dots of hosts, the way analysts
// exchange such things: readable, not clickable.
func defang(s string) string {
	if !strings.ContainsAny(s, ":.@") {
		return s
	}
	s = authority.ReplaceAllStringFunc(s, func(u string) string { return "[:]" + dots(u[1:]) })
	s = webScheme.ReplaceAllString(s, "hxxp$1[:]")
	s = bareScheme.ReplaceAllString(s, "$1[:]")
	s = address.ReplaceAllStringFunc(s, func(a string) string {
		at := strings.LastIndexByte(a, '@')
		return a[:at] + "[@]" + dots(a[at+1:])
	})
	s = wwwHost.ReplaceAllString(s, "www[.]$1")
	s = bareHost.ReplaceAllStringFunc(s, dots)
	return mention.ReplaceAllString(s, "[@]$1")
}

func dots(host string) string {
	return strings.ReplaceAll(strings.ReplaceAll(host, "[.]", "."), ".", "[.]")
}

// width is the length that Slack and PagerDuty count, at its worst: UTF-16 units.
func width(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// clip shortens s to at most limit units, with an ellipsis where it cut.
func clip(s string, limit int) string {
	if len(s) <= limit || width(s) <= limit {
		return s
	}
	n, end := 0, 0
	for i, r := range s {
		w := 1
		if r > 0xFFFF {
			w = 2
		}
		if n+w > limit-1 {
			break
		}
		n += w
		end = i + utf8.RuneLen(r)
	}
	return strings.TrimRight(s[:end], " ") + "…"
}

// brief is Clean and clip, and does not look at what will be cut.
func brief(s string, limit int) string { return clip(Clean(head(s, 4*limit+64)), limit) }
