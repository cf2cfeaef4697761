package tap

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
)

// depthOf is how deep valid JSON nests.
func depthOf(raw []byte) int {
	deepest, depth := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}

var errTrailing = errors.New("more than one JSON value on a line")

// object reads the members of one JSON object: names as they are (no case
// folding), the last of two equal names, as JavaScript and Python servers do.
func object(raw []byte) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	return m, nil
}

// elements splits a batch; one that is too long is cut, which the count shows.
func elements(raw []byte, most int) (list []json.RawMessage, more int, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, 0, err
	}
	for dec.More() {
		var e json.RawMessage
		if err := dec.Decode(&e); err != nil {
			return list, more, err
		}
		if len(list) < most {
			list = append(list, e)
		} else {
			more++
		}
	}
	if _, err := dec.Token(); err != nil {
		return list, more, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return list, more, errTrailing
	}
	return list, more, nil
}

var (
	tailID = regexp.MustCompile(`[,{]\s*"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)\s*(?:,\s*"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*)*\}\s*$`)

	headKeys = map[string]bool{"id": true, "method": true}
)

// glimpse reads what can be known of a message that was too long to keep: the
// members before the long one, and an id at its very end.
func glimpse(m *message) (env map[string]json.RawMessage, name, uri string) {
	env = map[string]json.RawMessage{}
	dec := json.NewDecoder(bytes.NewReader(m.head))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return env, "", ""
	}
	for dec.More() {
		t, err := dec.Token()
		k, ok := t.(string)
		if err != nil || !ok {
			break
		}
		switch {
		case headKeys[k]:
			var v json.RawMessage
			if dec.Decode(&v) != nil {
				return env, name, uri
			}
			env[k] = v
		case k == "params":
			env[k] = nil
			if !glimpseParams(dec, &name, &uri) {
				return withTail(env, m), name, uri
			}
		default:
			env[k] = nil
			if skip(dec) != nil {
				return withTail(env, m), name, uri
			}
		}
	}
	return withTail(env, m), name, uri
}

func withTail(env map[string]json.RawMessage, m *message) map[string]json.RawMessage {
	if _, ok := env["id"]; ok {
		return env
	}
	end := m.tail
	if len(end) < tailBytes { // the end may begin in the head
		end = append(bytes.Clone(m.head[max(0, len(m.head)-tailBytes):]), end...)
	}
	if g := tailID.FindSubmatch(end); g != nil {
		env["id"] = json.RawMessage(g[1])
	}
	return env
}

func glimpseParams(dec *json.Decoder, name, uri *string) bool {
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	for dec.More() {
		t, err := dec.Token()
		k, _ := t.(string)
		if err != nil {
			return false
		}
		if k == "name" || k == "uri" {
			var s string
			if dec.Decode(&s) != nil {
				return false
			}
			if k == "name" {
				*name = s
			} else {
				*uri = s
			}
			continue
		}
		if skip(dec) != nil {
			return false
		}
	}
	_, err := dec.Token()
	return err == nil
}

// skip passes over one value.
func skip(dec *json.Decoder) error {
	for depth := 0; ; {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
