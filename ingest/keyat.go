package ingest

import "time"

// KeyAt is the id of the key that hashes the values of an event of that time.
func (h *Hasher) KeyAt(at time.Time) string { return h.ring.keys[h.ring.at(at)].ID }
