package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Set by the linker (see the Makefile), which can set package variables only.
var version, commit, date string

// versionInfo is what `picket version --json` prints.
type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"` // of the commit
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (v versionInfo) String() string {
	details := []string{v.Go, v.OS + "/" + v.Arch}
	if v.Date != "" {
		details = append([]string{v.Date}, details...)
	}
	if v.Commit != "" && !strings.Contains(v.Version, v.Commit[:min(7, len(v.Commit))]) {
		details = append([]string{"commit " + v.Commit[:min(12, len(v.Commit))]}, details...)
	}
	return v.Version + " (" + strings.Join(details, ", ") + ")"
}

func buildVersion() versionInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(version, commit, date, info)
}

// versionOf prefers what the linker set; a plain `go build` or `go install`
// leaves it to what the go command recorded.
func versionOf(version, commit, date string, info *debug.BuildInfo) versionInfo {
	v := versionInfo{Version: version, Commit: commit, Date: date, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if v.Version != "" {
		return v
	}
	v.Version = info.Main.Version
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Date = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "devel"
		if v.Commit != "" {
			v.Version += "-" + v.Commit[:min(12, len(v.Commit))]
		}
		if dirty {
			v.Version += "-dirty"
		}
	}
	return v
}

func newVersionCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which Picket this is",
		GroupID: groupLook,
		Args:    cobra.NoArgs,
		Example: "  picket version\n  picket version --json",
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			if asJSON {
				return json.NewEncoder(e.stdout).Encode(v)
			}
			_, err := fmt.Fprintln(e.stdout, "picket", v)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
