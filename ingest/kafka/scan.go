package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// Scan calls fn for every record of a topic, partition by partition, from the earliest one
// to the end as it is at the start of the call. It joins no group and commits nothing. A
// batch that cannot be read is an error here.
func Scan(ctx context.Context, cfg Config, topic string, fn func(Record) error) error {
	return ScanPast(ctx, cfg, topic, fn, func(_ int32, u Unreadable) error {
		return fmt.Errorf("batch at offset %d: %s", u.Begin, u.Reason)
	})
}

// ScanPast is Scan of a topic to which anybody may write: it calls bad with a batch that cannot be
// read, and goes on.
func ScanPast(ctx context.Context, cfg Config, topic string, fn func(Record) error, bad func(partition int32, u Unreadable) error) error {
	client, err := cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(client)
	n, err := partitionCount(ctx, client, topic)
	if err != nil {
		return err
	}
	parts := make([]int32, n)
	for i := range parts {
		parts[i] = int32(i)
	}
	all, err := listBounds(ctx, client, topic, parts)
	if err != nil {
		return err
	}
	u := unpacker{limit: maxResponse}
	defer u.close()
	for _, p := range parts {
		if err := scanPartition(ctx, client, cfg.clientID(), topic, p, all[p], &u, fn, bad); err != nil {
			return fmt.Errorf("scan %s/%d: %w", topic, p, explain(err, "Read", topic, ""))
		}
	}
	return nil
}

func scanPartition(ctx context.Context, client *kgo.Client, id, topic string, p int32, b bounds, u *unpacker, fn func(Record) error, bad func(int32, Unreadable) error) error {
	failures := 0
	for at := b.first; at < b.last; {
		got, err := fetch(ctx, client, fetchRequest{topic: topic, partition: p, offset: at, wait: fetchWait, maxBytes: 4 << 20, clientID: id})
		if err != nil {
			if failures++; failures > 10 || ctx.Err() != nil || errors.Is(err, kgo.OffsetOutOfRange) || !transient(err) {
				return err
			}
			if !pauseFor(ctx, 100*time.Millisecond) {
				return ctx.Err()
			}
			continue
		}
		rest, from := got.batches, at
		for {
			var s storedBatch
			var ok bool
			if s, rest, ok = cutBatch(rest); !ok {
				break
			}
			if !s.control() && s.end > at {
				records, err := s.decode(topic, p, at, u)
				if err != nil {
					broken := Unreadable{Begin: max(at, s.first), End: min(s.end, b.last), Bytes: s.size, Append: s.time(0), Reason: err.Error()}
					if err := bad(p, broken); err != nil {
						return err
					}
				}
				for _, r := range records {
					if r.Offset >= b.last {
						return nil
					}
					if err := fn(r); err != nil {
						return err
					}
				}
			}
			at = max(at, s.end)
		}
		if at == from {
			if failures++; failures > 10 {
				return fmt.Errorf("no progress at offset %d of %d", at, b.last)
			}
			continue
		}
		failures = 0
	}
	return nil
}
