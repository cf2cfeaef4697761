//go:build unix

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering is a world whose ClickHouse says what the test wants.
func answering(t *testing.T, say func(sql string) string) *world {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sql, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, say(string(sql)))
	}))
	t.Cleanup(s.Close)
	return &world{
		click: strings.TrimPrefix(s.URL, "http://"), out: io.Discard, began: time.Now(),
		traffic: &traffic{src: source{seed: 1, base: time.Unix(1_800_000_000, 0)}},
	}
}

// The counting itself must be able to fail.
func TestRowsAreCounted(t *testing.T) {
	log := map[place]logged{}
	var events, dead string
	for n := range uint64(200) {
		at := place{int32(n % 4), int64(n / 4)}
		src := source{seed: 1}
		log[at] = logged{n, src.hostile(n)}
		if src.hostile(n) {
			dead += fmt.Sprintf("%d\t%d\n", at.partition, at.offset)
		} else {
			events += fmt.Sprintf("%d\t%d\tc-1-%d\n", at.partition, at.offset, n)
		}
	}
	for _, c := range []struct {
		name           string
		edit           func(string) string
		lost, twice, n int
	}{
		{"exact", func(s string) string { return s }, 0, 0, 0},
		{"one lost", func(s string) string { return strings.Replace(s, "2\t20\tc-1-82\n", "", 1) }, 1, 0, 1},
		{"one twice", func(s string) string { return s + "2\t20\tc-1-82\n" }, 0, 1, 1},
		{"one is another", func(s string) string { return strings.Replace(s, "c-1-82\n", "c-1-83\n", 1) }, 0, 0, 1},
		{"one too many", func(s string) string { return s + "3\t999\tc-1-999\n" }, 0, 0, 1},
	} {
		w := answering(t, func(sql string) string {
			if strings.Contains(sql, tableDead) {
				return dead
			}
			return c.edit(events)
		})
		v := &verdict{}
		if err := w.checkRows(t.Context(), v, log); err != nil {
			t.Fatal(err)
		}
		v.sum()
		if v.lost != c.lost || v.duplicated != c.twice || len(v.problems) != c.n {
			t.Errorf("%s: %d lost, %d twice, %q", c.name, v.lost, v.duplicated, v.problems)
		}
	}
}

func TestRollupsAreCompared(t *testing.T) {
	s := &sums{}
	for n := range uint64(5) {
		s.add(source{seed: 1, base: time.Unix(1_800_000_000, 0)}.event(n))
	}
	if s.events != 5 || !s.first.Before(s.last) || s.in == 0 || s.ms == 0 {
		t.Fatalf("sums %+v", s)
	}
	for _, c := range []struct {
		line  string
		exact bool
	}{
		{"acme\t" + s.minute() + "\n", true},
		{"acme\t" + strings.Replace(s.minute(), "5\t", "6\t", 1) + "\n", false},
		{"", false},
		{"acme\t" + s.minute() + "\nglobex\t" + s.minute() + "\n", false},
	} {
		w := answering(t, func(string) string { return c.line })
		v := &verdict{}
		exact, err := w.compare(t.Context(), v, "events_1m", map[string]*sums{"acme": s}, (*sums).minute, 1, "SELECT")
		if err != nil {
			t.Fatal(err)
		}
		if exact != c.exact || exact != (len(v.problems) == 0) {
			t.Errorf("%q: exact %v, %q", c.line, exact, v.problems)
		}
	}
}

func TestSpansOfBatches(t *testing.T) {
	got := fmt.Sprint(spansOf([]place{{1, 7}, {0, 4}, {0, 5}, {0, 7}, {0, 30}, {1, 8}}))
	if want := "[0:[4, 8) 0:[30, 31) 1:[7, 9)]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A weakened run is good only if both counts see rows twice.
func TestWeakenedRunMustBeRed(t *testing.T) {
	w := answering(t, func(string) string { return "" })
	if err := w.mustBeRed(weakToken, &verdict{duplicated: 3, audit: auditReport{Twice: 3}}); err != nil {
		t.Error(err)
	}
	for _, v := range []verdict{
		{rollups: true, audit: auditReport{OK: true}},
		{duplicated: 3, audit: auditReport{OK: true}},
		{lost: 1, audit: auditReport{Lost: 1}},
		{audit: auditReport{Twice: 3}},
	} {
		if w.mustBeRed(weakFence, &v) == nil {
			t.Errorf("%+v passes for red", v)
		}
	}
}
