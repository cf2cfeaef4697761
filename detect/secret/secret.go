// Package secret holds values that must not be printed. It lies below every
// package that has credentials, beside package diag, because imports point
// inward and none of those packages knows another.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "<redacted>"

// Value is a password, a token, or a URL that contains one. Every formatter,
// encoder and logger shows <redacted>, also of a Value in an unexported field,
// where methods are not called: hence the pointer. Reveal is the only way in.
type Value struct{ s *string }

// New hides s; "" is no secret.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{&s}
}

// IsSet reports whether there is a secret.
func (v Value) IsSet() bool { return v.s != nil }

// Reveal returns the secret, for the one place that sends it.
func (v Value) Reveal() string {
	if v.s == nil {
		return ""
	}
	return *v.s
}

func (v Value) String() string {
	if v.s == nil {
		return ""
	}
	return redacted
}

// Format keeps every verb, also %#v and %x, from the secret.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue is what slog writes.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText is what JSON and others write.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// MarshalYAML is what YAML writes.
func (v Value) MarshalYAML() (any, error) { return v.String(), nil }
