package ingest

import (
	"testing"
	"time"
)

// TestParseTimeAgreesWithTheLibrary goes through the days at which a calendar can be wrong.
func TestParseTimeAgreesWithTheLibrary(t *testing.T) {
	for year := range 10_000 {
		for _, day := range [...][2]int{{1, 1}, {2, 28}, {2, 29}, {3, 1}, {12, 31}} {
			want := time.Date(year, time.Month(day[0]), day[1], 23, 59, 58, 123e6, time.UTC)
			exists := want.Day() == day[1]
			text := time.Date(year, 1, 1, 23, 59, 58, 0, time.UTC).Format("2006") + time.Date(2000, time.Month(day[0]), day[1], 0, 0, 0, 0, time.UTC).Format("-01-02") + "T23:59:58.123"
			got, ok := parseTime(text)
			if ok != exists || ok && got != want {
				t.Fatalf("%s: %v %v, want %v %v", text, got, ok, want, exists)
			}
			if zoned, ok := parseTime(text + "+02:30"); exists && (!ok || !zoned.Equal(want.Add(-150*time.Minute))) {
				t.Fatalf("%s+02:30: %v %v", text, zoned, ok)
			}
		}
	}
}

func TestParseTimeLeapSeconds(t *testing.T) {
	for text, want := range map[string]string{
		"2016-12-31T23:59:60Z":      "2017-01-01T00:00:00Z",
		"2017-01-01T00:59:60+01:00": "2017-01-01T00:00:00Z",
		"2016-12-31T12:00:60Z":      "",
	} {
		got, ok := parseTime(text)
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v", text, got, ok)
		}
	}
}
