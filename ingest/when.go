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
	century, years := two(s, 0), two(s, 2)
	year, month, day := century*100+years, two(s, 5), two(s, 8)
	hour, minute, second := two(s, 11), two(s, 14), two(s, 17)
	if century|years|month|day|hour|minute|second < 0 {
		return zero, false
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(month, year) || hour > 23 || minute > 59 || second > 60 {
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
	at := time.Unix(daysSince1970(year, month, day)*86400+int64(hour*3600+minute*60+second)-int64(offset/time.Second), int64(ns)).UTC()
	// A leap second becomes the second after it; anywhere else 60 is an error.
	if second == 60 && (at.Minute() != 0 || at.Hour() != 0) {
		return zero, false
	}
	return at, true
}

// daysSince1970 counts in years that begin in March, so that a leap day is a year's last.
func daysSince1970(year, month, day int) int64 {
	if month < 3 {
		year, month = year-1, month+12
	}
	year += 400 // no year is negative
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468 - 146097)
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
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
