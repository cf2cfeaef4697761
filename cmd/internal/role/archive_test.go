package role_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"picket/cmd/internal/role"
	"picket/ingest/kafka"
)

// What a storm of alerts left is written in few inserts, in order, and a slow ClickHouse does not make the
// loop look stuck: a restart would begin the batch again.
func TestArchiveWritesManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBench(t)
		const n = 2*role.MostArchived + 500
		for i := range n {
			k.b.put(kafka.Record{Topic: "t", Value: fmt.Append(nil, i)})
		}
		var sizes []int
		var got []string
		a := &role.Archive[string]{
			Loop: k.loop("archive"), Consumer: k.b.consumer("t", "g", n, 0),
			Read: func(rec *kafka.Record) (string, bool) { return string(rec.Value), string(rec.Value) != "7" },
			Write: func(_ context.Context, items []string) error {
				<-time.After(2 * time.Minute)
				if err := k.health.Stuck(3 * time.Minute); err != nil {
					t.Error(err)
				}
				if sizes = append(sizes, len(items)); len(sizes) == 2 {
					return errDown // it is done again as it was
				}
				got = append(got, items...)
				return nil
			},
		}
		stop := k.start(a.Run)
		pass(30 * time.Minute)
		stop()
		if want := []int{1000, 1000, 1000, 1000, 499}; !slices.Equal(sizes, want) {
			t.Errorf("inserts of %v rows, want %v", sizes, want)
		}
		got = got[role.MostArchived:] // the second attempt
		if len(got) != n-1 || got[0] != "0" || got[7] != "8" || got[n-2] != fmt.Sprint(n-1) {
			t.Errorf("%d items, %q to %q", len(got), got[0], got[len(got)-1])
		}
	})
}
