package detect

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"
)

// Class is the name under which values of a field are hashed. Fields that an analyst wants
// to join share one: a subject is the same person in actor.subject and actor.delegation.
// Labels have the class "label:<key>".
func (f Field) Class() string {
	switch f {
	case NetIP:
		return "ip"
	case ActorSubject, ActorDelegation:
		return "subject"
	case ActorClientID:
		return "client"
	case ActorToken:
		return "token"
	case MCPSession:
		return "session"
	case MCPHandle:
		return "handle"
	case IOArgsDigest, IOResultDigest:
		return "digest"
	case MCPResource, PermResource, HTTPPath:
		return "path"
	}
	return "text"
}

// Normalize gives the form of a value that is hashed, so that the same person or place
// written in two ways has one pseudonym. It is idempotent.
//   - ip: canonical text, IPv4 in IPv6 unwrapped, zone, brackets and port removed
//   - subject: lower case if it looks like an e-mail address (a "sub" claim is otherwise
//     case-sensitive by its specification)
//   - path: user information, query and fragment of a URL removed
//   - anything else: as it is
func Normalize(class, value string) string {
	switch class {
	case "ip":
		if a, ok := parseIP(value); ok {
			return a.String()
		}
	case "subject":
		if at := strings.IndexByte(value, '@'); at > 0 && strings.Count(value, "@") == 1 {
			return strings.ToLower(value)
		}
	case "path":
		return stripURL(value)
	}
	return value
}

// Derive fills what rules need of raw values, and normalises those that people write in
// several ways. It comes before Redact; a derived value outweighs one that was sent.
func (e *Event) Derive() {
	if e.Has(ActorSubject) && !e.isHashed(ActorSubject) {
		e.text[ActorSubject] = Normalize("subject", e.text[ActorSubject])
	}
	if e.Has(ActorDelegation) {
		for i, s := range e.lists[ActorDelegation-firstList] {
			e.lists[ActorDelegation-firstList][i] = Normalize("subject", s)
		}
	}
	if !e.Has(NetIP) || e.isHashed(NetIP) {
		return
	}
	e.unset(NetIPPrefix)
	a, err := netip.ParseAddr(e.text[NetIP])
	if err != nil || !a.Is4() { // there is one way to write an IPv4 address that is read here
		var ok bool
		if a, ok = parseIP(e.text[NetIP]); !ok {
			e.Set(NetIPClass, "unknown")
			return
		}
		var buf [48]byte
		if s := a.AppendTo(buf[:0]); string(s) != e.text[NetIP] {
			e.text[NetIP] = string(s)
		}
	}
	e.put(NetIPPrefix, due)
	e.Set(NetIPClass, ipClass(a))
}

// SetDigestOf gives the field of a digest the digest of a raw value: a plain one, as it is a
// raw value itself, and leaves only as a pseudonym.
func (e *Event) SetDigestOf(f Field, raw string) {
	e.digestOf[f-IOArgsDigest] = raw
	e.put(f, due)
}

// derive gives a field that is due its value. Few rules look at digests and prefixes, and they
// cost more than all else that is derived.
func (e *Event) derive(f Field) bool {
	if f == NetIPPrefix {
		e.Set(f, e.network(e.text[NetIP]))
		e.ownPrefix = true
		return true
	}
	raw := e.digestOf[f-IOArgsDigest]
	sum := sha256.Sum256(unsafe.Slice(unsafe.StringData(raw), len(raw)))
	var text [32]byte
	hex.Encode(text[:], sum[:16])
	e.Set(f, e.join(string(text[:]), ""))
	return true
}

// network is the /24 or /48 of an address in canonical form.
func (e *Event) network(ip string) string {
	if strings.IndexByte(ip, ':') < 0 {
		return e.join(ip[:strings.LastIndexByte(ip, '.')+1], "0/24")
	}
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return netip.PrefixFrom(a, 48).Masked().String()
}

// join gives a text of two parts. Texts of many events share a piece of memory, of which each
// byte is written once.
func (e *Event) join(a, b string) string {
	const size = 2 << 10
	if e.room == nil {
		e.room = new([]byte)
	}
	r := e.room
	if cap(*r)-len(*r) < len(a)+len(b) {
		*r = make([]byte, 0, max(size, len(a)+len(b)))
	}
	from := len(*r)
	*r = append(append(*r, a...), b...)
	text := (*r)[from:]
	return unsafe.String(unsafe.SliceData(text), len(text))
}

func (e *Event) isHashed(f Field) bool { return e.arrivedHashed&(1<<f) != 0 }

func (e *Event) unset(f Field) {
	e.text[f] = ""
	e.has[f] = absent
	e.first &^= 1 << f
}

func parseIP(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), true
}

var sharedSpace = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // carrier-grade NAT

func ipClass(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "loopback"
	case a.IsLinkLocalUnicast():
		return "link_local"
	case a.IsPrivate() || sharedSpace.Contains(a):
		return "private"
	case a.IsGlobalUnicast():
		return "public"
	}
	return "unknown"
}

// stripURL removes user information, query and fragment of what has a scheme, and the query
// of a path.
func stripURL(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	host, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		host, path = rest[:i], rest[i:]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return scheme + "://" + host + path
}

// reducePath gives what may be said of a path or URI: its scheme, the number of directories,
// the name where everybody has one of that name, and otherwise the extension where it is a
// common one.
//
//	file:///home/ann/notes/plan.md   file:/3/*.md
//	/home/ann/.ssh/id_rsa            /3/id_rsa
//	../../etc/passwd                 ../1/passwd
//	https://u:p@host/v1/users/42?t=1 https:/2/*
//	C:\Users\ann\x.docx              /2/*.docx
//	tickets                          *
func reducePath(s string) string {
	s = strings.ReplaceAll(stripURL(s), `\`, "/")
	var out strings.Builder
	if i := strings.IndexByte(s, ':'); i > 0 && !strings.Contains(s[:i], "/") {
		rest := s[i+1:]
		if i > 1 || !strings.HasPrefix(rest, "/") { // otherwise a drive letter
			out.WriteString(knownScheme(s[:i]))
			out.WriteByte(':')
		}
		if after, ok := strings.CutPrefix(rest, "//"); ok && i > 1 {
			rest = ""
			if j := strings.IndexByte(after, '/'); j >= 0 {
				rest = after[j:]
			}
		}
		s = rest
	}
	if strings.IndexByte(s, '%') >= 0 {
		s = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", "/", "%5C", "/").Replace(s)
	}
	last := strings.LastIndexByte(s, '/')
	if last < 0 {
		out.WriteString(reduceName(s))
		return out.String()
	}
	dirs, up := 0, false
	for seg := range strings.SplitSeq(s[:last], "/") {
		switch seg {
		case "", ".":
		case "..":
			up = true
		default:
			dirs++
		}
	}
	if s[0] == '/' {
		out.WriteByte('/')
	}
	if up || s[last+1:] == ".." {
		out.WriteString("../")
	}
	out.WriteString(strconv.Itoa(dirs))
	out.WriteByte('/')
	out.WriteString(reduceName(s[last+1:]))
	return out.String()
}

func reduceName(name string) string {
	switch lower := strings.ToLower(name); {
	case name == "" || name == "." || name == "..":
		return ""
	case knownNames[lower]:
		return lower
	case strings.HasPrefix(lower, ".env."):
		return ".env"
	default:
		if i := strings.LastIndexByte(lower, '.'); i > 0 && knownExts[lower[i+1:]] {
			return "*" + lower[i:]
		}
	}
	return "*"
}

func knownScheme(s string) string {
	if s = strings.ToLower(s); knownSchemes[s] {
		return s
	}
	return "other"
}

func wordSet(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

var (
	knownSchemes = wordSet(`file http https ws wss ftp ftps sftp ssh git s3 gs az data blob jar php
		postgres postgresql mysql sqlite mongodb redis jdbc ldap ldaps gopher dict tftp
		memory resource resources config docs mcp ui screen prompt tool kafka urn test demo`)
	knownExts = wordSet(`txt md rst pdf doc docx xls xlsx ppt pptx odt ods csv tsv json jsonl yaml yml toml xml html htm
		css js mjs ts tsx jsx go py rb rs java kt swift c h cc cpp hpp cs php pl lua r sh bash zsh ps1 bat cmd sql
		db sqlite sqlite3 log conf cfg cnf ini env properties pem key crt cer csr p12 pfx jks kdbx pub asc gpg ovpn
		zip tar gz tgz bz2 xz zst 7z rar jpg jpeg png gif svg webp ico mp3 mp4 wav mov avi parquet avro ipynb
		lock bak old tmp swp dump so dll exe bin wasm jar class proto tf tfstate tfvars eml msg ics vcf`)
	knownNames = wordSet(`.env .bashrc .bash_history .zshrc .zsh_history .profile .npmrc .netrc .pypirc .gitconfig
		.git-credentials .gitignore .git .ssh .aws .gnupg .kube .docker .htpasswd .htaccess .pgpass .my.cnf
		.dockerconfigjson .vault-token .well-known id_rsa id_dsa id_ecdsa id_ed25519 authorized_keys known_hosts
		passwd shadow sudoers hosts group environ cmdline credentials kubeconfig dockerfile makefile license
		readme readme.md package.json package-lock.json go.mod go.sum pyproject.toml requirements.txt cargo.toml
		mcp sse message messages authorize token register login logout callback health healthz readyz metrics
		oauth-protected-resource oauth-authorization-server openid-configuration`)
)
