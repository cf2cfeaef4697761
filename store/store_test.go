package store

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"picket/detect"
	"picket/store/embedded/embeddedtest"
)

// connect opens a new, empty database of the real engine.
func connect(t testing.TB, change ...func(*Config)) *DB {
	t.Helper()
	return dial(t, testConfig(t, change...))
}

func dial(t testing.TB, c Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func testConfig(t testing.TB, change ...func(*Config)) Config {
	t.Helper()
	c := fromDSN(t, embeddedtest.Start(t))
	for _, f := range change {
		f(&c)
	}
	return c
}

func fromDSN(t testing.TB, dsn string) Config {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	database := u.Query().Get("database")
	u.RawQuery = ""
	return Config{URL: u.String(), Database: database}
}

// migrated opens a database with the schema in it.
func migrated(t testing.TB, change ...func(*Config)) *DB {
	t.Helper()
	db := connect(t, change...)
	if _, err := Migrate(t.Context(), db, MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	return db
}

// number runs a query that gives one number.
func (db *DB) number(t testing.TB, sql string) uint64 {
	t.Helper()
	var n uint64
	if err := db.row(t.Context(), []any{&n}, strings.ReplaceAll(sql, "{db}", quoteName(db.t.Database))); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func wantNumber(t testing.TB, db *DB, want uint64, sql string) {
	t.Helper()
	if got := db.number(t, sql); got != want {
		t.Errorf("%s: %d, want %d", sql, got, want)
	}
}

// hasher stands for ingest's keyed one.
type hasher struct{}

func (hasher) Pseudonym(tenant, class, value string, _ time.Time) (hash, keyID string) {
	return pseudonym(tenant + "|" + class + "|" + value), "k1"
}

func pseudonym(s string) string {
	sum := sha256.Sum256([]byte(s))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:26]
}

// day is yesterday's noon: the tables' TTL goes by the real clock.
var day = time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)

// event makes the plausible event of an offset.
func event(offset int64) *detect.Event {
	ev := &detect.Event{Topic: "mcp.events", Partition: 3, Offset: offset}
	fill(ev, offset)
	return ev
}

func fill(ev *detect.Event, offset int64) {
	ev.Topic, ev.Partition, ev.Offset = "mcp.events", 3, offset
	ev.Append = day.Add(time.Duration(offset) * 10 * time.Millisecond)
	ev.Claimed = ev.Append.Add(-time.Duration(offset%900) * time.Millisecond)
	ev.Set(detect.Schema, "picket.event/1")
	ev.Set(detect.ID, fmt.Sprintf("019aabcd-%04x-7%03x-8%03x-%012x", offset&0xffff, offset*7919&0xfff, offset*104729&0xfff, uint64(offset)*0x9E3779B97F4A7C15>>16))
	ev.Set(detect.Type, "tool_call")
	ev.Set(detect.Outcome, []string{"success", "success", "success", "denied", "failure"}[offset%5])
	ev.Set(detect.Severity, "info")
	ev.Set(detect.Tenant, "acme")
	ev.Set(detect.ServerName, fmt.Sprintf("files-%d", offset%4))
	ev.Set(detect.ServerVersion, "1.2.3")
	ev.Set(detect.ServerInstance, fmt.Sprintf("pod-%d", offset%16))
	ev.Set(detect.ServerTransport, "http")
	ev.Set(detect.ActorSubject, fmt.Sprintf("user-%d@example.com", offset*offset%997))
	ev.Set(detect.ActorClientID, fmt.Sprintf("client-%d", offset%31))
	ev.Set(detect.ActorAuthMethod, "oauth")
	ev.Set(detect.ClientName, "inspector")
	ev.Set(detect.NetIP, fmt.Sprintf("10.1.%d.%d", offset%7, offset%251))
	ev.Set(detect.NetIPPrefix, "10.1.0.0/16")
	ev.Set(detect.NetIPClass, "private")
	ev.Set(detect.MCPMethod, "tools/call")
	ev.Set(detect.MCPTool, []string{"read_file", "write_file", "list_directory"}[offset%3])
	ev.Set(detect.MCPSession, fmt.Sprintf("session-%d", offset/40))
	ev.Set(detect.MCPRequestID, fmt.Sprint(offset))
	ev.Set(detect.PermResource, fmt.Sprintf("/home/user-%d/notes.txt", offset%53))
	ev.Set(detect.IOArgsDigest, fmt.Sprintf("digest-%d", offset))
	ev.Set(detect.SrcFormat, "native")
	ev.SetNum(detect.Seq, float64(offset))
	ev.SetNum(detect.IOArgsBytes, float64(100+offset%1000))
	ev.SetNum(detect.IOResultBytes, float64(1000+offset*31%10000))
	ev.SetNum(detect.IODurationMS, float64(offset%250))
	if offset%10 == 0 {
		ev.AddFinding(detect.Finding{Cat: "traversal", Rule: "IN_02", Dir: "in", At: "/path", Score: 0.75})
	}
	ev.Stamp(15 * time.Minute)
	ev.Redact(hasher{}, nil)
}

// batch fills a block with the events of [begin, end); every 50th is a dead letter.
func batch(w *Writer, begin, end int64) (BatchID, *Block) {
	b := w.NewBlock()
	for o := begin; o < end; o++ {
		if o%50 == 49 {
			b.AppendDead(&DeadLetter{
				Topic: "mcp.events", Partition: 3, Offset: o, Append: day, Stage: "decode", Class: "syntax",
				Error: "line 1, column 7: not JSON", Bytes: 812, Digest: "abcd1234",
			})
			continue
		}
		b.Append(event(o))
	}
	return BatchID{Topic: "mcp.events", Partition: 3, Begin: begin, End: end, Generation: 7}, b
}

// slow leaves a test that takes many rounds with the engine out of the fast loop.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes many rounds with the engine: not under -short")
	}
}
