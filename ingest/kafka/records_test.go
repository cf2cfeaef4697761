package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// makeBatch encodes a record batch as a producer would.
func makeBatch(first int64, attributes int16, claimed, appended time.Time, raw []byte, n int32) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: first, Magic: 2, Attributes: attributes, LastOffsetDelta: n - 1,
		FirstTimestamp: claimed.UnixMilli(), MaxTimestamp: appended.UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: n, Records: raw,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

func makeRecords(values ...string) []byte {
	var out []byte
	for i, v := range values {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: []byte("key"), Value: []byte(v), Headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		out = append(out, r.AppendTo(nil)...)
	}
	return out
}

func TestAppendTimeIsTheBrokers(t *testing.T) {
	claimed, appended := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for attributes, want := range map[int16]time.Time{attrAppend: appended, 0: claimed.Add(time.Millisecond)} {
		s, rest, ok := cutBatch(makeBatch(100, attributes, claimed, appended, makeRecords("a", "b"), 2))
		if !ok || len(rest) != 0 {
			t.Fatal("the batch is not whole")
		}
		got, err := s.decode("t", 3, 101, &unpacker{limit: 1 << 20})
		if err != nil || len(got) != 1 {
			t.Fatalf("%v, %v; want the one record from 101 on", got, err)
		}
		r := got[0]
		if r.Offset != 101 || string(r.Value) != "b" || string(r.Key) != "key" || r.Headers[0].Key != "h" || r.Partition != 3 || !r.Append.Equal(want) {
			t.Errorf("attributes %d: got %+v, want offset 101, b, at %s", attributes, r, want)
		}
	}
}

func TestBombsAndDamageAreReported(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, 100<<20), nil)
	now := time.Now()
	good := makeBatch(0, 0, now, now, makeRecords("a"), 1)
	damaged := slices.Clone(good)
	damaged[len(damaged)-2] ^= 1
	for name, c := range map[string]struct {
		b    []byte
		says string
	}{
		"zstd bomb":     {makeBatch(0, 4, now, now, bomb, 1), "unpacks to more than the limit"},
		"not zstd":      {makeBatch(0, 4, now, now, []byte("nonsense"), 1), "unpack zstd"},
		"forged count":  {makeBatch(0, 0, now, now, makeRecords("a"), 1<<30), "record 2 of 1073741824: its length is not possible"},
		"unknown codec": {makeBatch(0, 7, now, now, makeRecords("a"), 1), "unknown compression 7"},
		"damaged":       {damaged, "checksum mismatch"},
		"cut short":     {makeBatch(0, 0, now, now, makeRecords("a")[:5], 1), "its length is not possible"},
	} {
		s, _, ok := cutBatch(c.b)
		if !ok {
			t.Errorf("%s: not whole", name)
			continue
		}
		got, err := s.decode("t", 0, 0, &unpacker{limit: 1 << 20})
		if err == nil || !strings.Contains(err.Error(), c.says) || len(got) != 0 {
			t.Errorf("%s: %d records, %v; want an error that says %q", name, len(got), err, c.says)
		}
		if s.end <= s.first {
			t.Errorf("%s: ends at %d, so it could not be skipped", name, s.end)
		}
	}
	if len(bomb) > 64<<10 || !errors.Is((&unpacker{limit: 1}).tooLarge(), errTooLarge) {
		t.Errorf("the bomb has %d bytes, which proves nothing", len(bomb))
	}
}

func FuzzCutBatch(f *testing.F) {
	now := time.Now()
	f.Add(makeBatch(7, 0, now, now, makeRecords("a", "b"), 2))
	f.Add(makeBatch(7, 1, now, now, makeRecords("a", "b"), 2))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		u := &unpacker{limit: 1 << 20}
		for {
			s, rest, ok := cutBatch(b)
			if !ok {
				return
			}
			s.err = nil // go past the checksum, as a hostile producer would
			records, err := s.decode("t", 0, s.first, u)
			if err != nil && len(records) > 0 {
				t.Fatal("records with an error")
			}
			for _, r := range records {
				if r.Offset < s.first || r.Offset >= s.end {
					t.Fatalf("offset %d outside [%d,%d)", r.Offset, s.first, s.end)
				}
			}
			b = rest
		}
	})
}

func TestMetaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		end, user := rapid.Int64Range(-1, 1<<62).Draw(t, "end"), rapid.StringN(0, 50, 100).Draw(t, "user")
		s, err := encodeMeta(end, user)
		if err != nil {
			t.Fatal(err)
		}
		if e, u := decodeMeta(s); e != end || u != user {
			t.Fatalf("%q gives (%d, %q), want (%d, %q)", s, e, u, end, user)
		}
	})
	for _, foreign := range []string{"", "p2 E=5", "p1 E=x", "p1 E=-7", "hello"} {
		if e, _ := decodeMeta(foreign); e != -1 {
			t.Errorf("%q declares %d", foreign, e)
		}
	}
	if _, err := encodeMeta(1, strings.Repeat("x", 5000)); err == nil {
		t.Error("5,000 bytes of metadata were taken; brokers refuse them")
	}
}

// Every partition has exactly one owner, shares differ by at most one, and members keep what
// they had as far as that allows.
func TestAssign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "partitions")
		count := rapid.IntRange(1, 8).Draw(t, "members")
		owner := rapid.SliceOfN(rapid.IntRange(-1, count), n, n).Draw(t, "owners")
		members := make([]member, count)
		for i := range members {
			members[i] = member{id: string(rune('a' + i)), name: string(rune('a' + i))}
			for p, o := range owner {
				if o == i {
					members[i].owned = append(members[i].owned, p)
				}
			}
		}
		before := map[string]int{}
		for _, m := range members {
			before[m.id] = len(m.owned)
		}
		got := assign(members, n)
		var all []int
		for _, m := range members {
			ps := got[m.id]
			all = append(all, ps...)
			if len(ps) < n/count || len(ps) > (n+count-1)/count {
				t.Fatalf("%s has %d of %d among %d", m.id, len(ps), n, count)
			}
			kept := 0
			for _, p := range ps {
				if slices.Contains(m.owned, p) {
					kept++
				}
			}
			if kept < min(before[m.id], n/count) {
				t.Fatalf("%s kept %d of the %d that it had", m.id, kept, before[m.id])
			}
		}
		slices.Sort(all)
		for i, p := range all {
			if p != i || len(all) != n {
				t.Fatalf("dealt %v, want each of %d once", all, n)
			}
		}
	})
}

// A damaged header may claim offsets of millions of records that are sound, and some that do not exist yet.
func TestDamagedHeaderClaimsNoSoundRecords(t *testing.T) {
	now := time.Now()
	for name, at := range map[string]int{"last offset": 23, "count": 57, "record": 70} {
		for flip := range 4 {
			damaged := makeBatch(10, 0, now, now, makeRecords("a", "b", "c"), 3)
			damaged[at+flip] ^= 0x81
			for after, want := range map[string]int64{"": 13, "sound": 13} {
				b := damaged
				if after != "" {
					b = append(bytes.Clone(damaged), makeBatch(want, 0, now, now, makeRecords("d"), 1)...)
				}
				s, rest, ok := cutBatch(b)
				if !ok || s.err == nil || s.end > want || s.end <= s.first || after != "" && s.end != want {
					t.Errorf("%s, byte %d, %q after it: [%d, %d), want to %d: %v", name, flip, after, s.first, s.end, want, s.err)
				}
				if next, _, ok := cutBatch(rest); after != "" && (!ok || next.err != nil || next.first != want) {
					t.Errorf("%s: what follows is %+v", name, next)
				}
			}
		}
	}
}
