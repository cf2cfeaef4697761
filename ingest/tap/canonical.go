package tap

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
)

// canonical writes JSON as RFC 8785 (JCS) has it, so that the same value has
// the same bytes whoever wrote it: keys by UTF-16 code units, numbers as
// ECMAScript prints them, no space.
func canonical(raw []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("canonicalise: %w", err)
	}
	return appendCanonical(nil, v), nil
}

func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return appendNumber(b, v)
	case string:
		return appendString(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, e)
		}
		return append(b, ']')
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(a, b string) int {
			return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		})
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, k)
			b = append(b, ':')
			b = appendCanonical(b, v[k])
		}
		return append(b, '}')
	}
	return b
}

func appendNumber(b []byte, n json.Number) []byte {
	f, err := n.Float64()
	if err != nil { // beyond a double: its digits are all there is to go by
		return append(b, n...)
	}
	if f == 0 {
		return append(b, '0')
	}
	if abs := math.Abs(f); abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	s := strconv.AppendFloat(nil, f, 'e', -1, 64)
	// Go pads the exponent to two digits, ECMAScript does not.
	if i := bytes.IndexByte(s, 'e'); i >= 0 && len(s) == i+4 && s[i+2] == '0' {
		s = append(s[:i+2], s[i+3])
	}
	return append(b, s...)
}

func appendString(b []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// definitionHash identifies what a tool says about itself; absent members are left out.
func definitionHash(tool map[string]json.RawMessage) (string, error) {
	def := make(map[string]json.RawMessage, 6)
	for _, k := range []string{"name", "title", "description", "inputSchema", "outputSchema", "annotations"} {
		if v, ok := tool[k]; ok {
			def[k] = v
		}
	}
	raw, err := json.Marshal(def)
	if err != nil {
		return "", fmt.Errorf("hash tool definition: %w", err)
	}
	c, err := canonical(raw)
	if err != nil {
		return "", fmt.Errorf("hash tool definition: %w", err)
	}
	sum := sha256.Sum256(c)
	return hex.EncodeToString(sum[:]), nil
}

// digest is keyed, or empty: an unkeyed digest of a short value can be reversed by trying.
func digest(key, raw []byte) string {
	if len(key) == 0 || len(raw) == 0 {
		return ""
	}
	c, err := canonical(raw)
	if err != nil {
		return ""
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(c)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
