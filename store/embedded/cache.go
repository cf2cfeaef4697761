package embedded

// CacheDir is where fetched packages are kept: $PICKET_CACHE_DIR, or picket below the
// user's cache folder.
func CacheDir() (string, error) { return resolveCache("") }
