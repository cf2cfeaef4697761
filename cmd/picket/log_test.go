package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"picket/cmd/internal/config"
)

// A number without its unit could be anything: both formats write durations alike.
func TestLogsWriteDurationsWithTheirUnit(t *testing.T) {
	for format, want := range map[string]string{"json": `"took":"678ms","in":{"wait":"1m30s"},"n":5}`, "text": "took=678ms in.wait=1m30s n=5"} {
		var b bytes.Buffer
		slog.New(logHandler(&b, config.Log{Format: format, Level: "info"})).
			Info("x", "took", 678*time.Millisecond, slog.Group("in", "wait", 90*time.Second), "n", 5)
		if s := strings.TrimSpace(b.String()); !strings.HasSuffix(s, want) {
			t.Errorf("%s: %s, want %s", format, s, want)
		}
	}
}
