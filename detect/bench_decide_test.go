package detect_test

import (
	"math/rand/v2"
	"testing"

	"picket/detect"
	"picket/ingest"
)

// BenchmarkDecide is the way from a record's bytes to the decision, as the detect role goes it:
// decode, scan for findings, match, and where something matched pseudonymise and collect.
// 1,000 rules; events of mixed types, of about 700 bytes.
func BenchmarkDecide(b *testing.B) {
	for _, bench := range []struct {
		name string
		hits int
	}{{"matching=0%", 0}, {"matching=2%", 20}, {"matching=20%", 200}} {
		b.Run(bench.name, func(b *testing.B) {
			d := newDecider(b, 1_000)
			records := benchRecords(b, 500, bench.hits)
			size, matched := 0, 0
			for _, r := range records {
				size += len(r.Value)
				if d.decide(b, r) {
					matched++
				}
			}
			b.Logf("1000 rules, %d events of %d bytes, %d match", len(records), size/len(records), matched)
			b.SetBytes(int64(size / len(records)))
			b.ReportAllocs()
			cpu, i := detect.CPUTime(), 0
			for b.Loop() {
				d.decide(b, records[i])
				if i++; i == len(records) {
					i = 0
					d.collect.Packs(0, 0, 1, 6)
					d.collect.Written()
				}
			}
			detect.BenchReport(b, cpu)
		})
	}
}

// BenchmarkDecideSteps says where the time of a decision goes.
func BenchmarkDecideSteps(b *testing.B) {
	records := benchRecords(b, 500, 20)
	for step, name := range []string{"decode", "decode+scan", "decode+scan+match", "decode+scan+match+redact-all"} {
		b.Run(name, func(b *testing.B) {
			d := newDecider(b, 1_000)
			one := func(r ingest.Record) {
				if err := d.decoder.Decode(&d.event, r); err != nil {
					b.Fatal(err)
				}
				if step > 0 {
					d.scanner.Scan(&d.event)
				}
				if step > 1 {
					d.matches = d.matcher.Match(d.matches[:0], &d.event)
				}
				if step > 2 {
					d.event.Redact(d.keys, d.decoder.KeepLabel)
				}
			}
			for _, r := range records { // what is remembered is there, as in a process that runs
				one(r)
			}
			cpu, i := detect.CPUTime(), 0
			for b.Loop() {
				one(records[i%len(records)])
				i++
			}
			detect.BenchReport(b, cpu)
		})
	}
}

type decider struct {
	decoder *ingest.Decoder
	scanner *detect.Scanner
	matcher *detect.Matcher
	collect *detect.Collector
	keys    *ingest.Hasher
	event   detect.Event
	matches []detect.Match
}

func newDecider(b *testing.B, rules int) *decider {
	b.Helper()
	ring, err := ingest.NewKeyring(rand.NewChaCha8([32]byte{1}), detect.TestStart)
	if err != nil {
		b.Fatal(err)
	}
	rs := detect.BenchPack(b, rules)
	keys := ring.Hasher()
	return &decider{
		decoder: ingest.NewDecoder(ingest.Options{}), scanner: detect.NewScanner(), matcher: detect.NewMatcher(rs),
		collect: detect.NewCollector(rs, keys), keys: keys,
	}
}

func (d *decider) decide(b *testing.B, r ingest.Record) bool {
	if err := d.decoder.Decode(&d.event, r); err != nil {
		b.Fatal(err)
	}
	d.scanner.Scan(&d.event)
	d.matches = d.matcher.Match(d.matches[:0], &d.event)
	if len(d.matches) == 0 {
		return false
	}
	d.event.RedactLater(d.keys, d.decoder.KeepLabel)
	d.collect.Add(&d.event, d.matches)
	return true
}

func benchRecords(b *testing.B, n, hits int) []ingest.Record {
	b.Helper()
	var out []ingest.Record
	for i, ev := range detect.BenchEvents(n, hits, 1_000) {
		out = append(out, ingest.Record{Topic: "mcp.events", Offset: int64(i), Append: detect.TestStart, Value: ev.JSON(700), Kept: true})
	}
	return out
}
