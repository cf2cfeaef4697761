// Package rules holds the rules that Picket ships with: YAML, one rule per
// file, each with its runbook and its tests inside. Folders follow the groups
// of the ids: authentication (AU), authorization (AZ), data (DX), injection
// (IN), resource (RA), protocol (TP), telemetry (SY). A rule of one's own can start as a copy.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed authentication authorization data injection protocol resource telemetry
var files embed.FS

// FS returns the pack for detect.Load.
func FS() fs.FS { return files }
