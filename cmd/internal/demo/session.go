package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// makeRoot fills the folder that the filesystem server may serve.
func makeRoot(root string) error {
	files := map[string]string{
		"README.md":      "# Team notes\n",
		"notes/today.md": "- [ ] call the printer\n",
		CanaryFile:       "Draft: " + CanaryText + "\n",
		".env":           "AWS_ACCESS_KEY_ID=" + CanarySecret + "\nDB_HOST=db\n",
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// step is one call of the session, and what a person would say it does.
type step struct {
	what string
	tool string
	args map[string]any
	bad  bool
}

// steps are a realistic session: work, and then an agent that was talked into more.
func steps(root string) []step {
	in := func(name string) string { return filepath.Join(root, name) }
	return []step{
		{"lists the folder", "list_directory", map[string]any{"path": root}, false},
		{"reads a note", "read_text_file", map[string]any{"path": in(CanaryFile)}, false},
		{"writes a note", "write_file", map[string]any{"path": in("notes/minutes.md"), "content": "Remember: " + CanaryText}, false},
		{"reads it back", "read_text_file", map[string]any{"path": in("notes/minutes.md")}, false},
		{"climbs out of the root with ../", "read_text_file", map[string]any{"path": root + "/../../../etc/hostname"}, true},
		{"asks for /etc/shadow", "read_text_file", map[string]any{"path": "/etc/shadow"}, true},
		{"asks for a private key", "read_text_file", map[string]any{"path": CanaryHome + "/.ssh/id_ed25519"}, true},
		{"asks for /etc/shadow again", "read_text_file", map[string]any{"path": "/etc/shadow"}, true},
		{"reads the .env inside the root", "read_text_file", map[string]any{"path": in(".env")}, true},
		{"puts SQL into a search", "search_files", map[string]any{"path": root, "pattern": CanarySQL}, true},
		{"puts a shell command into a name", "search_files", map[string]any{"path": root, "pattern": CanaryShell}, true},
	}
}

// converse runs the session against the filesystem server under the tap, as an
// agent's runtime would start it.
func converse(ctx context.Context, tap []string, tapErr io.Writer, root string, say func(step)) error {
	client := mcp.NewClient(&mcp.Implementation{Name: "picket-demo", Version: "1"}, nil)
	cmd := exec.Command(tap[0], tap[1:]...)
	cmd.Stderr = tapErr
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		return fmt.Errorf("start the MCP server under the tap: %w", err)
	}
	defer session.Close()
	if _, err := session.ListTools(ctx, nil); err != nil {
		return fmt.Errorf("list the server's tools: %w", err)
	}
	for _, s := range steps(root) {
		say(s)
		// Denials come back as results whose isError is true: the call itself succeeds.
		if _, err := session.CallTool(ctx, &mcp.CallToolParams{Name: s.tool, Arguments: s.args}); err != nil {
			return fmt.Errorf("call %s: %w", s.tool, err)
		}
	}
	return session.Close()
}
