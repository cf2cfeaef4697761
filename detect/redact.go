package detect

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Pseudonymizer hashes a value under the key that is in force at a time. It is called
// from one goroutine.
type Pseudonymizer interface {
	Pseudonym(tenant, class, value string, at time.Time) (hash, keyID string)
}

// Redact fills the public form of every value by its field's privacy. It comes after
// Stamp, Derive and every finding; the second call in an event's life does nothing.
// keepLabel names labels that may stay readable; nil keeps none.
//
// A value that arrived hashed is hashed again under our key: hashes of producers are
// often short and without a key, which anybody can reverse. Its Up is true, and it is
// looked up by the producer's hash.
func (e *Event) Redact(p Pseudonymizer, keepLabel func(key string) bool) {
	if e.redacted {
		return
	}
	e.redacted = true
	for f := range firstList {
		if e.Has(f) {
			e.public[f] = e.publicForm(p, f, e.text[f])
		}
	}
	for f := firstList; f < firstNumber; f++ {
		out := e.publicLists[f-firstList][:0]
		if fieldInfo[f].Privacy != Dropped {
			for _, s := range e.lists[f-firstList] {
				out = append(out, e.publicForm(p, f, s))
			}
		}
		e.publicLists[f-firstList] = out
	}
	e.publicLabels = e.publicLabels[:0]
	for _, l := range e.labels {
		e.publicLabels = append(e.publicLabels, e.publicLabel(p, l, keepLabel))
	}
	for i := range e.finds {
		e.publicFinding(p, &e.finds[i])
	}
}

// KeyID is the id of the key that hashed the event's values; empty when none was.
func (e *Event) KeyID() string { return e.keyID }

// DropRaw forgets every raw value except those from closed sets. Has still tells what
// there was.
func (e *Event) DropRaw() {
	for f := range firstList {
		if e.has[f] == due {
			e.has[f] = there
		}
		if fieldInfo[f].Enum == nil {
			e.text[f] = ""
		}
	}
	for i := range e.lists {
		clear(e.lists[i])
		e.lists[i] = e.lists[i][:0]
	}
	clear(e.labels)
	e.labels = e.labels[:0]
	e.digestOf, e.labelClasses = [2]string{}, [16]string{}
}

func (e *Event) publicForm(p Pseudonymizer, f Field, s string) Public {
	info := &fieldInfo[f]
	switch {
	case info.Enum != nil:
		if slices.Contains(info.Enum, s) {
			return Public{Value: s}
		}
	case info.Privacy == Plain:
		if plainText(f, s) {
			return Public{Value: s}
		}
	case info.Privacy == Free:
		if freeText(s) {
			return Public{Value: s}
		}
	case info.Privacy == Path:
		return Public{Value: reducePath(s), Hash: e.pseudonym(p, "path", s)}
	case info.Privacy == Dropped:
		return Public{}
	}
	h := e.pseudonym(p, f.Class(), s)
	return Public{Value: h, Key: e.keyID, Up: f < firstList && e.isHashed(f)}
}

func (e *Event) pseudonym(p Pseudonymizer, class, s string) string {
	h, k := p.Pseudonym(e.text[Tenant], class, s, e.Time)
	e.keyID = k
	return h
}

func (e *Event) publicLabel(p Pseudonymizer, l label, keep func(string) bool) PublicLabel {
	out := PublicLabel{Key: l.key}
	if !plainText(NumFields, l.key) {
		out.Key = "h:" + e.pseudonym(p, "label", l.key)
	}
	if keep != nil && keep(l.key) && freeText(l.value) {
		out.Public = Public{Value: l.value}
		return out
	}
	h := e.pseudonym(p, e.labelClass(l.key), l.value)
	out.Public = Public{Value: h, Key: e.keyID}
	return out
}

// labelClass is the class of a label's values; producers send the same labels again and again.
func (e *Event) labelClass(key string) string {
	const prefix = "label:"
	if key == "" {
		return prefix
	}
	c := &e.labelClasses[(len(key)+int(key[len(key)-1]))%len(e.labelClasses)]
	if !strings.HasPrefix(*c, prefix) || (*c)[len(prefix):] != key {
		*c = prefix + key
	}
	return *c
}

func (e *Event) publicFinding(p Pseudonymizer, f *Finding) {
	f.Excerpt = ""
	if !lowerWord(f.Cat) {
		f.Cat = "other"
	}
	if !lowerWord(f.Dir) {
		f.Dir = "other"
	}
	if f.Rule != "" && !plainText(NumFields, f.Rule) {
		f.Rule = e.pseudonym(p, "text", f.Rule)
	}
	if f.Digest != "" {
		f.Digest = e.pseudonym(p, "digest", f.Digest)
	}
	if f.At == "" {
		return
	}
	segs := strings.Split(f.At, "/")
	whole := personal(f.At, false) // a path that somebody pointed with
	for i, s := range segs {
		if s != "" && (whole && !arrayIndex(s) || len(s) > 64 || strings.ContainsAny(s, ":@+") || !plainText(NumFields, s)) {
			segs[i] = "*"
		}
	}
	f.At = strings.Join(segs, "/")
}

func arrayIndex(s string) bool { return len(s) <= 5 && strings.Trim(s, "0123456789") == "" }

func lowerWord(s string) bool {
	for i := range len(s) {
		if (s[i] < 'a' || s[i] > 'z') && s[i] != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// Bits of the byte classes that the two tests below use.
const (
	isDigit = 1 << iota
	isUpper
	isLower
	isHexLetter
	isPlain // may be in an identifier
	isDot
	isMark  // of an address, a path, a secret that follows its name
	isAlnum = isDigit | isUpper | isLower
)

var byteClass = func() (t [256]uint8) {
	for c := range 256 {
		switch b := byte(c); {
		case b >= '0' && b <= '9':
			t[c] = isDigit | isPlain
		case b >= 'A' && b <= 'Z':
			t[c] = isUpper | isPlain
		case b >= 'a' && b <= 'z':
			t[c] = isLower | isPlain
		case strings.IndexByte("_.:/@+-", b) >= 0:
			t[c] = isPlain
		}
		if c == '.' {
			t[c] |= isDot
		}
		if strings.IndexByte("@/\\~+:= ", byte(c)) >= 0 {
			t[c] |= isMark
		}
		if l := c | 0x20; l >= 'a' && l <= 'f' {
			t[c] |= isHexLetter
		}
	}
	return t
}()

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
	for i := range len(s) {
		if byteClass[s[i]]&isPlain == 0 && !(spaces && s[i] == ' ') {
			return false
		}
	}
	return !personal(s, random)
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
	any := uint8(0)
	for i := range len(s) {
		any |= byteClass[s[i]]
	}
	if any&isMark == 0 && len(s) < minSecret && any&(isDigit|isDot) != isDigit|isDot {
		return false // nearly all names of things
	}
	random = random || any&isDigit == 0
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

// keyPrefix knows the beginnings of the tokens that many services hand out.
func keyPrefix(s string) bool {
	switch s[0] {
	case 'e', 's', 'p', 'r', 'g', 'x', 'A', 'y', 'n', 'h', 'S':
	default:
		return false
	}
	for _, p := range [...]string{
		"eyJ", "sk-", "sk_", "pk_", "rk_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
		"xoxb-", "xoxp-", "xoxa-", "xapp-", "AKIA", "ASIA", "AIza", "ya29", "npm_",
	} {
		if strings.HasPrefix(s, p) { // "pk_constraints" is no key: those have digits
			return len(p) != 3 || p[2] != '_' || strings.ContainsAny(s, "0123456789")
		}
	}
	return len(s) >= 24 && (strings.HasPrefix(s, "hvs") || strings.HasPrefix(s, "SG"))
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
