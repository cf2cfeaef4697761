package tap

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The official filesystem server, for real. What it says is kept in
// testdata/filesystem.jsonl (go test -run FilesystemServer -record writes it),
// so that the same expectations hold where Node.js is missing.
const (
	filesystemPackage = "@modelcontextprotocol/server-filesystem"
	filesystemVersion = "2026.8.31"
	filesystemFixture = "testdata/filesystem.jsonl"
	fixtureRoot       = "/srv/notes"
)

var record = flag.Bool("record", false, "write "+filesystemFixture+" from the real server")

// The session, and what its events say: type outcome reason tool perm.resource. ROOT is the directory that is allowed.
var filesystemSession = []struct {
	request string
	events  []string
}{
	{`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"desk","version":"3"}}}`, []string{"discovery success"}},
	{`{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil},
	{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, []string{"discovery success", "tool_definition success read_text_file"}},
	{toolCall(2, "list_directory", `{"path":"ROOT"}`), []string{"tool_call success list_directory"}},
	{toolCall(3, "read_text_file", `{"path":"ROOT/todo.txt"}`), []string{"tool_call success read_text_file"}},
	{toolCall(4, "write_file", `{"path":"ROOT/new.txt","content":"x"}`), []string{"tool_call success write_file"}},
	{toolCall(5, "read_text_file", `{"path":"ROOT/../../../../../../etc/passwd"}`), []string{
		"tool_call denied path_outside_root read_text_file", "authorization denied path_outside_root read_text_file ROOT/../../../../../../etc/passwd",
	}},
	{toolCall(6, "read_text_file", `{"path":"/etc/shadow"}`), []string{
		"tool_call denied path_outside_root read_text_file", "authorization denied path_outside_root read_text_file /etc/shadow",
	}},
	{toolCall(7, "read_text_file", `{"path":"ROOT/link"}`), []string{
		"tool_call denied path_outside_root read_text_file", "authorization denied path_outside_root read_text_file ROOT/link",
	}},
	{toolCall(8, "move_file", `{"source":"ROOT/todo.txt","destination":"/var/loot.txt"}`), []string{
		"tool_call denied path_outside_root move_file", "authorization denied path_outside_root move_file /var/loot.txt",
	}},
	{toolCall(9, "read_multiple_files", `{"paths":["ROOT/todo.txt","/etc/hosts"]}`), []string{
		"tool_call success read_multiple_files", "authorization denied path_outside_root read_multiple_files /etc/hosts",
	}},
	{toolCall(10, "read_text_file", `{"path":"C:\\Windows\\win.ini"}`), []string{
		"tool_call denied policy_denied read_text_file", "authorization denied policy_denied read_text_file C:\\Windows\\win.ini",
	}},
	{toolCall(11, "no_such_tool", `{}`), []string{"tool_call failure unknown_tool no_such_tool"}},
	{toolCall(12, "read_text_file", `{}`), []string{"tool_call failure invalid_params read_text_file"}},
	{toolCall(13, "read_text_file", `{"path":"ROOT/missing"}`), []string{"tool_call failure tool_error read_text_file"}},
	{`{"jsonrpc":"2.0","id":14,"method":"admin/dump"}`, []string{"error error unknown_method"}},
	{toolCall(15, "read_text_file", `{"path":"ROOT/.env"}`), []string{"tool_call success read_text_file"}},
}

func toolCall(id int, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, tool, args)
}

func checkFilesystem(t *testing.T, list []event, root string) {
	t.Helper()
	var got, want []string
	definitions := 0
	for _, e := range list {
		if e.Type == "heartbeat" {
			continue
		}
		if e.Type == "tool_definition" {
			if definitions++; len(e.MCP.DefinitionHash) != 64 || len(e.IO.Result) == 0 {
				t.Errorf("definition of %s: %+v", e.MCP.Tool, e.IO)
			}
			if e.MCP.Tool != "read_text_file" {
				continue
			}
		}
		words := []string{e.Type, e.Outcome, e.Reason, e.MCP.Tool}
		if e.Perm != nil {
			if e.Perm.Source != "tool_text" || e.Perm.Action != e.MCP.Tool {
				t.Errorf("perm: %+v", e.Perm)
			}
			words = append(words, strings.ReplaceAll(e.Perm.Resource, root, "ROOT"))
		}
		got = append(got, strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " "))
		if e.Server.Name != "secure-filesystem-server" || e.MCP.ProtocolVersion != "2025-06-18" {
			t.Errorf("%s: %+v, protocol %s", e.Type, e.Server, e.MCP.ProtocolVersion)
		}
	}
	for _, s := range filesystemSession {
		want = append(want, s.events...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if definitions < 10 {
		t.Errorf("%d tool definitions", definitions)
	}
}

func TestFilesystemFixture(t *testing.T) {
	f, err := os.Open(filesystemFixture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := newLines(t, nil)
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var line struct {
			From string
			Line json.RawMessage
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.From == "client" {
			l.client(string(line.Line))
		} else {
			l.server(string(line.Line))
		}
	}
	checkFilesystem(t, l.events(), fixtureRoot)
}

func TestFilesystemServer(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches the server with npm; TestFilesystemFixture checks a recorded run of it")
	}
	server := filesystemServer(t)
	root := filepath.Join(t.TempDir(), "notes")
	for name, text := range map[string]string{"todo.txt": "milk", ".env": "TOKEN=canary", "../outside.txt": "x"} {
		if err := os.MkdirAll(root, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, "../outside.txt"), filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}

	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	sink := &memorySink{}
	var stderr bytes.Buffer
	done := make(chan int, 1)
	tap, err := New(Options{
		Command: []string{"node", server, root}, Stdin: stdin, Stdout: stdout, Stderr: &stderr, Signals: make(chan os.Signal), Sink: sink,
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer stdout.Close()
		code, err := tap.Run(t.Context())
		if err != nil {
			t.Error(err)
		}
		done <- code
	}()
	var kept bytes.Buffer
	keep := func(from, line string) {
		line = strings.ReplaceAll(strings.TrimSpace(line), filepath.Dir(root), filepath.Dir(fixtureRoot))
		fmt.Fprintf(&kept, "{\"from\":%q,\"line\":%s}\n", from, line)
	}
	answers := bufio.NewReader(out)
	for _, s := range filesystemSession {
		line := strings.ReplaceAll(s.request, "ROOT", root)
		keep("client", line)
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, `"id"`) {
			answer, err := answers.ReadString('\n')
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			keep("server", answer)
		}
	}
	in.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(stderr.String(), "running on stdio") {
		t.Errorf("stderr: %q", stderr.String())
	}
	checkFilesystem(t, events(t, sink.all()), root)
	if *record {
		if err := os.WriteFile(filesystemFixture, kept.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// filesystemServer installs the server once for all runs, with the user's own npm settings.
func filesystemServer(t *testing.T) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing("the official filesystem server needs %s: %v", tool, err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	dir := filepath.Join(cache, "picket", "mcp-server-filesystem-"+filesystemVersion)
	server := filepath.Join(dir, "node_modules", filesystemPackage, "dist", "index.js")
	if _, err := os.Stat(server); err == nil {
		return server
	}
	npm := exec.Command("npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--prefer-offline", filesystemPackage+"@"+filesystemVersion)
	if out, err := npm.CombinedOutput(); err != nil {
		missing("npm install %s: %v\n%s", filesystemPackage, err, out)
	}
	return server
}
