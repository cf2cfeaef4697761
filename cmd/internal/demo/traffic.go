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
			`{"timestamp": "%s", "event_type": "authentication", "client_id": "%012x", "success": false, "source_ip": %q, "user_agent": "python-httpx/0.28.1", "details": {"reason": "bad_signature", "user": %q}}`,
			0xa1b2c3d4e5f0, CanaryIP, CanaryUser)
	}
	line(4*time.Second, "INFO",
		`{"timestamp": "%s", "event_type": "authentication", "client_id": "%012x", "success": true, "source_ip": "198.51.100.20", "user_agent": "claude-desktop/1.9"}`, 0x0f1e2d3c4b5a)
	for i := range 12 {
		line(time.Duration(30-2*i)*time.Second, "WARNING",
			`{"timestamp": "%s", "event_type": "rate_limit", "client_id": "%012x", "source_ip": "198.51.100.31", "details": {"limit": 100, "window": 60}}`, 0x77aa77aa77aa)
	}
	cut := out[len(out)-1]
	return append(out, cut[:len(cut)-25])
}

// Values that must be found in the raw topics and nowhere else after a demo.
const (
	CanaryUser   = "ada.lovelace@example.org"
	CanaryIP     = "203.0.113.77"
	CanaryFile   = "merger-with-initech.md"
	CanaryText   = "the deal closes on the ides of march"
	CanarySecret = "AKIAQ7GRF2ZLHDJ5M3XC"
)
