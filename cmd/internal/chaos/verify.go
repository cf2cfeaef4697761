//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// place is where a record is.
type place struct {
	partition int32
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%d:%d", p.partition, p.offset) }

// logged is one record of the log: its number, and whether it can be read.
type logged struct {
	n       uint64
	hostile bool
}

// verdict is what was found wrong.
type verdict struct {
	events, dead     int // in the log
	lost, duplicated int
	rollups          bool
	audit            auditReport
	problems         []string
	trouble          map[string][]place // by what is wrong there
}

func (v *verdict) wrong(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

func (v *verdict) wrongAt(what string, at place) {
	if v.trouble == nil {
		v.trouble = map[string][]place{}
	}
	v.trouble[what] = append(v.trouble[what], at)
}

func (v *verdict) red() bool {
	return v.lost > 0 || v.duplicated > 0 || !v.rollups || len(v.problems) > 0
}

// sum writes what was found at places as problems, in ranges of offsets.
func (v *verdict) sum() {
	for _, what := range slices.Sorted(maps.Keys(v.trouble)) {
		at := v.trouble[what]
		spans := spansOf(at)
		text := make([]string, 0, someOf)
		for i, s := range spans {
			if i == someOf {
				text = append(text, fmt.Sprintf("and %d more", len(spans)-i))
				break
			}
			text = append(text, s.String())
		}
		v.wrong("%s: %d times, at %s", what, len(at), strings.Join(text, " "))
	}
}

// someOf is how many examples are shown of each kind of trouble.
const someOf = 8

// span is offsets of a partition that lie close: what was read of one batch.
type span struct {
	partition  int32
	begin, end int64
}

func (s span) String() string { return fmt.Sprintf("%d:[%d, %d)", s.partition, s.begin, s.end) }

func spansOf(at []place) (out []span) {
	slices.SortFunc(at, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	const near = 3 // a dead letter may lie between
	for _, p := range at {
		if n := len(out); n > 0 && out[n-1].partition == p.partition && p.offset < out[n-1].end+near {
			out[n-1].end = p.offset + 1
			continue
		}
		out = append(out, span{p.partition, p.offset, p.offset + 1})
	}
	return out
}

// verify compares what is stored with the log, and the log with what was acknowledged.
func (w *world) verify(ctx context.Context) (*verdict, error) {
	v := &verdict{}
	log, err := w.readLog(ctx, v)
	if err != nil {
		return nil, err
	}
	w.say("read the log: %d events and %d dead letters", v.events, v.dead)
	if err := w.checkRows(ctx, v, log); err != nil {
		return nil, err
	}
	if err := w.checkDead(ctx, v, log); err != nil {
		return nil, err
	}
	w.say("compared every row")
	var numbers []uint64
	for _, l := range log {
		if !l.hostile {
			numbers = append(numbers, l.n)
		}
	}
	if v.rollups, err = w.checkRollups(ctx, v, numbers); err != nil {
		return nil, err
	}
	w.say("compared the roll-ups")
	v.sum()
	return v, w.audit(ctx, v)
}

// readLog reads the topic of events. Every acknowledged record must be in it, unchanged and once.
func (w *world) readLog(ctx context.Context, v *verdict) (map[place]logged, error) {
	src, made := w.traffic.src, w.traffic.made.Load()
	log, seen := map[place]logged{}, map[uint64]bool{}
	err := w.scan(ctx, topic, func(r *kgo.Record) error {
		n, err := strconv.ParseUint(string(r.Key), 10, 64)
		if err != nil || n >= made || !bytes.Equal(r.Value, src.value(n)) {
			return fmt.Errorf("the log has a record at %d:%d that nobody sent", r.Partition, r.Offset)
		}
		at := place{r.Partition, r.Offset}
		if seen[n] {
			v.wrongAt("the producer wrote a record again", at)
		}
		seen[n] = true
		l := logged{n, src.hostile(n)}
		if log[at] = l; l.hostile {
			v.dead++
		} else {
			v.events++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n := range made {
		if w.traffic.wasAcked(n) && !seen[n] {
			v.lost++
			v.wrong("record %d was acknowledged and is not in the log", n)
		}
	}
	return log, nil
}

// scan reads a whole topic as it is now.
func (w *world) scan(ctx context.Context, topic string, each func(*kgo.Record) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	ends, err := w.ends(ctx, c, topic)
	if err != nil {
		return err
	}
	left := int64(0) // nothing here expires or is a transaction, so an offset is a record
	for _, end := range ends {
		left += end
	}
	for left > 0 {
		fs := c.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fs.Err()); err != nil {
			return fmt.Errorf("read %s: %w", topic, err)
		}
		for it := fs.RecordIter(); !it.Done(); {
			r := it.Next()
			if err := each(r); err != nil {
				return err
			}
			left--
		}
	}
	return nil
}

// checkRows wants one row for each offset of the log, of the right kind and with the right id.
func (w *world) checkRows(ctx context.Context, v *verdict, log map[place]logged) error {
	rows := map[place]int{}
	count := func(table string, hostile bool) func([]string) error {
		return func(c []string) error {
			p, err1 := strconv.ParseInt(c[0], 10, 32)
			o, err2 := strconv.ParseInt(c[1], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			at := place{int32(p), o}
			l, ok := log[at]
			if !ok || l.hostile != hostile || !hostile && c[2] != w.traffic.src.event(l.n).id {
				v.wrongAt("a row in "+table+" that is not what the log has", at)
			}
			if rows[at]++; rows[at] > 1 {
				v.wrongAt("twice in "+table, at)
				v.duplicated++
			}
			return nil
		}
	}
	if err := w.query(ctx, "SELECT kafka_partition, kafka_offset, id FROM picket.events", count(tableEvents, false)); err != nil {
		return err
	}
	if err := w.query(ctx, "SELECT kafka_partition, kafka_offset FROM picket.dead_letters", count(tableDead, true)); err != nil {
		return err
	}
	for at := range log {
		if rows[at] == 0 {
			v.wrongAt("lost", at)
			v.lost++
		}
	}
	return nil
}

// checkDead wants the bytes of every record that cannot be read in the topic of dead letters,
// where a repetition is allowed, and nothing else.
func (w *world) checkDead(ctx context.Context, v *verdict, log map[place]logged) error {
	there := map[string]bool{}
	err := w.scan(ctx, deadTopic, func(r *kgo.Record) error {
		var at place
		var name string
		if _, err := fmt.Sscanf(string(bytes.ReplaceAll(r.Key, []byte(":"), []byte(" "))), "%s %d %d", &name, &at.partition, &at.offset); err != nil {
			return fmt.Errorf("a dead letter with the key %q: %w", r.Key, err)
		}
		if l, ok := log[at]; !ok || !l.hostile || !bytes.Equal(r.Value, w.traffic.src.value(l.n)) {
			v.wrongAt("a dead letter that is not what the log has", at)
		}
		there[at.String()] = true
		return nil
	})
	if err != nil {
		return err
	}
	for at, l := range log {
		if l.hostile && !there[at.String()] {
			v.wrongAt("a dead letter without its bytes", at)
			v.lost++
		}
	}
	return nil
}

// auditReport is what `picket audit --json` prints.
type auditReport struct {
	OK       bool     `json:"ok"`
	Events   int      `json:"events"`
	Dead     int      `json:"dead"`
	Lost     int      `json:"lost"`
	Twice    int      `json:"twice"`
	InFlight int      `json:"in_flight"`
	Problems []string `json:"problems"`
}

// audit asks Picket itself, which must agree with what was counted here.
func (w *world) audit(ctx context.Context, v *verdict) error {
	cmd := exec.CommandContext(ctx, w.binary, "-c", filepath.Join(w.dir, "direct.yaml"), "audit", "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, ended := cmd.Output()
	if err := json.Unmarshal(out, &v.audit); err != nil {
		return fmt.Errorf("audit: %w: %s", errors.Join(ended, err), stderr.String())
	}
	a := v.audit
	if ended != nil || !a.OK {
		v.wrong("picket audit: %v: %v", ended, a.Problems)
	}
	if a.Events-a.Twice+a.Dead+a.Lost != v.events+v.dead || a.InFlight != 0 {
		v.wrong("picket audit counts %d events, %d dead letters, %d lost, %d twice, %d in flight; the log has %d and %d", a.Events, a.Dead, a.Lost, a.Twice, a.InFlight, v.events, v.dead)
	}
	if a.Twice != v.duplicated {
		v.wrong("picket audit finds %d rows too many, and the test %d", a.Twice, v.duplicated)
	}
	return nil
}

// explain writes what is wrong, and for some of it who stored it when.
func (w *world) explain(ctx context.Context, v *verdict) {
	for _, text := range v.problems {
		w.say("WRONG: %s", text)
	}
	for what, at := range v.trouble {
		for i, s := range spansOf(at) {
			if i == someOf/2 {
				break
			}
			lines := 0
			err := w.query(ctx, fmt.Sprintf(`SELECT first_offset, end_offset, events, dead, instance, generation, stored_at FROM picket.ingest_ledger
				WHERE kafka_partition = %d AND first_offset < %d AND end_offset > %d ORDER BY stored_at LIMIT 5`, s.partition, s.end, s.begin), func(c []string) error {
				lines++
				w.say("%s %s: the ledger has [%s, %s) with %s events and %s dead letters, by %s in generation %s at %s", what, s, c[0], c[1], c[2], c[3], c[4], c[5], c[6])
				return nil
			})
			if err != nil || lines == 0 {
				w.say("%s %s: the ledger has nothing (%v)", what, s, err)
			}
		}
	}
}
