package config

import (
	"crypto/tls"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
	"picket/detect/secret"
)

const redacted = "<redacted>" // what stands for a secret that a file shows

// Secret is a secret.Value that a configuration can hold.
type Secret struct{ secret.Value }

// NewSecret hides value; "" is no secret.
func NewSecret(value string) Secret { return Secret{secret.New(value)} }

// DecodeNode takes any plain value as it is written, so that a password of
// digits needs no quotes, and never shows what it found.
func (s *Secret) DecodeNode(d *diag.Ctx, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		d.Errorf(n, "expected text, found more than one value")
		return
	}
	if n.ShortTag() == "!!null" {
		d.Report(n, "expected text, found nothing", "leave the option out, or quote a value that starts with #")
		return
	}
	*s = NewSecret(n.Value)
}

// Size is a number of bytes, written with its unit.
type Size int64

var (
	sizePattern = regexp.MustCompile(`^([0-9]+) ?([A-Za-z]*)$`)
	sizeUnits   = map[string]int64{
		"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}
)

// UnmarshalText reads sizes such as 32MiB.
func (s *Size) UnmarshalText(text []byte) error {
	m := sizePattern.FindStringSubmatch(string(text))
	if m == nil {
		return fmt.Errorf("expected a size such as 32MiB, found %q", text)
	}
	unit, ok := sizeUnits[m[2]]
	if m[2] == "" {
		return fmt.Errorf("expected a size such as 32MiB, found %s (write the unit: B, KiB, MiB or GiB)", text)
	}
	if !ok {
		return fmt.Errorf("unknown unit %q (write B, KiB, MiB or GiB)", m[2])
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return fmt.Errorf("%s is out of range", text)
	}
	*s = Size(n * unit)
	return nil
}

func (s Size) String() string {
	for _, u := range []string{"GiB", "MiB", "KiB"} {
		if unit := Size(sizeUnits[u]); s >= unit && s%unit == 0 {
			return strconv.FormatInt(int64(s/unit), 10) + u
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText is the form that UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// TLSVersion is a version as crypto/tls numbers it.
type TLSVersion uint16

// The versions that Picket may be told to accept.
const (
	TLS12 TLSVersion = tls.VersionTLS12
	TLS13 TLSVersion = tls.VersionTLS13
)

// UnmarshalText reads 1.2 or 1.3, quoted or not.
func (v *TLSVersion) UnmarshalText(text []byte) error {
	switch string(text) {
	case "1.2":
		*v = TLS12
	case "1.3":
		*v = TLS13
	default:
		return fmt.Errorf("unknown TLS version %q (write 1.2 or 1.3)", text)
	}
	return nil
}

func (v TLSVersion) String() string {
	if v == TLS12 {
		return "1.2"
	}
	return "1.3"
}

// MarshalText is the form that UnmarshalText reads.
func (v TLSVersion) MarshalText() ([]byte, error) { return []byte(v.String()), nil }
