package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var day = time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)

// testKeys draws the same keys every time.
func testKeys(t testing.TB, seed byte) *Keyring {
	t.Helper()
	k, err := NewKeyring(rand.NewChaCha8([32]byte{seed}), day)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyFileRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	k := testKeys(t, 1)
	if _, err := k.Rotate(rand.NewChaCha8([32]byte{2}), day); err != nil {
		t.Fatal(err)
	}
	if err := k.WriteNew(path); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
	if err := k.WriteNew(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("keys were overwritten: %v", err)
	}
	got, err := LoadKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{day, day.Add(24 * time.Hour)} {
		a, ka := k.Hasher().Pseudonym("t", "ip", "203.0.113.9", at)
		b, kb := got.Hasher().Pseudonym("t", "ip", "203.0.113.9", at)
		if a != b || ka != kb {
			t.Errorf("at %s: %s/%s before, %s/%s after", at, a, ka, b, kb)
		}
	}
	if k.Hasher().GroupHash("t", "a") != got.Hasher().GroupHash("t", "a") {
		t.Error("the group key was lost")
	}
	if err := got.Replace(path); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeyring(path); err != nil {
		t.Error(err)
	}
}

func TestLoadKeyringRefuses(t *testing.T) {
	good := func() []byte { b, _ := testKeys(t, 1).marshal(); return b }()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"group readable": {string(good), 0o640, "chmod 600"},
		"world readable": {string(good), 0o604, "chmod 600"},
		"not JSON":       {"hello", 0o600, "picket keys new"},
		"other format":   {strings.Replace(string(good), "keys/1", "keys/9", 1), 0o600, "picket.keys/1"},
		"short group":    {`{"format":"picket.keys/1","group_key":"AAAA","pseudonym_keys":[]}`, 0o600, "32 bytes"},
		"no key":         {regexp.MustCompile(`(?s)"pseudonym_keys": \[.*\]`).ReplaceAllString(string(good), `"pseudonym_keys": []`), 0o600, "no pseudonym key"},
		"bad id":         {regexp.MustCompile(`"id": "[^"]*"`).ReplaceAllString(string(good), `"id": "a b"`), 0o600, "id must be"},
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeyring(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want mention of %q", name, err, c.want)
		}
	}
	_, err := LoadKeyring(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "picket keys new") {
		t.Errorf("missing file: %v", err)
	}
}

func TestKeyFilesOfOthers(t *testing.T) {
	for _, c := range []struct{ mode, mine, ofOthers fs.FileMode }{
		{0o600, 0o600, 0o600},
		{0o400, 0o400, 0o400},
		{0o440, 0o400, 0o440},
		{0o640, 0o600, 0o640},
		{0o660, 0o600, 0o640},
		{0o444, 0o400, 0o440},
		{0o604, 0o600, 0o600},
		{0o777, 0o700, 0o740},
	} {
		if a, b := closed(c.mode, true), closed(c.mode, false); a != c.mine || b != c.ofOthers {
			t.Errorf("%04o: %04o of mine and %04o of others, want %04o and %04o", c.mode, a, b, c.mine, c.ofOthers)
		}
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := testKeys(t, 1).WriteNew(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || !mine(info) {
		t.Errorf("a new key file is not mine: %v", err)
	}
}

func TestPseudonym(t *testing.T) {
	k := testKeys(t, 1)
	h := k.Hasher()
	p, id := h.Pseudonym("t", "ip", "203.0.113.9", day)
	if !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(p) || id != k.Keys()[0].ID {
		t.Fatalf("%q %q", p, id)
	}
	same := func(class, a, b string, want bool) {
		t.Helper()
		x, _ := h.Pseudonym("t", class, a, day)
		y, _ := h.Pseudonym("t", class, b, day)
		if (x == y) != want {
			t.Errorf("%s: %q and %q: same %v", class, a, b, x == y)
		}
	}
	same("ip", "203.0.113.9", "::ffff:203.0.113.9", true)
	same("ip", "203.0.113.9", "203.0.113.10", false)
	same("subject", "Ann@Example.com", "ann@example.com", true)
	same("subject", "AbC", "abc", false)
	if q, _ := h.Pseudonym("u", "ip", "203.0.113.9", day); q == p {
		t.Error("tenants share pseudonyms")
	}
	if q, _ := h.Pseudonym("t", "text", "203.0.113.9", day); q == p {
		t.Error("classes share pseudonyms")
	}
	a, _ := h.Pseudonym("t", "xy", "z", day)
	b, _ := h.Pseudonym("tx", "y", "z", day)
	c, _ := h.Pseudonym("t", "x", "yz", day)
	if a == b || a == c || b == c {
		t.Error("parts run into each other")
	}
	if q, _ := testKeys(t, 2).Hasher().Pseudonym("t", "ip", "203.0.113.9", day); q == p {
		t.Error("the key does not matter")
	}
}

func TestMemoDoesNotChangePseudonyms(t *testing.T) {
	k := testKeys(t, 2)
	if _, err := k.Rotate(nil, day); err != nil {
		t.Fatal(err)
	}
	warm := k.Hasher()
	size := 1 << memoSize
	kept := 0
	for i := range 3 * size {
		tenant, class, value := []string{"t", "u"}[i%2], []string{"subject", "text"}[i/2%2], fmt.Sprint("user-", i%(size+size/2))
		key := i / 4 % 2
		at := k.keys[key].NotBefore.Add(time.Hour)
		if p, _, _ := warm.memo.find(tenant, class, value, int32(key)); p != "" {
			kept++
		}
		got, _ := warm.Pseudonym(tenant, class, value, at)
		if want := string(warm.pseudonym(new([hashTextLen]byte), key, tenant, class, value)); got != want {
			t.Fatalf("%s %s %s: %s, want %s", tenant, class, value, got, want)
		}
	}
	if kept < size/4 {
		t.Errorf("of %d values %d were remembered", 3*size, kept)
	}
}

// Where two have one tag, the texts decide, whichever way they are cut.
func TestMemoTellsApartWhatHasOneTag(t *testing.T) {
	m := newMemo()
	place := &m.places[0]
	m.remember(place, 1, make([]byte, pseudonymLen), "tenant", "class", "value", 2)
	x := &place[0]
	if !x.is("tenant", "class", "value", 2) {
		t.Error("what is remembered is not found")
	}
	for _, other := range [][3]string{
		{"tenant", "class", "walue"}, {"tenant", "classy", "value"}, {"enant", "classt", "value"}, {"tenant", "lass", "valuec"}, {"tenant", "sclas", "value"}, {"", "class", "value"}, {"tenantx", "class", "value"},
	} {
		if x.is(other[0], other[1], other[2], 2) {
			t.Errorf("taken for %v", other)
		}
	}
	if x.is("tenant", "class", "value", 1) {
		t.Error("taken for that of another key")
	}
}

func TestRotationFollowsEventTime(t *testing.T) {
	k := testKeys(t, 1)
	first := k.Keys()[0].ID
	group := k.Hasher().GroupHash("t", "203.0.113.9")
	second, err := k.Rotate(rand.NewChaCha8([32]byte{3}), day)
	if err != nil {
		t.Fatal(err)
	}
	midnight := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	h := k.Hasher()
	for at, want := range map[time.Time]string{
		day: first, midnight.Add(-1): first, midnight: second, midnight.Add(time.Hour): second, {}: first,
	} {
		if _, id := h.Pseudonym("t", "ip", "203.0.113.9", at); id != want {
			t.Errorf("at %s: key %s, want %s", at, id, want)
		}
	}
	if h.GroupHash("t", "203.0.113.9") != group {
		t.Error("a rotation changes groups")
	}
	if _, err := k.Rotate(rand.NewChaCha8([32]byte{4}), day); err == nil {
		t.Error("two keys begin at the same time")
	}

	// A search by raw value finds what each key wrote, until one is destroyed.
	old, _ := h.Pseudonym("t", "ip", "203.0.113.9", day)
	found := k.Lookup("t", "ip", " ::ffff:203.0.113.9")
	if len(found) != 2 || found[0] != (Found{first, old}) || found[1].Key != second {
		t.Errorf("lookup: %+v", found)
	}
	if err := k.Destroy(first); err != nil {
		t.Fatal(err)
	}
	for _, f := range k.Lookup("t", "ip", "203.0.113.9") {
		if f.Hash == old {
			t.Error("a destroyed key still hashes")
		}
	}
	if _, id := k.Hasher().Pseudonym("t", "ip", "203.0.113.9", day); id != second {
		t.Errorf("late events of a destroyed key's time: %s", id)
	}
	if err := k.Destroy(second); err == nil {
		t.Error("the only key was destroyed")
	}
	if err := k.Destroy("nope"); err == nil {
		t.Error("an unknown key was destroyed")
	}
}

func TestGroupHashIsUnambiguous(t *testing.T) {
	h := testKeys(t, 1).Hasher()
	seen := map[[16]byte]string{}
	for _, parts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {"a", "b", ""}} {
		g := h.GroupHash("t", parts...)
		if prev, ok := seen[g]; ok {
			t.Errorf("%q and %s hash alike", parts, prev)
		}
		seen[g] = fmt.Sprintf("%q", parts)
	}
}

// What a group hashes to is in alert ids and in signals that wait: another version must not change it.
func TestGroupHashStays(t *testing.T) {
	h := testKeys(t, 1).Hasher()
	for _, c := range []struct{ tenant, part, want string }{
		{"acme", "203.0.113.9", "f1d414c362d1659aa26e01f5b96f83ce"}, {"acme", "203.0.113.10", "ac4d576bc22e29338e9a9f148c6b146c"}, {"other", "203.0.113.9", "85a3278f11e711c16947f34907d34e75"},
	} {
		if got := fmt.Sprintf("%x", h.GroupHash(c.tenant, "net.ip", c.part)); got != c.want {
			t.Errorf("%s %s hashes to %s, not %s", c.tenant, c.part, got, c.want)
		}
	}
}

// Whoever has not got the group key cannot tell what a hash is of, nor which two are equal.
func TestGroupHashIsKeyed(t *testing.T) {
	a, b := testKeys(t, 1), testKeys(t, 2)
	if bytes.Equal(a.group.b, b.group.b) {
		t.Fatal("the keys are equal")
	}
	if a.Hasher().GroupHash("t", "x") == b.Hasher().GroupHash("t", "x") {
		t.Error("the group key does not matter")
	}
	half := &Keyring{group: Secret{slices.Clone(a.group.b)}, keys: a.keys}
	half.group.b[31] ^= 1
	if a.Hasher().GroupHash("t", "x") == half.Hasher().GroupHash("t", "x") {
		t.Error("a bit of the group key does not matter")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := testKeys(t, 1)
	raw := fmt.Sprintf("%d", k.group.b)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", k.group, k.group, k.group, k.group), fmt.Sprintf("%v %+v", k.keys[0], k.keys)} {
		if strings.Contains(s, raw) || strings.Contains(s, fmt.Sprintf("%d", k.keys[0].Secret.b)) || !strings.Contains(s, "<redacted>") {
			t.Errorf("a secret prints: %s", s)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v", k, k, k); strings.Contains(s, raw) {
		t.Errorf("a keyring prints its secrets: %s", s)
	}
	if len(k.Keys()[0].Secret.b) != 0 {
		t.Error("Keys gives secrets away")
	}
}

// Pseudonyms of digests lie in one piece of memory; none may change when another is made.
func TestPseudonymsStay(t *testing.T) {
	k := testKeys(t, 1)
	h, got := k.Hasher(), []string{}
	for i := range 300 {
		p, _ := h.Pseudonym("t", "digest", fmt.Sprint(i), day)
		got = append(got, p)
	}
	for i, p := range got {
		if want := k.Lookup("t", "digest", fmt.Sprint(i))[0].Hash; p != want {
			t.Fatalf("%d: %s is not %s any more", i, p, want)
		}
	}
}
