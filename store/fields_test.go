package store

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"picket/detect"
)

// Raw texts: matched in memory, never stored.
var droppedFields = []detect.Field{detect.IOArgs, detect.IOResult}

func TestEveryFieldHasAColumn(t *testing.T) {
	for f := range detect.NumFields {
		m := eventFields[f]
		if slices.Contains(droppedFields, f) {
			if m.kind != dropped || m.column != "" {
				t.Errorf("%s must not be stored, and has %+v", f, m)
			}
			continue
		}
		if want := strings.ReplaceAll(f.String(), ".", "_"); m.column != want && "trace_"+m.column != want {
			t.Errorf("%s has column %q, want %q", f, m.column, want)
		}
		var ok bool
		switch f.Kind() {
		case detect.Text:
			ok = m.kind >= lowText && m.kind <= enumText && (m.kind == pathText) == (f.Info().Privacy == detect.Path)
		case detect.List:
			ok = m.kind == lowList
		case detect.Number:
			ok = m.kind >= uint16Num && m.kind <= floatNum
		case detect.Flag:
			ok = m.kind == boolFlag
		}
		if !ok {
			t.Errorf("%s: kind %d does not fit", f, m.kind)
		}
	}
}

// What we send is exactly what the tables have: no silent conversion, no forgotten column.
func TestColumnsAreThoseOfTheTables(t *testing.T) {
	db := migrated(t)
	for _, r := range []*rows{&newEventRows(Retention{}).rows, &newDeadRows().rows, &newLedgerRows().rows, &newMinuteRows().rows, &newEntityRows().rows, &newAlertRows().rows} {
		want := map[string]string{}
		_, data, err := db.Query(t.Context(), fmt.Sprintf("SELECT name, type FROM system.columns WHERE database = '%s' AND table = '%s' AND default_kind != 'ALIAS' AND type NOT LIKE 'AggregateFunction%%'", db.Database(), r.table))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range data {
			want[d[0]] = d[1]
		}
		got := map[string]string{}
		for _, c := range r.cols {
			got[c.name] = c.data.typ()
		}
		if !reflect.DeepEqual(got, want) {
			for n := range want {
				if got[n] != want[n] {
					t.Errorf("%s.%s: the table has %q, we send %q", r.table, n, want[n], got[n])
				}
			}
			for n := range got {
				if _, ok := want[n]; !ok {
					t.Errorf("%s.%s is not in the table", r.table, n)
				}
			}
		}
	}
}

func TestNumbersOutOfRangeTakeTheNearest(t *testing.T) {
	for _, c := range []struct {
		k    kind
		x    float64
		want uint64
	}{
		{uint16Num, 70000, math.MaxUint16},
		{uint16Num, -1, 0},
		{uint16Num, 404.9, 404},
		{uint32Num, 1e12, math.MaxUint32},
		{uint64Num, 1e30, math.MaxUint64},
		{uint64Num, -5, 0},
		{uint64Num, math.Inf(1), math.MaxUint64},
		{int32Num, -1e12, 1<<64 - 1<<31},
		{int32Num, -32020, 1<<64 - 32020},
		{int64Num, 1e30, math.MaxInt64},
		{int64Num, -1e30, 1 << 63},
		{floatNum, 1.5, math.Float64bits(1.5)},
	} {
		if got := numberBits(c.k, c.x); got != c.want {
			t.Errorf("kind %d, %v: %#x, want %#x", c.k, c.x, got, c.want)
		}
	}
}

// Hostile values are values: SQL, quotes, NUL, escapes, invalid UTF-8, long ones.
var hostile = []string{
	"'; DROP TABLE picket.events; --", "\\'", "\x00", "a\x00b", "\xff\xfe", "\x1b[31mred", "`x`", "\"", "{{.DB}}", "?", "{x:String}",
	"\t\n\\N", "NULL", strings.Repeat("x", 5000), "日本語 🙂", " ", "@P1", "\u202egnp.exe",
}

func genText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom(hostile), rapid.StringN(1, 40, 200), rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOfN(rapid.Byte(), 1, 30).Draw(t, "bytes"))
	}))
}

// genEvent draws an event with any fields set to anything.
func genEvent(t *rapid.T, offset int64) *detect.Event {
	ev := &detect.Event{Topic: "mcp.events", Partition: 3, Offset: offset, Append: day}
	ev.Claimed = day.AddDate(rapid.SampledFrom([]int{0, 0, 0, -3000, 300, 7000, -50}).Draw(t, "years"), 0, 0)
	for f := range detect.NumFields {
		if !rapid.Bool().Draw(t, f.String()) {
			continue
		}
		switch f.Kind() {
		case detect.Text:
			v := genText()
			if enum := f.Info().Enum; enum != nil {
				v = rapid.OneOf(rapid.SampledFrom(enum), v)
			}
			ev.Set(f, v.Draw(t, "value"))
		case detect.List:
			for _, v := range rapid.SliceOfN(genText(), 1, 3).Draw(t, "values") {
				ev.Add(f, v)
			}
		case detect.Number:
			ev.SetNum(f, float64(rapid.IntRange(0, math.MaxUint16).Draw(t, "number")))
		case detect.Flag:
			ev.SetFlag(f, rapid.Bool().Draw(t, "flag"))
		}
	}
	for i, v := range rapid.SliceOfN(genText(), 0, 4).Draw(t, "labels") {
		ev.SetLabel(v, fmt.Sprint(i, v))
	}
	for _, v := range rapid.SliceOfN(genText(), 0, 3).Draw(t, "findings") {
		ev.AddFinding(detect.Finding{Cat: "injection", Rule: v, Dir: "in", At: "/" + v, Score: 0.5, Digest: v, Excerpt: v})
	}
	ev.Stamp(0)
	ev.Redact(hasher{}, func(key string) bool { return len(key)%2 == 0 })
	return ev
}

// record reads a row back as values by column.
func record(t *testing.T, db *DB, offset int64) map[string]any {
	t.Helper()
	rs, err := db.conn.Query(t.Context(), "SELECT * FROM "+db.table("events")+" WHERE kafka_offset = ?", offset)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Close()
	if !rs.Next() {
		t.Fatalf("no row of offset %d: %v", offset, rs.Err())
	}
	dst := make([]any, len(rs.Columns()))
	for i, ct := range rs.ColumnTypes() {
		dst[i] = reflect.New(ct.ScanType()).Interface()
	}
	if err := rs.Scan(dst...); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for i, name := range rs.Columns() {
		out[name] = reflect.ValueOf(dst[i]).Elem().Interface()
	}
	return out
}

func TestEveryFieldComesBack(t *testing.T) {
	slow(t)
	for name, columnar := range map[string]bool{"native body": false, "driver's columns": true} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t)
			db.columnar = columnar
			w := NewWriter(db, WriterOptions{Retention: Retention{77, 77, 77}})
			var begin int64
			rapid.Check(t, func(rt *rapid.T) {
				b := w.NewBlock()
				id := BatchID{Topic: "mcp.events", Partition: 3, Begin: begin}
				var evs []*detect.Event
				for range rapid.IntRange(1, 4).Draw(rt, "events") {
					ev := genEvent(rt, begin)
					evs = append(evs, ev)
					b.Append(ev)
					begin++
				}
				id.End = begin
				if err := w.Insert(t.Context(), id, b); err != nil {
					rt.Fatal(err)
				}
				for _, ev := range evs {
					compare(rt, record(t, db, ev.Offset), ev)
				}
			})
		})
	}
}

func compare(t *rapid.T, got map[string]any, ev *detect.Event) {
	t.Helper()
	want := map[string]any{
		"kafka_topic": ev.Topic, "kafka_partition": uint16(ev.Partition), "kafka_offset": uint64(ev.Offset),
		"time": ev.Time.UTC(), "observed": ev.Append.UTC(), "time_flagged": ev.TimeFlagged, "late": ev.Late,
		"key_id": ev.KeyID(), "retention_days": uint16(77),
	}
	var pseudonyms, plain []string
	for f := range detect.NumFields {
		column := eventFields[f].column
		switch f.Kind() {
		case detect.Text:
			p := ev.Public(f)
			want[column] = p.Value
			if eventFields[f].kind == pathText {
				want[column+"_hash"] = p.Hash
			}
			if p.Key != "" && f.Info().Privacy != detect.Pseudo && eventFields[f].kind != enumText {
				pseudonyms = append(pseudonyms, f.String())
			}
		case detect.List:
			if eventFields[f].kind == dropped {
				continue
			}
			vs := []string{}
			for i, p := range ev.PublicList(f) {
				vs = append(vs, p.Value)
				if p.Key != "" && !hasKey(ev.PublicList(f)[:i]) && f.Info().Privacy != detect.Pseudo {
					pseudonyms = append(pseudonyms, f.String())
				}
			}
			want[column] = vs
		case detect.Number:
			if x, ok := ev.Num(f); ok {
				want[column] = x
			} else {
				want[column] = nil
			}
		case detect.Flag:
			want[column] = ev.Flag(f)
		}
	}
	if o := ev.Public(detect.Outcome).Value; !slices.Contains(detect.Outcome.Info().Enum, o) {
		want["outcome"] = "unknown"
	}
	if s := ev.Public(detect.Severity).Value; !slices.Contains(detect.Severity.Info().Enum, s) {
		want["severity"] = ""
	}
	labels := map[string]string{}
	for _, l := range ev.PublicLabels() {
		labels[l.Key] = l.Value
		if l.Public.Key == "" {
			plain = append(plain, l.Key)
		}
	}
	want["labels"] = labels
	var rules, ats []string
	for _, f := range ev.Findings() {
		rules, ats = append(rules, f.Rule), append(ats, f.At)
	}
	want["findings.rule"], want["findings.at"] = rules, ats
	for column, w := range want {
		if g := plainValue(got[column]); !same(g, w) {
			t.Errorf("%s: stored %#v, want %#v", column, g, w)
		}
	}
	sorted := func(v any) []string { s := slices.Clone(v.([]string)); slices.Sort(s); return s }
	slices.Sort(pseudonyms)
	slices.Sort(plain)
	if g := sorted(got["pseudonyms"]); !slices.Equal(g, pseudonyms) {
		t.Errorf("pseudonyms: %q, want %q", g, pseudonyms)
	}
	if g := sorted(got["plain_labels"]); !slices.Equal(g, plain) {
		t.Errorf("plain labels: %q, want %q", g, plain)
	}
	if ev.TimeFlagged == (got["claimed"] == nil || reflect.ValueOf(got["claimed"]).IsNil()) {
		t.Errorf("claimed is %v, flagged %t", got["claimed"], ev.TimeFlagged)
	}
}

func hasKey(ps []detect.Public) bool {
	return slices.ContainsFunc(ps, func(p detect.Public) bool { return p.Key != "" })
}

// plainValue takes pointers off and turns numbers of NULLable columns into float64.
func plainValue(v any) any {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() || rv.Kind() != reflect.Pointer {
		return v
	}
	if rv.IsNil() {
		return nil
	}
	return rv.Elem().Convert(reflect.TypeFor[float64]()).Interface()
}

func same(got, want any) bool {
	if reflect.DeepEqual(got, want) {
		return true
	}
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	if g.IsValid() && w.IsValid() && g.Kind() == reflect.Slice && w.Kind() == reflect.Slice && g.Len() == 0 && w.Len() == 0 {
		return true
	}
	return false
}
