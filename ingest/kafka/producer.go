package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
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
	client *kgo.Client
	codec  kgo.Compression
	opts   ProducerOptions

	mu     sync.Mutex
	counts map[string]partitions // guarded by mu
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
	p := &Producer{opts: opts, counts: map[string]partitions{}}
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

type target struct {
	topic     string
	partition int32
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
	to := map[target][]Record{}
	for i := range records {
		r := &records[i]
		at := target{r.Topic, r.Partition}
		if at.partition < 0 {
			n, err := p.partitions(ctx, r.Topic)
			if err != nil {
				return fmt.Errorf("produce to %s: %w", r.Topic, err)
			}
			at.partition = PartitionFor(r.Key, n)
		}
		to[at] = append(to[at], *r)
	}
	if len(to) == 1 {
		for at, rs := range to {
			return p.produceTo(ctx, at, rs)
		}
	}
	errs := make(chan error, len(to))
	for at, rs := range to {
		go func() { errs <- p.produceTo(ctx, at, rs) }()
	}
	var all []error
	for range to {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// produceTo writes one partition's records in order, a request at a time.
func (p *Producer) produceTo(ctx context.Context, to target, records []Record) error {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) {
			size += recordSize(&records[n])
			if n > 0 && size > p.opts.BatchBytes {
				break
			}
			n++
		}
		if err := p.send(ctx, to, records[:n]); err != nil {
			return fmt.Errorf("produce %d records to %s/%d: %w", len(records), to.topic, to.partition, explain(err, to.topic, ""))
		}
		records = records[n:]
	}
	return nil
}

func recordSize(r *Record) int {
	n := 32 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 8
	}
	return n
}

// wireRecords is made anew for each try: kafka-go reads a record's bytes once, and would send
// an empty value the second time.
func wireRecords(records []Record) []kgo.Record {
	now := time.Now()
	out := make([]kgo.Record, len(records))
	for i := range records {
		r := &records[i]
		k := kgo.Record{Time: now, Value: kgo.NewBytes(r.Value)}
		if r.Key != nil {
			k.Key = kgo.NewBytes(r.Key)
		}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kgo.Header{Key: h.Key, Value: h.Value})
		}
		out[i] = k
	}
	return out
}

func (p *Producer) send(ctx context.Context, to target, records []Record) error {
	var err error
	told := false
	began := time.Now()
	for range backoff(ctx, 0) {
		rctx, cancel := context.WithTimeout(ctx, rpcTimeout)
		var res *kgo.ProduceResponse
		res, err = p.client.Produce(rctx, &kgo.ProduceRequest{
			Topic: to.topic, Partition: int(to.partition), RequiredAcks: kgo.RequireAll,
			Records: kgo.NewRecordReader(wireRecords(records)...), Compression: p.codec,
		})
		cancel()
		if err == nil {
			err = res.Error
		}
		if err == nil || !transient(err) {
			return err
		}
		freshen(p.client, err)
		if unknownTopic(err) && time.Since(began) > topicTakes {
			return kgo.UnknownTopicOrPartition
		}
		if !told {
			told = true
			p.opts.Logger.Warn("kafka: produce failed; trying again", "topic", to.topic, "partition", to.partition, "error", err)
		}
	}
	return err
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
