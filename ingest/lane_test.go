package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"picket/detect"
)

// bothWays reads a record in the lane and without it. What the lane takes must be the same event.
func bothWays(d *Decoder, value string) (taken bool, err error) {
	d.rec = record(value)
	d.copyText = len(value) > 4096
	fast, slow := &detect.Event{}, &detect.Event{}
	d.begin(fast)
	if len(value) == 0 || len(value) > MaxBytes || !d.lane.native(fast, value) {
		return false, nil
	}
	if r := d.finish(fast); r != nil {
		return true, r
	}
	d.begin(slow)
	if r := d.careful(slow, value); r != nil {
		return true, fmt.Errorf("the lane takes what is refused: %w", r)
	}
	if !reflect.DeepEqual(fast, slow) {
		return true, fmt.Errorf("the lane reads\n%s\nand it is\n%s", show(fast), show(slow))
	}
	return true, nil
}

func show(ev *detect.Event) string { return fmt.Sprintf("%+v", *ev) }

// TestLaneTakes is what the lane is for: records as producers write them go through it.
func TestLaneTakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(Options{})
	for name, value := range map[string]string{
		"typical": typical, "minimal": minimal + "}", "spaces": spaced(typical),
		"escapes":         with(`"io":{"args":{"q":"a \"b\"\n\u00e9\ud83d\ude00","p":"C:\\x"}}`),
		"operators":       with(`"io":{"args":{"user":{"$ne":null},"$where":["x",1,true]},"result":"r"}`),
		"unknown fields":  with(`"extra":1.5,"net":{"custom":"x","ip":"203.0.113.9"},"labels":{"a":"b","c":true}`),
		"more than ASCII": with(`"env":"prüfung","labels":{"größe":"ß"}`),
	} {
		for range 2 { // the second time it knows what follows what
			if taken, err := bothWays(d, value); !taken || err != nil {
				t.Errorf("%s: taken %v, %v", name, taken, err)
			}
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bothWays(d, string(b)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// A key that begins and ends as the one that came there before is still another key.
func TestLaneReadsWholeKeys(t *testing.T) {
	d := NewDecoder(Options{})
	for _, key := range []string{"definition_hash", "definitXXn_hash", "definition_hash"} {
		if taken, err := bothWays(d, with(`"mcp":{"`+key+`":"abc"},"tenant":"acme"`)); !taken || err != nil {
			t.Errorf("%s: taken %v, %v", key, taken, err)
		}
	}
}

func TestLaneSaysNo(t *testing.T) {
	d := NewDecoder(Options{})
	for name, value := range map[string]string{
		"a key twice":              with(`"type":"token"`),
		"a key in another case":    with(`"Type":"token"`),
		"an unknown key twice":     with(`"x":1,"x":1`),
		"an unknown key in cases":  with(`"x":1,"X":1`),
		"a Kelvin sign":            with(`"labels":{"kelvin":"a","\u212aelvin":"b"}`),
		"a key of arguments twice": with(`"io":{"args":{"a":{"b":1,"b":2}}}`),
		"33 levels":                with(`"io":{"args":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`),
		"513 keys":                 with(`"io":{"args":{` + manyKeys(507) + `}}`),
		"bad UTF-8":                with("\"env\":\"\xff\""),
		"bad UTF-8 before more":    with("\"env\":\"\xff\",\"reason\":\"timeout\",\"tenant\":\"acme\""),
		"bad UTF-8 in a long text": with("\"env\":\"some twenty bytes and \xff and ten more\""),
		"half a surrogate pair":    with(`"env":"\ud800"`),
		"no time":                  strings.Replace(minimal, `"time":`, `"thyme":`, 1) + "}",
		"another version":          strings.Replace(minimal, "event/1", "event/2", 1) + "}",
		"trailing data":            minimal + "}}",
		"an event_type first":      `{"event_type":"authentication",` + minimal[1:] + "}",
	} {
		if taken, err := bothWays(d, value); taken {
			t.Errorf("%s: taken; %v", name, err)
		}
	}
	for name, value := range map[string]string{
		"32 levels": with(`"io":{"args":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `}`),
		"512 keys":  with(`"io":{"args":{` + manyKeys(503) + `}}`),
	} {
		if taken, err := bothWays(d, value); !taken || err != nil {
			t.Errorf("%s: taken %v; %v", name, taken, err)
		}
	}
}

func manyKeys(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	return strings.Join(keys, ",")
}

// spaced is a JSON text with white space wherever it may be.
func spaced(text string) string {
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), " ", "\t"); err != nil {
		return text
	}
	return out.String()
}

func TestLaneSaysTheSame(t *testing.T) {
	taken, not := 0, 0
	d := NewDecoder(Options{}) // one for all: what it learned of one record must not hurt the next
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.Marshal(genEvent(t))
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if rapid.Bool().Draw(t, "spaces") {
			text = spaced(text)
		}
		for range max(0, rapid.IntRange(-3, 2).Draw(t, "damages")) {
			at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
			end := min(len(text), at+rapid.IntRange(0, 12).Draw(t, "length"))
			piece := rapid.SampledFrom([]string{
				"", `"`, `\`, `\n`, `\u0041`, `\ud83d`, "{", "}", "[", "]", ",", ":", " ", "é", "\xff", "0", "1e999", "-", "null", `"type":"token",`, `"Net":{},`, `"x":1,`, `"$x":[{"a":"b"}],`,
				text[at:end],
			}).Draw(t, "piece")
			text = text[:at] + piece + text[end:]
		}
		switch ok, err := bothWays(d, text); {
		case err != nil:
			t.Fatalf("%s\n%v", text, err)
		case ok:
			taken++
		default:
			not++
		}
	})
	if !t.Failed() && !testing.Short() && (taken < 3 || not < 10) {
		t.Errorf("%d taken, %d not: the generator is lopsided", taken, not)
	}
}

func FuzzLane(f *testing.F) {
	fuzzSeeds(f)
	f.Add([]byte(typical))
	f.Add([]byte(spaced(typical)))
	d := NewDecoder(Options{})
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, err := bothWays(d, string(value)); err != nil {
			t.Fatalf("%q\n%v", value, err)
		}
	})
}
