package tap

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What error texts say. Servers answer a refused call with a successful
// response, isError set, and prose; the first row that matches wins.
var refusals = []struct {
	reason string
	text   *regexp.Regexp
}{
	{"path_outside_root", regexp.MustCompile(`(?i)outside (of )?(the |your |its |any )?(allowed|permitted|configured|workspace|project|sandbox|root|base)|not (with)?in (the |any )?(allowed|permitted) (director|path|root)|path traversal|escapes (the )?(root|sandbox|workspace|base)`)},
	{"insufficient_scope", regexp.MustCompile(`(?i)insufficient[ _](scope|permission|privilege|access)|missing (the )?(required )?(scope|permission)`)},
	{"policy_denied", regexp.MustCompile(`(?i)access (is |was )?denied|permission denied|\bEACCES\b|\bEPERM\b|operation not permitted|not (authori[sz]ed|permitted|allowed) to\b|not authori[sz]ed|unauthori[sz]ed|\bforbidden\b|denied by (policy|rule|guardrail|administrator)|blocked by (policy|rule|guardrail)`)},
}

// What else an error text may be, where nothing was refused.
var failures = []struct {
	reason string
	text   *regexp.Regexp
}{
	{"unknown_tool", regexp.MustCompile(`(?i)unknown tool|tool .{0,256}?not found|no such tool`)},
	{"unknown_method", regexp.MustCompile(`(?i)unknown method|method .{0,256}?not found|method not found|no such method`)},
	{"rate_limited", regexp.MustCompile(`(?i)rate.?limit|too many requests|\bquota exceeded`)},
	{"timeout", regexp.MustCompile(`(?i)\btimed? ?out\b|\bETIMEDOUT\b|deadline exceeded`)},
	{"invalid_params", regexp.MustCompile(`(?i)input validation error|invalid (arguments|params|parameters)`)},
}

const maxErrorText = 8 << 10

// refusal says whether an error text is one, and of what sort.
func refusal(text string) (reason string, ok bool) {
	for _, r := range refusals {
		if r.text.MatchString(text) {
			return r.reason, true
		}
	}
	return "", false
}

func failure(text string) string {
	for _, f := range failures {
		if f.text.MatchString(text) {
			return f.reason
		}
	}
	return ""
}

var codeInText = regexp.MustCompile(`^(?:MCP|JSON-RPC) error (-3[0-9]{4})\b`)

// errorCode reads the protocol code that SDKs put in front of an error text.
func errorCode(text string) *int64 {
	if m := codeInText.FindStringSubmatch(text); m != nil {
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil {
			return &n
		}
	}
	return nil
}

// codeReasons are the protocol's own codes; texts refine them.
var codeReasons = map[int64]string{
	-32700: "parse_error", -32600: "invalid_request", -32601: "unknown_method", -32602: "invalid_params", -32603: "internal_error",
	-32002: "resource_not_found", -32042: "elicitation_required",
	-32020: "header_mismatch", -32021: "missing_client_capability", -32022: "unsupported_version",
}

// contentText joins the text blocks of a tool result, up to a length.
func contentText(content json.RawMessage, most int) string {
	var blocks []json.RawMessage
	if json.Unmarshal(content, &blocks) != nil {
		return ""
	}
	var b strings.Builder
	for _, raw := range blocks {
		block, err := object(raw)
		if err != nil {
			continue
		}
		if t := str(block["text"]); t != "" {
			b.WriteString(clip(t, most))
			b.WriteByte('\n')
		}
		if b.Len() > most {
			break
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// pathKeys are argument names that hold a place, most telling first.
var pathKeys = []string{"path", "file_path", "filepath", "filename", "file", "uri", "url", "source", "destination", "directory", "dir", "folder", "target", "root", "paths"}

// refusedResource is the argument that the refusal is about: the one that the
// text names, or the first that is named like a place.
func refusedResource(args json.RawMessage, text string) string {
	members, err := object(args)
	if err != nil {
		return ""
	}
	var places []string
	for _, k := range pathKeys {
		places = append(places, oneOrMore(members[k])...)
	}
	for _, p := range places {
		if named(p, text) {
			return clip(p, maxURI)
		}
	}
	if len(places) > 0 {
		return clip(places[0], maxURI)
	}
	var others []string
	for k, v := range members {
		if !slices.Contains(pathKeys, k) {
			others = append(others, oneOrMore(v)...)
		}
	}
	slices.Sort(others)
	for _, p := range others {
		if strings.ContainsAny(p, `/\`) && named(p, text) {
			return clip(p, maxURI)
		}
	}
	return ""
}

func named(p, text string) bool {
	return p != "" && (strings.Contains(text, p) || strings.Contains(text, path.Clean(p)))
}

func oneOrMore(raw json.RawMessage) []string {
	if s := str(raw); s != "" {
		return []string{s}
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return list
}

// partial finds the refused paths in a result that is not an error as a whole:
// the filesystem server's read_multiple_files reports each path on its own.
// Only paths that were asked for count, so that a file cannot make them up.
func partial(tool string, args json.RawMessage, text string) (paths []string, reason string) {
	if tool != "read_multiple_files" {
		return nil, ""
	}
	members, err := object(args)
	if err != nil {
		return nil, ""
	}
	for _, p := range oneOrMore(members["paths"]) {
		_, after, ok := strings.Cut(text, p+": Error - ")
		if !ok {
			continue
		}
		line, _, _ := strings.Cut(after, "\n")
		if r, denied := refusal(line); denied && len(paths) < 16 {
			paths, reason = append(paths, clip(p, maxURI)), r
		}
	}
	return paths, reason
}

func str(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
