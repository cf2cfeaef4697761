package embedded_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"picket/store/embedded/embeddedtest"
)

// Reads share a few connections and have a limit of time, so a slow one costs others at most that limit.
func TestReadersAreFewAndLimitedInTime(t *testing.T) {
	u := embeddedtest.Start(t)
	if got := strings.TrimSpace(must(t, u, "SELECT getSetting('max_execution_time')")); got != "60" {
		t.Errorf("a read that sets no limit has %q seconds", got)
	}
	must(t, u, "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
	const reads, connections, limit = 8, 4, time.Second
	began := time.Now()
	var slow sync.WaitGroup
	for range reads {
		slow.Go(func() {
			status, body, err := tryPost(with(u, "max_execution_time", "1", "max_threads", "1"), "SELECT max(sipHash64(number)) FROM numbers(100000000000)")
			if err != nil || status != 408 || !strings.Contains(body, "Timeout exceeded") {
				t.Errorf("%d %q %v", status, body, err)
			}
		})
	}
	must(t, u, "INSERT INTO t VALUES (1)")
	inserted := time.Since(began)
	slow.Wait()
	took := time.Since(began)
	if rounds := reads / connections * limit; took < rounds-limit/10 {
		t.Errorf("%d reads of %s ended in %s: more than %d ran at a time", reads, limit, took, connections)
	}
	if inserted > took-limit/2 {
		t.Errorf("the insert took %s, and the reads before it %s: it waited for them", inserted, took)
	}
}
