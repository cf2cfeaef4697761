package ingest

import (
	"time"
)

func timeOf(name string, n *node) (time.Time, *Reject) {
	if n.kind != kindString {
		return time.Time{}, invalid(ClassBadType, int(n.off), name+" must be a string")
	}
	when, ok := parseTime(n.val)
	if !ok {
		return time.Time{}, invalid(ClassBadValue, int(n.off), name+" must be RFC 3339, as 2026-11-22T14:30:12Z")
	}
	return when, nil
}

// parseTime reads RFC 3339 with T, t or a space, a fraction after a dot or (as Python's
// logging writes it) a comma, and a zone; without one it is UTC.
func parseTime(s string) (time.Time, bool) {
	var zero time.Time
	if len(s) < 19 || len(s) > 40 || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' {
		return zero, false
	}
	if c := s[10]; c != 'T' && c != 't' && c != ' ' {
		return zero, false
	}
	num := [...]int{two(s, 0)*100 + two(s, 2), two(s, 5), two(s, 8), two(s, 11), two(s, 14), two(s, 17)}
	for _, at := range [...]int{0, 2, 5, 8, 11, 14, 17} {
		if two(s, at) < 0 {
			return zero, false
		}
	}
	if num[1] < 1 || num[1] > 12 || num[2] < 1 || num[2] > daysIn(num[1], num[0]) || num[3] > 23 || num[4] > 59 || num[5] > 60 {
		return zero, false
	}
	ns, rest := 0, s[19:]
	if rest != "" && (rest[0] == '.' || rest[0] == ',') {
		i, scale := 1, 100_000_000
		for ; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
			ns += int(rest[i]-'0') * scale
			scale /= 10
		}
		if i == 1 {
			return zero, false
		}
		rest = rest[i:]
	}
	offset, ok := zone(rest)
	if !ok {
		return zero, false
	}
	// A leap second becomes the second after it; anywhere else 60 is an error.
	at := time.Date(num[0], time.Month(num[1]), num[2], num[3], num[4], num[5], ns, time.UTC).Add(-offset)
	if num[5] == 60 && (at.Minute() != 0 || at.Hour() != 0) {
		return zero, false
	}
	return at, true
}

func zone(s string) (time.Duration, bool) {
	switch {
	case s == "" || s == "Z" || s == "z":
		return 0, true
	case len(s) != 6 || s[3] != ':' || (s[0] != '+' && s[0] != '-'):
		return 0, false
	}
	h, m := two(s, 1), two(s, 4)
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d, true
}

// two reads two digits; it is negative where there are none.
func two(s string, i int) int {
	a, b := s[i]-'0', s[i+1]-'0'
	if a > 9 || b > 9 {
		return -10000
	}
	return int(a)*10 + int(b)
}

func daysIn(month, year int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
