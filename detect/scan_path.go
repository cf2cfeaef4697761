package detect

import (
	"regexp"
	"strings"
)

var (
	dotdot      = regexp.MustCompile(`(?:^|[/=:"'\s(;])\.\.(?:/|;/|$|["'\s])`)
	dotdotDeep  = regexp.MustCompile(`(?:\.\./+){3,}|(?:\.\./+){2,}[\w.]`)
	dotdotUp    = regexp.MustCompile(`[\w.-]/+\.\./`)
	pathTargets = regexp.MustCompile(`(?i)\.\./[^\s"']*(?:etc/|passwd|shadow|\.ssh|\.env\b|\.aws|proc/self|win\.ini|boot\.ini|windows/|id_rsa|authorized_keys)`)
)

// unusual forms of dot and slash that some decoder on the way makes plain
var pathForms = strings.NewReplacer(
	"\xc0\xae", ".", "\xe0\x80\xae", ".", "\xc0\xaf", "/", "\xe0\x80\xaf", "/", "\uff0e", ".", "\u2024", ".", "\uff0f", "/", "\u2215", "/", "\u2044", "/",
	"%u002e", ".", "%u002f", "/", "%uff0e", ".", "%u2215", "/", "\\", "/",
)

// findTraversal looks for .. in a value as written and as decoded up to twice.
func findTraversal(f finder, v string) {
	plain := strings.ReplaceAll(v, "\\", "/")
	if score := traversal(plain, f.whole); score > 0 {
		f.add(catPath, "dotdot", score)
	}
	if f.seen&(seenEncodedDots|seenBeyondASCII) == 0 && strings.IndexByte(v, '%') < 0 {
		return // nothing to decode
	}
	encoded := v
	for range 3 {
		encoded = pathForms.Replace(unescape(encoded))
	}
	if encoded != plain && dotdot.MatchString(encoded) && (!dotdot.MatchString(plain) || strings.Count(encoded, "..") > strings.Count(plain, "..")) {
		f.add(catPath, "encoded", 0.95)
	}
}

func traversal(v string, whole bool) float64 {
	if !dotdot.MatchString(v) {
		return 0
	}
	// A path alone is what a file tool gets; among other words it may be an import or prose.
	alone := whole && len(v) < 1024 && !strings.ContainsAny(v, " \t\n(){}<>")
	switch {
	case pathTargets.MatchString(v):
		return 0.95
	case alone && dotdotDeep.MatchString(v):
		return 0.9
	case alone && (dotdotUp.MatchString(v) || strings.Contains(v, "..;")):
		return 0.8
	case alone:
		return 0.7
	case dotdotDeep.MatchString(v):
		return 0.5
	}
	return 0.3
}

// unescape decodes %xx once and leaves what is malformed.
func unescape(s string) string {
	i := strings.IndexByte(s, '%')
	if i < 0 {
		return s
	}
	b := []byte(s[:i])
	for ; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if ok1 && ok2 {
				b = append(b, hi<<4|lo)
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
