package ingest

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const keysFormat = "picket.keys/1"

// Secret is key material. It prints as <redacted>, and only a key file's JSON holds it.
type Secret struct{ b []byte }

func (Secret) String() string   { return "<redacted>" }
func (Secret) GoString() string { return "<redacted>" }

// PseudonymKey hashes the values of events whose time is at or after NotBefore, until the
// NotBefore of the next key.
type PseudonymKey struct {
	ID        string
	Created   time.Time
	NotBefore time.Time
	Secret    Secret
}

// Keyring holds every key. It is read by many goroutines at once; Rotate and Destroy are
// for the commands that rewrite the file, before anybody else has it.
type Keyring struct {
	group Secret
	keys  []PseudonymKey // by NotBefore; never empty
}

// fmt does not ask unexported fields for their String.
func (*Keyring) String() string   { return "<keyring>" }
func (*Keyring) GoString() string { return "<keyring>" }

// NewKeyring makes a keyring with a group key and one pseudonym key, good for any time.
func NewKeyring(random io.Reader, now time.Time) (*Keyring, error) {
	g, err := newSecret(random)
	if err != nil {
		return nil, err
	}
	k := &Keyring{group: g}
	if _, err := k.add(random, now, time.Time{}); err != nil {
		return nil, err
	}
	return k, nil
}

func newSecret(random io.Reader) (Secret, error) {
	if random == nil {
		random = rand.Reader
	}
	b := make([]byte, 32)
	if _, err := io.ReadFull(random, b); err != nil {
		return Secret{}, fmt.Errorf("draw a key: %w", err)
	}
	return Secret{b}, nil
}

func (k *Keyring) add(random io.Reader, now, notBefore time.Time) (string, error) {
	name, err := newSecret(random)
	if err != nil {
		return "", err
	}
	s, err := newSecret(random)
	if err != nil {
		return "", err
	}
	id := "k" + strings.ToLower(base32.StdEncoding.EncodeToString(name.b[:5]))
	k.keys = append(k.keys, PseudonymKey{ID: id, Created: now.UTC().Truncate(time.Second), NotBefore: notBefore.UTC(), Secret: s})
	slices.SortStableFunc(k.keys, func(a, b PseudonymKey) int { return a.NotBefore.Compare(b.NotBefore) })
	return id, nil
}

// Rotate adds a pseudonym key for events from the next midnight UTC on: there is time
// to bring the file to every instance, and no two of them disagree about an event.
func (k *Keyring) Rotate(random io.Reader, now time.Time) (id string, err error) {
	next := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	for _, old := range k.keys {
		if old.NotBefore.Equal(next) {
			return "", fmt.Errorf("key %s begins at %s already", old.ID, next.Format(time.RFC3339))
		}
	}
	return k.add(random, now, next)
}

// Destroy forgets a pseudonym key: what it hashed can be joined, but never again be tied to
// a value. Late events of its time are hashed under the key before it, or the oldest left.
func (k *Keyring) Destroy(id string) error {
	i := slices.IndexFunc(k.keys, func(p PseudonymKey) bool { return p.ID == id })
	switch {
	case i < 0:
		return fmt.Errorf("there is no key %q", id)
	case len(k.keys) == 1:
		return fmt.Errorf("%s is the only key: rotate first, and destroy it when the new one is in force", id)
	}
	clear(k.keys[i].Secret.b)
	k.keys = slices.Delete(k.keys, i, i+1)
	return nil
}

// Keys lists the pseudonym keys, oldest first, without their secrets.
func (k *Keyring) Keys() []PseudonymKey {
	out := slices.Clone(k.keys)
	for i := range out {
		out[i].Secret = Secret{}
	}
	return out
}

// InForce is the id of the key that events of a time get their pseudonyms under.
func (k *Keyring) InForce(t time.Time) string { return k.keys[k.at(t)].ID }

// at is the index of the key in force at a time.
func (k *Keyring) at(t time.Time) int {
	for i := len(k.keys) - 1; i > 0; i-- {
		if !t.Before(k.keys[i].NotBefore) {
			return i
		}
	}
	return 0
}

type keyFile struct {
	Format string     `json:"format"`
	Group  []byte     `json:"group_key"`
	Keys   []keyEntry `json:"pseudonym_keys"`
}

type keyEntry struct {
	ID        string    `json:"id"`
	Created   time.Time `json:"created"`
	NotBefore time.Time `json:"not_before"`
	Secret    []byte    `json:"secret"`
}

// LoadKeyring reads a key file. It refuses one that others can read.
func LoadKeyring(path string) (*Keyring, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read keys: %s does not exist; make it with: picket keys new %s: %w", path, path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read keys: %s is not a regular file", path)
	}
	if p := info.Mode().Perm(); p != closed(p, mine(info)) {
		return nil, fmt.Errorf("read keys: %s can be read or written by others (mode %04o%s); run: chmod %o %s", path, p, owner(info), closed(p, mine(info)), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	k, err := parseKeyring(b)
	if err != nil {
		return nil, fmt.Errorf("read keys: %s: %w", path, err)
	}
	return k, nil
}

// closed is a file's mode without what lets in more people than who runs Picket. A file of somebody else's
// is read through its group: so are Kubernetes' secrets, and systemd's credentials.
func closed(p fs.FileMode, mine bool) fs.FileMode {
	if mine {
		return p &^ 0o077
	}
	return p &^ 0o037
}

func parseKeyring(b []byte) (*Keyring, error) {
	var f keyFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, errors.New("not a key file of Picket: put your copy of it back; new keys (picket keys new, once this file is moved away) make every pseudonym another one") // err could quote key material
	}
	if f.Format != keysFormat {
		return nil, fmt.Errorf("format is not %q", keysFormat)
	}
	if len(f.Group) != 32 {
		return nil, errors.New("group_key must be 32 bytes in base64")
	}
	if len(f.Keys) == 0 {
		return nil, errors.New("there is no pseudonym key")
	}
	k := &Keyring{group: Secret{f.Group}}
	seen := map[string]bool{}
	for i, e := range f.Keys {
		switch {
		case !isKeyID(e.ID) || len(e.ID) > 32:
			return nil, fmt.Errorf("pseudonym_keys[%d]: id must be 1 to 32 of a-z, A-Z, 0-9, _ . -", i)
		case seen[e.ID]:
			return nil, fmt.Errorf("pseudonym_keys[%d]: id %s appears twice", i, e.ID)
		case len(e.Secret) != 32:
			return nil, fmt.Errorf("pseudonym_keys[%d]: secret must be 32 bytes in base64", i)
		case bytes.Equal(e.Secret, f.Group):
			return nil, fmt.Errorf("pseudonym_keys[%d]: secret is the group key; they must differ", i)
		}
		seen[e.ID] = true
		k.keys = append(k.keys, PseudonymKey{ID: e.ID, Created: e.Created, NotBefore: e.NotBefore, Secret: Secret{e.Secret}})
	}
	slices.SortStableFunc(k.keys, func(a, b PseudonymKey) int { return a.NotBefore.Compare(b.NotBefore) })
	return k, nil
}

func (k *Keyring) marshal() ([]byte, error) {
	f := keyFile{Format: keysFormat, Group: k.group.b}
	for _, e := range k.keys {
		f.Keys = append(f.Keys, keyEntry{ID: e.ID, Created: e.Created, NotBefore: e.NotBefore, Secret: e.Secret.b})
	}
	b, err := json.MarshalIndent(f, "", "  ")
	return append(b, '\n'), err
}

// WriteNew writes the keyring to a file that does not exist yet, for its owner only.
func (k *Keyring) WriteNew(path string) error {
	b, err := k.marshal()
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write keys: %s exists; keys are never overwritten, a lost key cannot be made again: %w", path, fs.ErrExist)
	}
	if err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write keys: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Replace writes the keyring over its file, whole or not at all.
func (k *Keyring) Replace(path string) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write keys: %w", err)
	}
	if err := k.WriteNew(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write keys: %w", errors.Join(err, os.Remove(tmp)))
	}
	return nil
}
