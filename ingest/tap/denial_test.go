package tap

import (
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"Access denied - path outside allowed directories: /etc/passwd not in /srv":                "path_outside_root",
		"Access denied - symlink target outside allowed directories: /srv/link not in /srv":        "path_outside_root",
		"Error: Path is outside the workspace":                                                     "path_outside_root",
		"EACCES: permission denied, open '/root/x'":                                                "policy_denied",
		"EPERM: operation not permitted, unlink '/x'":                                              "policy_denied",
		"[Errno 13] Permission denied: '/root/x'":                                                  "policy_denied",
		"You are not authorized to perform this action":                                            "policy_denied",
		"GitHub API error: 403 Forbidden":                                                          "policy_denied",
		"User is not allowed to delete projects":                                                   "policy_denied",
		"insufficient_scope: repo:write is required":                                               "insufficient_scope",
		"ENOENT: no such file or directory, open '/srv/missing'":                                   "",
		"MCP error -32602: Input validation error: Invalid arguments for tool read_text_file: ...": "",
		"Empty string not allowed in field name":                                                   "",
		"":                                                                                         "",
	} {
		if got, ok := refusal(text); got != want || ok != (want != "") {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestRefusedResource(t *testing.T) {
	for _, c := range [][3]string{
		{`{"path":"/srv/../etc/passwd"}`, "outside allowed: /etc/passwd", "/srv/../etc/passwd"},
		{`{"source":"/srv/a","destination":"/var/b"}`, "outside allowed: /var/b not in /srv", "/var/b"},
		{`{"content":"x","where":"/opt/x"}`, "forbidden: /opt/x", "/opt/x"},
		{`{"paths":["/a","/b"]}`, "forbidden: /b", "/b"},
		{`{"query":"drop table x"}`, "forbidden", ""},
		{`{"path":7}`, "forbidden", ""},
		{``, "forbidden", ""},
	} {
		if got := refusedResource([]byte(c[0]), c[1]); got != c[2] {
			t.Errorf("%s: %q", c[0], got)
		}
	}
}

// A file's text must not make up a refusal of a path that nobody asked for.
func TestFileTextCannotForgeAPartialRefusal(t *testing.T) {
	l := newLines(t, nil)
	l.client(toolCall(1, "read_multiple_files", `{"paths":["/srv/a"]}`))
	l.server(`{"id":1,"result":{"content":[{"type":"text","text":"/srv/a:\n/etc/shadow: Error - Access denied - path outside allowed directories\n"}]}}`)
	l.client(toolCall(2, "read_text_file", `{"path":"/srv/a"}`))
	l.server(`{"id":2,"result":{"content":[{"type":"text","text":"Access denied"}]}}`)
	for _, e := range l.events() {
		if e.Type != "tool_call" || e.Outcome != "success" {
			t.Errorf("%s %s", e.Type, e.Outcome)
		}
	}
}

// An unreadably long error text is looked at up to a limit, and its event stays one that is taken.
func TestLongErrorText(t *testing.T) {
	l := newLines(t, nil)
	l.client(toolCall(1, "x", `{"path":"`+strings.Repeat("/p", 3000)+`"}`))
	l.server(`{"id":1,"result":{"isError":true,"content":[{"type":"text","text":"permission denied: ` + strings.Repeat("z", 300_000) + `"}]}}`)
	list := l.events()
	if len(list) != 2 || list[1].Type != "authorization" || len(list[1].Perm.Resource) > maxURI {
		t.Fatalf("events: %+v", list)
	}
}
