package ingest

import "io/fs"

// mine reports whether a file belongs to the user of this process.
func mine(fs.FileInfo) bool { return true }
