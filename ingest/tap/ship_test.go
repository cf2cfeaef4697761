package tap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// traffic is n tool calls, answered by "script", with text that must not get into a log.
func traffic(n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(`{"id":1,"method":"tools/call","params":{"name":"x","arguments":{"secret":"canary"}}}` + "\n")
	}
	return b.String()
}

const answering = `script={"1":{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"canary"}]}}}`

func TestSinkThatFailsAndThatStalls(t *testing.T) {
	const n = 300
	for name, sink := range map[string]Sink{
		"fails": sinkFunc(func(context.Context, [][]byte) error { return errors.New("no broker") }),
		"stalls": sinkFunc(func(ctx context.Context, _ [][]byte) error {
			<-ctx.Done()
			return ctx.Err()
		}),
		"never returns": sinkFunc(func(context.Context, [][]byte) error { select {} }),
	} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			begin := time.Now()
			code, st := mustRun(t, under(answering, func(o *Options) {
				o.Stdin, o.Stdout, o.Sink = strings.NewReader(traffic(n)), &out, sink
				o.Buffer, o.FlushTimeout = 10, 100*time.Millisecond
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			}))
			if lines := strings.Count(out.String(), "\n"); code != 0 || lines != n {
				t.Errorf("exit %d, %d answers", code, lines)
			}
			if st.Shipped != 0 || st.Dropped == 0 {
				t.Errorf("stats: %+v", st)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if strings.Contains(log.String(), "canary") || !strings.Contains(log.String(), "not every event was delivered") {
				t.Errorf("log: %s", &log)
			}
			var events, delivered, lost, unread uint64
			_, sums, _ := strings.Cut(log.String(), "not every event was delivered\" ")
			n, _ := fmt.Sscanf(sums, "events=%d delivered=%d lost=%d messages_not_read=%d", &events, &delivered, &lost, &unread)
			if n < 3 || (n == 4) != (unread > 0) || events != delivered+lost || lost+unread < st.Dropped {
				t.Errorf("of %d dropped the log says %s", st.Dropped, sums)
			}
		})
	}
}

// What did not happen is not told.
func TestShortfallNamesOnlyWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		events, shipped, unread uint64
		want                    string
	}{
		{5, 5, 0, "[]"},
		{5, 3, 0, "[events 5 delivered 3 lost 2]"},
		{5, 5, 7, "[events 5 delivered 5 lost 0 messages_not_read 7]"},
	} {
		if got := fmt.Sprint(shortfall(Stats{Events: c.events, Shipped: c.shipped}, c.unread)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// A sink that comes back after drops: the gap in seq is what was dropped, and a heartbeat says so.
func TestDropsAreToldWhenTheSinkIsBack(t *testing.T) {
	var (
		mu   sync.Mutex
		away = true
		sink memorySink
	)
	flaky := sinkFunc(func(ctx context.Context, r [][]byte) error {
		mu.Lock()
		defer mu.Unlock()
		if away {
			return errors.New("no broker")
		}
		return sink.Send(ctx, r)
	})
	l := newLines(t, func(o *Options) { o.Buffer, o.Sink = 5, flaky })
	room := make(chan struct{}, 1)
	l.o.room = room
	s := shipper{sink: flaky, outbox: l.o.outbox, room: room, count: l.o.count, log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	stop := make(chan struct{})
	const calls = 50
	for range calls {
		l.client(`{"id":1,"method":"tools/call","params":{"name":"x"}}`)
		l.server(`{"id":1,"result":{}}`)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.run(ctx) })
	wg.Go(func() { l.o.run(ctx, stop) })
	mu.Lock()
	away = false
	mu.Unlock()
	eventually(t, "a heartbeat", func() bool { return len(ofType(events(t, sink.all()), "heartbeat")) > 0 })
	cancel()
	wg.Wait()
	list := events(t, sink.all())
	beat := list[len(list)-1]
	dropped := calls - (len(list) - 1)
	if beat.Reason != "events_dropped" || beat.Labels["dropped"] != fmt.Sprint(dropped) || dropped == 0 {
		t.Errorf("heartbeat: %+v, dropped %d", beat, dropped)
	}
	if missing := int(beat.Seq) + 1 - len(list); missing != dropped {
		t.Errorf("seq is missing %d, dropped were %d", missing, dropped)
	}
}

func TestMessagesDroppedUnparsedLeaveAGap(t *testing.T) {
	l := newLines(t, nil)
	l.server("[")
	l.tap.lost.Add(7)
	l.o.count.dropped.Add(7)
	l.o.heartbeat("")
	list := l.events()
	if list[1].Seq != 8 || list[1].Labels["dropped"] != "7" {
		t.Errorf("events: %+v", list)
	}
}

func TestShipperBacksOffAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var count counters
		var sink memorySink
		var tries []time.Time
		s := shipper{
			outbox: newQueue[[]byte](10, 1<<20), room: make(chan struct{}, 1), count: &count, log: slog.New(slog.DiscardHandler),
			sink: sinkFunc(func(ctx context.Context, r [][]byte) error {
				if tries = append(tries, time.Now()); len(tries) < 9 {
					return errors.New("not yet")
				}
				return sink.Send(ctx, r)
			}),
		}
		for i := range 5 {
			s.outbox.put(fmt.Appendf(nil, "%d", i), 1)
		}
		close(s.outbox.ch)
		s.run(t.Context())
		if got := string(bytes.Join(sink.all(), nil)); got != "01234" || count.shipped.Load() != 5 || count.retries.Load() != 8 || s.outbox.bytes.Load() != 0 {
			t.Errorf("sent %s, shipped %d, retries %d", got, count.shipped.Load(), count.retries.Load())
		}
		for i := 1; i < len(tries); i++ {
			d, least := tries[i].Sub(tries[i-1]), min(backoffMin<<(i-1), backoffMax)/2
			if d < least || d > 2*least+1 {
				t.Errorf("try %d came after %v", i, d)
			}
		}
	})
}

func TestRefusedRecordsDoNotStopTheRest(t *testing.T) {
	var count counters
	var sink memorySink
	s := shipper{
		outbox: newQueue[[]byte](10, 10<<20), room: make(chan struct{}, 1), count: &count, log: slog.New(slog.DiscardHandler),
		sink: sinkFunc(func(ctx context.Context, r [][]byte) error {
			if len(r[0]) > 1000 {
				return fmt.Errorf("write: %w", ErrRefused)
			}
			return sink.Send(ctx, r)
		}),
	}
	for _, n := range []int{batchBytes, 10, 10} { // the first fills a batch of its own
		s.outbox.put(make([]byte, n), int64(n))
	}
	close(s.outbox.ch)
	s.run(t.Context())
	if len(sink.all()) != 2 || count.dropped.Load() != 1 || count.shipped.Load() != 2 {
		t.Errorf("%d sent, %d dropped, %d shipped", len(sink.all()), count.dropped.Load(), count.shipped.Load())
	}
}

func TestQueueIsBoundedByBytes(t *testing.T) {
	q := newQueue[int](100, 10)
	if !q.put(1, 6) || q.put(2, 6) || !q.put(3, 4) {
		t.Error("bytes were not counted")
	}
	<-q.ch
	q.done(6)
	if !q.put(4, 6) {
		t.Error("room was not given back")
	}
}
