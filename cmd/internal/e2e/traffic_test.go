package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"picket/ingest/kafka"
)

// traffic is a producer that goes on whatever happens, like a server that ships its events:
// noise, now and then a line that nobody can read, and bursts that fire the rule.
type traffic struct {
	t      *testing.T
	p      *kafka.Producer
	cancel context.CancelFunc
	done   sync.WaitGroup
	bursts chan string

	mu    sync.Mutex
	acked map[string]bool // keys of the records that the broker acknowledged
}

func (w *world) traffic() *traffic {
	w.t.Helper()
	p, err := kafka.NewProducer(w.kafka(), kafka.ProducerOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{t: w.t, p: p, cancel: cancel, bursts: make(chan string, 10), acked: map[string]bool{}}
	tr.done.Go(func() { tr.run(ctx) })
	w.t.Cleanup(func() { tr.stop() })
	return tr
}

// stop ends the traffic; everything acknowledged is in the log.
func (tr *traffic) stop() {
	tr.cancel()
	tr.done.Wait()
	tr.p.Close()
}

// burst makes one address fail twelve times.
func (tr *traffic) burst(ip string) { tr.bursts <- ip }

func (tr *traffic) acknowledged() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.acked)
}

func (tr *traffic) run(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		var records []kafka.Record
		add := func(i int, value string) {
			key := fmt.Sprintf("%d-%d", n, i)
			records = append(records, kafka.Record{Topic: "mcp.events", Partition: int32(i % 3), Key: []byte(key), Value: []byte(value)})
		}
		select {
		case <-ctx.Done():
			return
		case ip := <-tr.bursts:
			for i := range 12 {
				add(i, event(n, i, "authentication", "failure", ip))
			}
		case <-tick.C:
			for i := range 15 {
				value := event(n, i, "tool_call", "success", "192.0.2.1")
				if n%5 == 0 && i == 7 {
					value = value[:len(value)/2] // cut off
				}
				add(i, value)
			}
		}
		for ctx.Err() == nil {
			if tr.p.Produce(ctx, records) == nil {
				tr.mu.Lock()
				for _, r := range records {
					tr.acked[string(r.Key)] = true
				}
				tr.mu.Unlock()
				break
			}
		}
	}
}

func event(n, i int, kind, outcome, ip string) string {
	return fmt.Sprintf(`{"schema":"picket.event/1","id":"e-%d-%d","time":%q,"type":%q,"outcome":%q,"server":{"name":"files","instance":"e2e"},"net":{"ip":%q},"mcp":{"tool":"read"}}`,
		n, i, time.Now().UTC().Format(time.RFC3339Nano), kind, outcome, ip)
}
