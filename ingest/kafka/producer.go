package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"sync"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// ProducerOptions have usable zero values.
type ProducerOptions struct {
	Compression string // "zstd", "lz4", "snappy", "gzip" or "none"; lz4 by default
	// BatchBytes bounds one request, before compression; 900,000, which is below the default
	// max.message.bytes.
	BatchBytes int
	Timeout    time.Duration // how long Produce goes on trying; 30 s
	Logger     *slog.Logger
}

// Producer writes records with acks=all. Any number of goroutines may use it.
type Producer struct {
	client   *kgo.Client
	clientID string
	codec    kgo.Compression
	opts     ProducerOptions

	mu     sync.Mutex
	counts map[string]partitions // guarded by mu
	spare  []*encoder            // guarded by mu
}

type partitions struct {
	n     int
	until time.Time
}

// NewProducer checks that the cluster can be reached.
func NewProducer(cfg Config, opts ProducerOptions) (*Producer, error) {
	opts.Compression = cmp.Or(opts.Compression, "lz4")
	opts.BatchBytes = cmp.Or(opts.BatchBytes, 900_000)
	opts.Timeout = cmp.Or(opts.Timeout, 30*time.Second)
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	p := &Producer{opts: opts, clientID: cfg.clientID(), counts: map[string]partitions{}}
	if opts.Compression != "none" {
		if err := p.codec.UnmarshalText([]byte(opts.Compression)); err != nil {
			return nil, fmt.Errorf("kafka producer: compression %q: want none, zstd, lz4, snappy or gzip", opts.Compression)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(len(cfg.Brokers)+1)*cfg.dialTimeout())
	defer cancel()
	client, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	p.client = client
	return p, nil
}

// Close hangs up. Produce has nothing in flight once it returned.
func (p *Producer) Close() { hangUp(p.client) }

// PartitionFor is where a record with this key goes: FNV-1a over the key, so that all
// producers and versions of Picket agree. Changing it would re-deal the groups.
func PartitionFor(key []byte, n int) int32 {
	h := fnv.New32a()
	_, _ = h.Write(key)
	return int32(h.Sum32() % uint32(n))
}

// Produce writes the records and returns when all are durable. Partition >= 0 is taken as it
// is, below zero the key decides. After an error some may be written, and a retry after a
// lost answer may have written some twice: there is no idempotence here, so records carry
// names by which their readers drop the second one. Records for one partition keep their
// order. Each is stamped with the current time, since kfake has no time of its own.
func (p *Producer) Produce(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	boxes, err := p.sorted(ctx, records)
	if err != nil {
		return err
	}
	var lost []error
	told, pause := false, firstPause
	for len(boxes) > 0 {
		p.send(ctx, boxes)
		var trouble *outbox
		boxes = slices.DeleteFunc(boxes, func(b *outbox) bool {
			if b.err == nil {
				b.records, b.failed = b.records[b.n:], time.Time{}
				return len(b.records) == 0
			}
			if b.failed.IsZero() {
				b.failed = time.Now()
			}
			if !transient(b.err) || unknownTopic(b.err) && time.Since(b.failed) > topicTakes {
				lost = append(lost, b.lost())
				return true
			}
			trouble = b
			return false
		})
		if trouble == nil {
			pause = firstPause
			continue
		}
		if !told {
			told = true
			p.opts.Logger.Warn("kafka: produce failed; trying again", "topic", trouble.topic, "partition", trouble.partition, "error", trouble.err)
		}
		if !pauseFor(ctx, pause) {
			for _, b := range boxes {
				lost = append(lost, b.lost())
			}
			break
		}
		pause = min(2*pause, 2*time.Second)
	}
	return errors.Join(lost...)
}

// firstPause is before the second try.
const firstPause = 50 * time.Millisecond

func (b *outbox) lost() error {
	return fmt.Errorf("produce %d records to %s/%d: %w", len(b.records), b.topic, b.partition, explain(b.err, "Write", b.topic, ""))
}

func recordSize(r *Record) int {
	n := 32 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return n
}

// encoder takes one that nobody uses.
func (p *Producer) encoder() *encoder {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.spare)
	if n == 0 {
		return &encoder{}
	}
	e := p.spare[n-1]
	p.spare = p.spare[:n-1]
	return e
}

func (p *Producer) keep(e *encoder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.spare) < 2 {
		p.spare = append(p.spare, e)
	}
}

func (p *Producer) partitions(ctx context.Context, topic string) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.counts[topic]; ok && time.Now().Before(c.until) {
		return c.n, nil
	}
	n, err := partitionCount(ctx, p.client, topic)
	if err != nil {
		return 0, err
	}
	p.counts[topic] = partitions{n: n, until: time.Now().Add(30 * time.Second)}
	return n, nil
}
