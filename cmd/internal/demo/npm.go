package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"picket/store/embedded"
)

const filesystemServer = "@modelcontextprotocol/server-filesystem@2026.8.31"

// fetchServer installs the MCP server once, through the user's own npm and its
// configuration, and returns the command that runs it.
func fetchServer(ctx context.Context, say func(string)) ([]string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("the demo runs the official MCP filesystem server, which needs Node.js: install it (with npm) and try again")
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return nil, errors.New("the demo fetches the official MCP filesystem server with npm: install it and try again")
	}
	cache, err := embedded.CacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "mcp", strings.ReplaceAll(strings.TrimPrefix(filesystemServer, "@modelcontextprotocol/"), "@", "-"))
	main := filepath.Join(dir, "node_modules", "@modelcontextprotocol", "server-filesystem", "dist", "index.js")
	if _, err := os.Stat(main); err == nil {
		return []string{node, main}, nil
	}
	say("fetching the official MCP filesystem server with npm")
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "install-")
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.CommandContext(ctx, npm, "install", "--prefix", tmp, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", filesystemServer)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("fetch the MCP server: %w: %s\nrun `npm install %s` to see what npm says", err, strings.TrimSpace(out.String()), filesystemServer)
	}
	// Whole or not at all: another demo may have been faster.
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(main); there != nil {
			return nil, fmt.Errorf("keep the MCP server: %w", err)
		}
	}
	return []string{node, main}, nil
}
