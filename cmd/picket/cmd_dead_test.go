package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picket/ingest"
	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

// buried is a broker with dead letters.
type buried struct {
	t    *testing.T
	cfg  kafka.Config
	conf string
}

func newBuried(t *testing.T) *buried {
	t.Helper()
	broker := kafkatest.Embedded(t)[0]
	b := &buried{t: t, cfg: kafka.Config{Brokers: []string{broker}}, conf: setting(t, "kafka: {brokers: ['"+broker+"'], partitions: {events: 2, signals: 2}}")}
	if e := picket(t, "topics", "create", "-c", b.conf); e.code != exitOK {
		t.Fatal(e.stderr)
	}
	b.letter(0, 7, ingest.ClassNotJSON, "k\x1b[2J\u202e\xff", "{\"a\":\"\x1b[31mred\u202e\x00\"}\nforged: line", time.Hour)
	b.letter(1, 3, ingest.ClassUnknownField, "", `{"x":1}`, time.Minute)
	b.letter(1, 3, ingest.ClassUnknownField, "", `{"x":1}`, time.Minute) // a redone batch writes it twice
	b.letter(1, 9, ingest.ClassUnreadable, "none", "", time.Minute)
	return b
}

func (b *buried) produce(rs ...kafka.Record) {
	b.t.Helper()
	p, err := kafka.NewProducer(b.cfg, kafka.ProducerOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer p.Close()
	if err := p.Produce(b.t.Context(), rs); err != nil {
		b.t.Fatal(err)
	}
}

// letter writes one; the key "none" stands for no key.
func (b *buried) letter(partition int32, offset int64, class ingest.Class, key, value string, age time.Duration) {
	b.t.Helper()
	b.failedAgain(partition, offset, class, key, value, age, "")
}

// failedAgain writes one that is the redrive of another; the name "" stands for none.
func (b *buried) failedAgain(partition int32, offset int64, class ingest.Class, key, value string, age time.Duration, of string) {
	b.t.Helper()
	rec := ingest.Record{Topic: "mcp.events", Partition: partition, Offset: offset, Append: time.Now().Add(-age), Key: []byte(key), Value: []byte(value)}
	if key == "none" {
		rec.Key = nil
	}
	d := ingest.NewDeadLetter(rec,
		&ingest.Reject{Stage: ingest.StageDecode, Class: class, Msg: "why not", Offset: 4})
	if of != "" {
		d.Redrive = []byte(of)
	}
	r := kafka.Record{Topic: "picket.dead", Key: d.Key(), Value: d.Value}
	for _, h := range d.Headers() {
		r.Headers = append(r.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	b.produce(r)
}

// events is what is in the events topic: partition, header, key and value.
func (b *buried) events() (out []string) {
	b.t.Helper()
	err := kafka.Scan(b.t.Context(), b.cfg, "mcp.events", func(r kafka.Record) error {
		out = append(out, fmt.Sprintf("%d %s %q %s", r.Partition, header(&r, ingest.HeaderRedrive), r.Key, r.Value))
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *buried) run(args ...string) ended {
	return picket(b.t, append(append([]string{"dead"}, args...), "-c", b.conf)...)
}

func TestDeadListAndShow(t *testing.T) {
	b := newBuried(t)
	e := b.run("list")
	if e.code != exitOK || !strings.HasPrefix(e.stdout, "NAME ") || strings.Count(e.stdout, "mcp.events:1:3") != 1 || !strings.Contains(e.stdout, "3 dead letters") {
		t.Errorf("code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
	for args, want := range map[string]string{
		"--class not_json": "mcp.events:0:7", "--since 30m --class unknown_field": "mcp.events:1:3", "--partition 1 --offsets 9-20": "mcp.events:1:9", "--until 30m": "mcp.events:0:7", "--since 1d --class not_json": "mcp.events:0:7",
	} {
		var l letter
		e := b.run(append([]string{"list", "--json"}, strings.Fields(args)...)...)
		if err := json.Unmarshal([]byte(e.stdout), &l); err != nil || l.Name != want || l.Reason != "why not" {
			t.Errorf("%s: %v, %s%s", args, err, e.stdout, e.stderr)
		}
	}
	if !strings.Contains(e.stdout, "  why not (byte 4)\n") {
		t.Errorf("list without the place:\n%s", e.stdout)
	}
	e = b.run("show", "mcp.events:0:7")
	want := "decode: not_json: why not (byte 4)\nkey: \"k\\x1b[2J\\u202e\\xff\"\n33 bytes:\n  | {\"a\":\"\\x1b[31mred\\u202e\\x00\"}\n  | forged: line\n"
	if e.code != exitOK || !strings.HasSuffix(e.stdout, want) {
		t.Errorf("code %d\n%q\nwant\n%q", e.code, e.stdout, want)
	}
	if e := b.run("show", "mcp.events:0:7", "--raw"); e.stdout != "{\"a\":\"\x1b[31mred\u202e\x00\"}\nforged: line" {
		t.Errorf("raw: %q", e.stdout)
	}
	if e := picket(t, "-c", b.conf, "__complete", "dead", "show", "mcp.events:1"); !strings.HasPrefix(e.stdout, "mcp.events:1:3\tunknown_field\nmcp.events:1:9\tunreadable\n:4\n") {
		t.Errorf("completion: %s%s", e.stdout, e.stderr)
	}
	b.run("show", "mcp.events:5:5").want(t, exitFailure, `no dead letter "mcp.events:5:5"`, "picket dead list", "kept for 3d only")
}

// terminal opens one that nobody looks at.
func terminal(t *testing.T) *os.File {
	t.Helper()
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	switch {
	case err != nil && os.Getenv("CI") != "":
		t.Fatal(err)
	case err != nil:
		t.Skipf("needs a terminal: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty
}

// A terminal must not get bytes that somebody else chose.
func TestDeadShowRawWantsAPipe(t *testing.T) {
	tty := terminal(t)
	var stderr bytes.Buffer
	ev := &env{stdin: strings.NewReader(""), stdout: tty, stderr: &stderr, lookup: os.LookupEnv}
	root := newRoot(ev)
	root.SetArgs([]string{"dead", "show", "x:0:0", "--raw"})
	cmd, err := root.ExecuteContextC(t.Context())
	if code := exitCode(context.Background(), err, cmd, ev.started, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "| xxd") {
		t.Errorf("code %d, %s", code, stderr.String())
	}
}

// screen is a terminal that keeps what it is sent.
type screen struct {
	bytes.Buffer
	*os.File
}

func (s *screen) Write(p []byte) (int, error) { return s.Buffer.Write(p) }

func TestDeadShowIsShortOnATerminal(t *testing.T) {
	tty := terminal(t)
	b := newBuried(t)
	b.letter(0, 20, ingest.ClassTooLarge, "none", strings.Repeat("x", 300_000), time.Minute)
	out, stderr := &screen{File: tty}, &bytes.Buffer{}
	ev := &env{stdin: strings.NewReader(""), stdout: out, stderr: stderr, lookup: os.LookupEnv}
	root := newRoot(ev)
	root.SetArgs([]string{"dead", "show", "mcp.events:0:20", "-c", b.conf})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err, stderr)
	}
	if s := out.Buffer.String(); strings.Count(s, "x") > maxOnTerminal+10 || !strings.HasSuffix(s, "\nand 295904 bytes more: send them all to a file or a program, such as | less\n") {
		t.Errorf("%d bytes, ending %q", len(s), s[max(0, len(s)-120):])
	}
	if e := b.run("show", "mcp.events:0:20"); !strings.HasSuffix(e.stdout, strings.Repeat("x", 300_000)+"\n") {
		t.Errorf("to a program: %d bytes", len(e.stdout))
	}
}

func TestRedriveSendsOnce(t *testing.T) {
	b := newBuried(t)
	e := b.run("redrive", "--all")
	if e.code != exitOK || !strings.Contains(e.stdout, "2 dead letters") || !strings.Contains(e.stderr, "add --yes") || len(b.events()) != 0 {
		t.Errorf("dry run: code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
	e = b.run("redrive", "--class", "unknown_field", "--yes")
	if e.code != exitOK || e.stdout != "1 dead letter sent again\n" {
		t.Errorf("code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
	e = b.run("redrive", "--all", "--yes")
	if e.stdout != "1 dead letter sent again\n" || !strings.Contains(e.stderr, "left out: 1 sent again before") || !strings.Contains(e.stderr, "left out: 1 without bytes") {
		t.Errorf("code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
	want := "0 mcp.events:0:7 \"k\\x1b[2J\\u202e\\xff\" {\"a\":\"\x1b[31mred\u202e\x00\"}\nforged: line|1 mcp.events:1:3 \"\" {\"x\":1}"
	for range 2 {
		if got := strings.Join(b.events(), "|"); got != want {
			t.Errorf("events %q, want %q", got, want)
		}
		if e := b.run("redrive", "mcp.events:1:3", "--yes"); e.stdout != "0 dead letters sent again\n" {
			t.Errorf("once more: %s%s", e.stdout, e.stderr)
		}
	}
	if e := b.run("list"); strings.Count(e.stdout, "(sent again 20") != 2 {
		t.Errorf("list:\n%s", e.stdout)
	}
}

// What is wrong in itself comes back: it must not be sent at each call of --all.
func TestRedriveLeavesOutWhatFailedAgain(t *testing.T) {
	b := newBuried(t)
	b.run("redrive", "--class", "unknown_field", "--yes")
	b.failedAgain(1, 12, ingest.ClassUnknownField, "", `{"x":1}`, time.Second, "mcp.events:1:3")
	b.failedAgain(1, 13, ingest.ClassUnknownField, "", `{"x":2}`, time.Second, "mcp.events:1:\x1b[2J")
	for args, want := range map[string]string{"list": "why not (byte 4) (failed again: redrive of mcp.events:1:3)\n", "list --json": `"redrive_of":"mcp.events:1:3"`, "show mcp.events:1:12": "(failed again: redrive of mcp.events:1:3)\n"} {
		if e := b.run(strings.Fields(args)...); !strings.Contains(e.stdout, want) || strings.Contains(e.stdout, "\x1b") {
			t.Errorf("%s: %q lacks %q", args, e.stdout, want)
		}
	}
	for _, args := range []string{"--class unknown_field", "--all"} {
		e := b.run(append([]string{"redrive", "--yes"}, strings.Fields(args)...)...)
		e.want(t, exitOK, "left out: 2 failed again after a redrive: send them by name or with --failed")
	}
	if got := b.events(); len(got) != 2 {
		t.Errorf("sent: %q", got)
	}
	if e := b.run("redrive", "mcp.events:1:12", "--yes"); e.stdout != "1 dead letter sent again\n" {
		t.Errorf("by name: %s%s", e.stdout, e.stderr)
	}
	if e := b.run("redrive", "--all", "--failed", "--yes"); e.stdout != "1 dead letter sent again\n" {
		t.Errorf("with --failed: %s%s", e.stdout, e.stderr)
	}
}

// A redrive that was killed after it wrote down what it would do: the letter may have been
// sent or not.
func TestRedriveAfterOneThatWasKilled(t *testing.T) {
	for _, sent := range []bool{false, true} {
		b := newBuried(t)
		m := &morgue{}
		m.topics.Dead = "picket.dead"
		b.produce(m.marks([]*letter{{Name: "mcp.events:1:3"}}, stateStarted)...)
		if sent {
			b.produce(kafka.Record{Topic: "mcp.events", Partition: 1, Value: []byte(`{"x":1}`), Headers: []kafka.Header{{Key: ingest.HeaderRedrive, Value: []byte("mcp.events:1:3")}}})
		}
		if e := b.run("redrive", "mcp.events:1:3", "--yes"); e.code != exitOK {
			t.Errorf("sent %t: code %d, %s", sent, e.code, e.stderr)
		}
		if got := b.events(); len(got) != 1 {
			t.Errorf("sent %t: %q", sent, got)
		}
	}
}

func TestDeadRefuses(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "picket.yaml")
	if err := os.WriteFile(conf, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, c := range map[string]struct {
		code int
		want string
	}{
		"list --class nojson":          {exitUsage, `there is no class "nojson": use one of empty, not_json`},
		"list --since yesterday":       {exitUsage, `--since: "yesterday" is no time like`},
		"redrive --offsets 9-3":        {exitUsage, "first-last"},
		"redrive":                      {exitUsage, "or --all of them"},
		"redrive --all --yes":          {exitConfig, "kafka.brokers is empty"},
		"show mcp.events:0:7 --raw":    {exitConfig, "kafka.brokers is empty"},
		"list --stored --class empty ": {exitConfig, "clickhouse.url is empty"},
	} {
		picket(t, append(append([]string{"dead"}, strings.Fields(args)...), "-c", conf)...).want(t, c.code, c.want)
	}
	picket(t, "audit", "-c", conf).want(t, exitConfig, "kafka.brokers is empty")
	picket(t, "audit", "-c", setting(t, "kafka: {brokers: ['"+closed(t)+"']}")).want(t, exitUnavailable, "clickhouse")
}

func TestDeadListStoredNeedsNoKafka(t *testing.T) {
	a := newAudited(t)
	a.produce("mcp.events", 1, 25)
	a.consume(func(r kafka.Range) { a.store(r) })
	conf := setting(t, "clickhouse: {url: '"+a.clickhouse+"'}")
	e := picket(t, "dead", "list", "--stored", "-c", conf)
	if e.code != exitOK || !strings.Contains(e.stdout, "mcp.events:1:9 ") || !strings.Contains(e.stdout, "2 dead letters") {
		t.Errorf("code %d\n%s%s", e.code, e.stdout, e.stderr)
	}
	picket(t, "dead", "list", "-c", conf).want(t, exitConfig, "kafka.brokers is empty")
}
