package embedded

import (
	"fmt"
	"slices"
	"strings"
)

// session is a connection together with what its settings are between two requests. A
// request changes settings with SET, and the session puts them back: HTTP has no state,
// and one client's settings must not reach the next.
type session struct {
	*conn
	base     map[string]string // what differs from ClickHouse's defaults
	database string
}

// Setting is one name and value, as in a URL or a SET statement.
type Setting struct{ Name, Value string }

func newSession(c *conn, base []Setting) (*session, error) {
	s := &session{conn: c, database: "default"}
	if err := s.set(base); err != nil {
		return nil, err
	}
	var out strings.Builder
	if _, err := c.run(&out, "SELECT name, hex(value) FROM system.settings WHERE changed", "TSV", nil); err != nil {
		return nil, err
	}
	s.base = map[string]string{}
	for line := range strings.Lines(out.String()) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		var raw []byte
		if _, err := fmt.Sscanf(value, "%x", &raw); err != nil && value != "" {
			return nil, fmt.Errorf("read setting %s: %w", name, err)
		}
		s.base[name] = string(raw)
	}
	return s, nil
}

func (s *session) set(settings []Setting) error {
	if len(settings) == 0 {
		return nil
	}
	return s.exec("SET " + assign(settings))
}

// assign writes settings as SET and SETTINGS have them.
func assign(settings []Setting) string {
	parts := make([]string, len(settings))
	for i, kv := range settings {
		parts[i] = quoteName(kv.Name) + " = " + quote(kv.Value)
	}
	return strings.Join(parts, ", ")
}

// with runs do with the given settings and database in force.
func (s *session) with(database string, settings []Setting, do func() error) error {
	if database != s.database {
		if err := s.exec("USE " + quoteName(database)); err != nil {
			return err
		}
		s.database = database
	}
	err := s.set(settings)
	if err == nil {
		err = do()
	}
	names := make([]string, len(settings))
	for i, kv := range settings {
		names[i] = kv.Name
	}
	s.restore(names)
	return err
}

// restore puts settings back. A name that never existed cannot be put back and was
// never changed, so then each is tried alone.
func (s *session) restore(names []string) {
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	names = slices.Compact(names)
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = quoteName(name) + " = DEFAULT"
		if v, ok := s.base[name]; ok {
			parts[i] = quoteName(name) + " = " + quote(v)
		}
	}
	if s.exec("SET "+strings.Join(parts, ", ")) == nil {
		return
	}
	for _, p := range parts {
		_ = s.exec("SET " + p)
	}
}
