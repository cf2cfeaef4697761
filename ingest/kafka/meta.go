package kafka

import (
	"fmt"
	"strconv"
	"strings"
)

// maxMeta keeps a commit's metadata below the broker's default limit
// (offset.metadata.max.bytes = 4096).
const maxMeta = 4000

const metaPrefix = "p1 E="

// encodeMeta writes "p1 E=<end> <user>"; end is -1 where nothing is declared.
func encodeMeta(end int64, user string) (string, error) {
	s := metaPrefix + strconv.FormatInt(end, 10)
	if user != "" {
		s += " " + user
	}
	if len(s) > maxMeta {
		return "", fmt.Errorf("commit metadata of %d bytes; the limit is %d", len(s), maxMeta)
	}
	return s, nil
}

// foreign reports whether another program wrote the metadata of a commit.
func foreign(s string) bool { return !strings.HasPrefix(s, metaPrefix) }

// decodeMeta is lenient: what another tool committed (kafka-consumer-groups --reset-offsets
// leaves it empty) declares nothing.
func decodeMeta(s string) (end int64, user string) {
	rest, ok := strings.CutPrefix(s, metaPrefix)
	if !ok {
		return -1, ""
	}
	num, user, _ := strings.Cut(rest, " ")
	end, err := strconv.ParseInt(num, 10, 64)
	if err != nil || end < -1 {
		return -1, ""
	}
	return end, user
}
