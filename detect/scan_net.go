package detect

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

var (
	// A host that stands alone with its port and path, as a tool's host parameter has it.
	bareHostRE = regexp.MustCompile(`^(\[[0-9a-fA-F:.]+\]|[0-9a-fA-FxX.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*|[a-z-]+(?:\.[a-z-]+)*)(?::\d{1,5})?(?:/\S*)?$`)

	metadataHosts = map[string]bool{
		"metadata.google.internal": true, "metadata.goog": true, "metadata": true, "instance-data": true,
		"instance-data.ec2.internal": true, "metadata.azure.internal": true, "metadata.tencentyun.com": true,
	}
	metadataAddrs = map[netip.Addr]bool{
		netip.MustParseAddr("169.254.169.254"): true, netip.MustParseAddr("169.254.170.2"): true, netip.MustParseAddr("169.254.170.23"): true,
		netip.MustParseAddr("100.100.100.200"): true, netip.MustParseAddr("168.63.129.16"): true, netip.MustParseAddr("192.0.0.192"): true,
		netip.MustParseAddr("fd00:ec2::254"): true, netip.MustParseAddr("fd00:ec2::23"): true, netip.MustParseAddr("fd20:ce::254"): true,
	}
	nat64        = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour    = netip.MustParsePrefix("2002::/16")
	carrierSpace = netip.MustParsePrefix("100.64.0.0/10")
	digitForms   = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".", "\uff10", "0", "\uff11", "1", "\uff12", "2", "\uff13", "3", "\uff14", "4",
		"\uff15", "5", "\uff16", "6", "\uff17", "7", "\uff18", "8", "\uff19", "9")
)

func bareHost(v string) bool {
	if v == "" {
		return false
	}
	switch c := v[0]; {
	case c >= '0' && c <= '9', c == '[', c == ':', c|0x20 == 'f':
		return bareHostRE.MatchString(v)
	case c|0x20 == 'm', c|0x20 == 'i': // as those by name begin
		return metadataHosts[strings.ToLower(v)]
	}
	return false
}

func findSSRF(f finder, v string) {
	alone := ""
	if f.whole && len(v) <= maxShort {
		alone = strings.TrimSpace(v)
	}
	for range maxURLs {
		scheme, host, rest := nextURL(v)
		if host == "" {
			break
		}
		v = rest
		switch strings.ToLower(scheme) {
		case "gopher", "dict", "ldap", "ldaps", "tftp", "jar", "netdoc":
			f.add(catSSRF, "scheme", 0.8)
		}
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = host[at+1:]
		}
		target(f, host, true)
	}
	if alone == "" || alone[0] == '/' || strings.ContainsAny(alone, " \t\n") {
		return
	}
	if m := bareHostRE.FindStringSubmatch(strings.ToLower(alone)); m != nil {
		target(f, m[1], false)
	}
}

const maxURLs = 32 // of one text that are looked at

// nextURL finds the first scheme://host of a text, and what follows it; host is empty where
// there is none. A scheme is a letter and up to 20 letters, digits, +, . and -, not in a word.
func nextURL(v string) (scheme, host, rest string) {
	for from := 0; ; {
		i := strings.Index(v[from:], "://")
		if i < 0 {
			return "", "", ""
		}
		i += from
		from = i + 3
		start := i
		for j := i - 1; j >= 0 && j >= i-21 && schemeByte(v[j]); j-- {
			if v[j]|0x20 >= 'a' && v[j]|0x20 <= 'z' && (j == 0 || !wordByte(v[j-1])) {
				start = j
			}
		}
		end := from
		for end < len(v) && strings.IndexByte(" \t\n\f\r/\"'<>\\?#", v[end]) < 0 {
			end++
		}
		if start < i && end > from {
			return v[start:i], v[from:end], v[end:]
		}
	}
}

func schemeByte(c byte) bool {
	return byteClass[c]&isAlnum != 0 || c == '+' || c == '.' || c == '-'
}

func wordByte(c byte) bool { return byteClass[c]&isAlnum != 0 || c == '_' }

// target judges one host; in a URL it counts for more than alone.
func target(f finder, host string, url bool) {
	host = strings.ToLower(digitForms.Replace(unescape(host)))
	addr, plain, ok := parseHost(host)
	if !ok {
		name := strings.TrimSuffix(stripPort(host), ".")
		switch {
		case metadataHosts[name] && (url || strings.Contains(name, ".") || name == "instance-data"):
			f.add(catSSRF, "metadata", 0.95)
		case url && (name == "localhost" || strings.HasSuffix(name, ".localhost")):
			f.add(catSSRF, "loopback", 0.8)
		}
		return
	}
	kind, score := "", 0.0
	switch {
	case metadataAddrs[addr]:
		kind, score = "metadata", 0.95
	case addr.IsLoopback() || addr.IsUnspecified():
		kind, score = "loopback", 0.8
	case addr.IsPrivate() || addr.IsLinkLocalUnicast() || carrierSpace.Contains(addr):
		kind, score = "private", 0.8
	default:
		return
	}
	switch {
	case !url && kind != "metadata":
		if !plain {
			return // a number alone is a number
		}
		score = 0.5
	case !plain:
		score = 1 // nobody writes it that way by accident
	}
	f.add(catSSRF, kind, score)
}

func stripPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.Count(host, ":") == 1 {
		return host[:i]
	}
	return host
}

// parseHost reads an address in every form that some resolver takes: octal, hex,
// decimal, fewer than four parts, IPv4 inside IPv6. plain is the usual form.
func parseHost(host string) (a netip.Addr, plain, ok bool) {
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			host = host[1:end]
		}
	} else {
		host = stripPort(host)
	}
	host = strings.TrimSuffix(host, ".")
	for _, wild := range []string{".nip.io", ".sslip.io", ".xip.io"} {
		if inner, found := strings.CutSuffix(host, wild); found {
			inner = strings.ReplaceAll(inner, "-", ".")
			parts := strings.Split(inner, ".")
			if len(parts) > 4 {
				inner = strings.Join(parts[len(parts)-4:], ".")
			}
			a, _, ok = parseHost(inner)
			return a, false, ok
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.WithZone("")
		if a.Is4() {
			return a, true, true
		}
		b := a.As16()
		switch {
		case a.Is4In6():
			return a.Unmap(), false, true
		case nat64.Contains(a):
			return netip.AddrFrom4([4]byte(b[12:16])), false, true
		case sixToFour.Contains(a):
			return netip.AddrFrom4([4]byte(b[2:6])), false, true
		}
		return a, true, true
	}
	a, ok = inetAton(host)
	return a, false, ok
}

// inetAton is the C function's idea of an IPv4 address.
func inetAton(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 || s == "" {
		return netip.Addr{}, false
	}
	var x uint64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 0, 64)
		if err != nil || strings.ContainsAny(p, "_oOb") && !strings.HasPrefix(p, "0x") {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			if n > 255 {
				return netip.Addr{}, false
			}
			x = x<<8 | n
			continue
		}
		bits := uint(8 * (4 - i))
		if n >= 1<<bits {
			return netip.Addr{}, false
		}
		x = x<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}), true
}
