package detect

import (
	"net/netip"
	"strings"
)

// plainText reports whether a value of a Plain field may leave as it is: it is an
// identifier, and not one of a person, an address or a secret.
func plainText(f Field, s string) bool {
	limit, spaces, random := 128, false, false
	if f < NumFields {
		limit = fieldInfo[f].Limit()
	}
	switch f {
	case NetIPPrefix:
		p, err := netip.ParsePrefix(s)
		return err == nil && p == p.Masked() && p.Addr().Zone() == "" &&
			(p.Addr().Is4() && p.Bits() <= 24 || p.Addr().Is6() && p.Bits() <= 48)
	case ServerName, PermPolicy, LimitName: // operators name these
		spaces = true
	case ID, ServerInstance, ServerVersion, MCPDefinitionHash, TraceID, SpanID: // hashes and container ids
		random = true
	}
	if len(s) > limit {
		return false
	}
	if random && hexOrDash(s) { // nearly all of them, and nothing of what personal looks for
		return true
	}
	any, all := classes(s)
	if all&isPlain == 0 && s != "" && (!spaces || !plainButSpaces(s)) {
		return false
	}
	return !personalOf(s, random, any)
}

// freeText reports whether a self-reported text may leave as it is: short printable ASCII,
// without anything that looks personal or secret. An apostrophe often makes a name ("Ann's
// laptop"); a query or a user in a URL is data of somebody.
func freeText(s string) bool {
	if len(s) > 256 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20 || c > 0x7e || c == '\'' || c == '`':
			return false
		case c == '?' && strings.IndexByte(s[i:], '=') > 0:
			return false
		case c == '@' && strings.Contains(s[:i], "://"):
			return false
		}
	}
	return !personal(s, false)
}

// minSecret is the least length of a word that may be a secret by its looks.
const minSecret = 12

// personal reports whether a text holds something like an e-mail address, an IP address, a
// home directory, a credential or a long random string. random allows the last.
func personal(s string, random bool) bool {
	any, _ := classes(s)
	return personalOf(s, random, any)
}

func personalOf(s string, random bool, any uint8) bool {
	random = random || any&isDigit == 0
	if any&isMark == 0 && any&(isDigit|isDot) != isDigit|isDot && (len(s) < minSecret || random && any&isWord == 0) {
		return false // nearly all names of things, and numbers of things: keys and their names have other letters
	}
	if any&isDot != 0 && strings.Count(s, ".") >= 3 && hasIPv4(s) || any&isMark != 0 && strings.Count(s, ":") >= 2 && hasIPv6(s) {
		return true
	}
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case byteClass[c]&isAlnum != 0:
			n := runLen(s[i:])
			if !random && longRandom(s[i:i+n]) || credential(s[i:], n) {
				return true
			}
			i += n
			continue
		case c == '@':
			if i > 0 && byteClass[s[i-1]]&isAlnum != 0 && i+1 < len(s) && byteClass[s[i+1]]&isAlnum != 0 && !version(s[i+1:]) {
				return true
			}
		case c == '/' || c == '\\':
			if foldPrefix(s[i+1:], "home/") || foldPrefix(s[i+1:], "users/") || foldPrefix(s[i+1:], `users\`) {
				return true
			}
		case c == '~' && i+1 < len(s) && s[i+1] == '/':
			return true
		case c == '+' && (i == 0 || byteClass[s[i-1]]&isAlnum == 0) && phone(s[i+1:]):
			return true
		}
		i++
	}
	return false
}

// runLen is the length of the word that s begins with: letters, digits, _ and - between them.
func runLen(s string) int {
	n := 0
	for n < len(s) && (byteClass[s[n]]&isAlnum != 0 || s[n] == '_' || s[n] == '-') {
		n++
	}
	return n
}

// longRandom looks at a word and at its parts between _ and -.
func longRandom(word string) bool {
	if len(word) < minSecret {
		return false
	}
	var digits, upper, lower int
	part, hex, num := 0, 0, 0
	for i := range len(word) {
		k := byteClass[word[i]]
		if k&isAlnum == 0 {
			part, hex, num = 0, 0, 0
			continue
		}
		part++
		switch {
		case k&isDigit != 0:
			digits++
			num++
			hex++
		case k&isUpper != 0:
			upper++
		default:
			lower++
		}
		if k&isHexLetter != 0 {
			hex++
		}
		if num >= 12 && num == part || hex >= 20 && hex == part && num >= 4 {
			return true // a card or telephone number; a digest or a key
		}
		if part >= 20 && num >= 2 && upper >= 2 && lower >= 2 {
			return true
		}
	}
	return len(word) >= 32 && digits >= 4 && upper >= 4 && lower >= 4
}

// credential reports whether s begins with a word (of n bytes) that keys begin with, or
// that a secret follows.
func credential(s string, n int) bool {
	word := s[:n]
	for i := 0; i+minSecret <= n; i++ {
		if (i == 0 || word[i-1] == '-' || word[i-1] == '_') && keyPrefix(word[i:]) {
			return true
		}
	}
	if n+1 >= len(s) {
		return false
	}
	switch s[n] {
	case ' ', ':':
		if strings.EqualFold(word, "bearer") || strings.EqualFold(word, "basic") && s[n] == ' ' {
			return true
		}
		// "token:read" is a scope, "password: x" and "secret:s3same" are not.
		if s[n] == ' ' || s[n+1] != ' ' && !strings.ContainsAny(s[n+1:n+1+runLen(s[n+1:])], "0123456789") {
			return false
		}
		fallthrough
	case '=':
		for _, w := range [...]string{"password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "api-key"} {
			if len(word) >= len(w) && strings.EqualFold(word[len(word)-len(w):], w) {
				return true
			}
		}
	}
	return false
}

// keyPrefixes are the beginnings of the tokens that many services hand out, by their first byte.
var keyPrefixes = func() (t [256][]string) {
	for _, p := range [...]string{
		"eyJ", "sk-", "sk_", "pk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
		"xoxb-", "xoxp-", "xoxa-", "xapp-", "AKIA", "ASIA", "AIza", "ya29", "npm_", "hvs", "SG",
	} {
		t[p[0]] = append(t[p[0]], p)
	}
	return t
}()

func keyPrefix(s string) bool {
	for _, p := range keyPrefixes[s[0]] {
		switch {
		case !strings.HasPrefix(s, p):
		case p == "hvs" || p == "SG": // which words begin with, too
			return len(s) >= 24
		case len(p) == 3 && p[2] == '_': // "pk_constraints" is no key: those have digits
			return strings.ContainsAny(s, "0123456789")
		default:
			return true
		}
	}
	return false
}

// hasIPv4 finds a dotted quad anywhere. 120.0.0.0 is how browsers write a version, and
// names no host.
func hasIPv4(s string) bool {
	for i := range len(s) {
		if byteClass[s[i]]&isDigit == 0 || (i > 0 && byteClass[s[i-1]]&isDigit != 0) {
			continue
		}
		n := 0
		for n < len(s)-i && n <= len("255.255.255.255.") && (byteClass[s[i+n]]&isDigit != 0 || s[i+n] == '.') {
			n++
		}
		parts := strings.SplitN(s[i:i+n], ".", 5)
		if len(parts) < 4 {
			continue
		}
		quad := strings.Join(parts[:4], ".")
		if _, err := netip.ParseAddr(quad); err == nil && !strings.HasSuffix(quad, ".0.0.0") {
			return true
		}
	}
	return false
}

// hasIPv6 finds what looks like an IPv6 or a hardware address: hexadecimal digits with
// four colons or a double one. Parsing would miss one that touches other text.
func hasIPv6(s string) bool {
	digits, colons, double := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case byteClass[c]&isDigit != 0:
			digits++
		case c == ':':
			colons++
			double = double || i > 0 && s[i-1] == ':'
		case byteClass[c]&isHexLetter == 0:
			digits, colons, double = 0, 0, false
		}
		if digits > 0 && (colons >= 4 || double) {
			return true
		}
	}
	return false
}

// version reports whether what follows an @ is a package's version and not a host.
func version(s string) bool {
	s = strings.TrimPrefix(s, "v")
	dots := 0
	for i := range len(s) {
		if s[i] == '.' {
			dots++
		} else if byteClass[s[i]]&isDigit == 0 {
			return false
		}
	}
	return dots <= 2
}

func phone(s string) bool {
	digits := 0
	for i := range len(s) {
		switch {
		case byteClass[s[i]]&isDigit != 0:
			digits++
		case s[i] != ' ' && s[i] != '-' && s[i] != '(' && s[i] != ')':
			return digits >= 8
		}
	}
	return digits >= 8
}

func foldPrefix(s, p string) bool { return len(s) >= len(p) && strings.EqualFold(s[:len(p)], p) }
