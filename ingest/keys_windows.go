package ingest

import "io/fs"

// mine reports whether this process reads a file without the help of its group.
func mine(fs.FileInfo) bool { return true }

// owner says whose a file is.
func owner(fs.FileInfo) string { return "" }
