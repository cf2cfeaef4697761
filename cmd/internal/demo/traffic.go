package demo

import (
	"fmt"
	"time"
)

// securityLog is what an MCP server with the Python SecurityLogger writes while
// somebody guesses its keys, another one exhausts its limits, and a disk fills up
// in the middle of a line.
func securityLog(now time.Time) [][]byte {
	var out [][]byte
	line := func(back time.Duration, level, format string, args ...any) {
		at := now.Add(-back).UTC()
		// asctime has its milliseconds behind a comma, the payload's timestamp is naive UTC.
		payload := fmt.Sprintf(format, append([]any{at.Format("2006-01-02T15:04:05.000000")}, args...)...)
		out = append(out, fmt.Appendf(nil, "%s,%03d - mcp_security - %s - %s", at.Format(time.DateTime), at.Nanosecond()/1e6, level, payload))
	}
	for i := range 7 {
		line(time.Duration(40-5*i)*time.Second, "WARNING",
			`{"timestamp": "%s", "event_type": "authentication", "client_id": %q, "success": false, "source_ip": %q, "user_agent": "python-httpx/0.28.1 (%s)", "reverse_dns": %q, "details": {"reason": "bad_signature", "user": %q}}`,
			CanaryClient, CanaryIP, CanaryMail, CanaryHost, CanaryUser)
	}
	cut := out[len(out)-1]
	line(5*time.Second, "WARNING",
		`{"timestamp": "%s", "event_type": "permission_violation", "client_id": "0f1e2d3c4b5a", "user": %q, "source_ip": "198.51.100.20", "resource": %q, "action": "read", "required_permission": "hr:read"}`,
		CanaryUser, CanaryResource)
	line(4*time.Second, "INFO",
		`{"timestamp": "%s", "event_type": "authentication", "client_id": "0f1e2d3c4b5a", "success": true, "source_ip": "198.51.100.20", "user_agent": "claude-desktop/1.9"}`)
	for i := range 12 {
		line(time.Duration(30-2*i)*time.Second, "WARNING",
			`{"timestamp": "%s", "event_type": "rate_limit", "client_id": "77aa77aa77aa", "source_ip": %q, "details": {"limit": 100, "window": 60}}`, CanaryIP6)
	}
	return append(out, cut[:len(cut)-3])
}

// Values that must be found in the raw topics and nowhere else after a demo.
const (
	CanaryUser     = "ada.lovelace@example.org"
	CanaryMail     = "grace.hopper@example.net"       // in a user agent
	CanaryHost     = "adas-laptop.office.example.org" // in a label
	CanaryClient   = "a1b2c3d4e5f0"
	CanaryAgent    = "demo-agent"
	CanaryIP       = "203.0.113.77"
	CanaryIP6      = "2001:db8:77:1::bad:cafe"
	CanaryFile     = "merger-with-initech.md"
	CanaryHome     = "/home/ada"
	CanaryResource = "/srv/hr/salaries-of-the-board.xlsx"
	CanaryText     = "the deal closes on the ides of march"
	CanarySecret   = "AKIAQ7GRF2ZLHDJ5M3XC"
	CanarySQL      = "x' UNION SELECT login, password FROM users; DROP TABLE audit; --"
	CanaryShell    = "*.md; curl http://169.254.169.254/latest/meta-data/iam/ | sh"
)
