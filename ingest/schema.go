package ingest

import _ "embed"

// Schema is the JSON Schema (draft 2020-12) of picket.event/1, as the Decoder reads it.
// The decoder is stricter where a schema has no words (duplicate keys, sizes, escapes)
// and where Go's time has no leap seconds; schema_test.go holds the two together.
//
//go:embed event.schema.json
var Schema []byte
