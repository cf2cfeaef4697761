package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// MetaTopic holds what must be remembered about the other topics: one JSON record for each
// topic whose partition count must not change. It is tiny, has one partition, is kept for
// ever and is not compacted. The first record about a topic counts.
const MetaTopic = "picket.meta"

type metaRecord struct {
	Topic      string    `json:"topic"`
	Partitions int       `json:"partitions"`
	Created    time.Time `json:"created"`
}

// forever is what Kafka calls -1.
const forever = -1 * time.Millisecond

func metaSpec() TopicSpec { return TopicSpec{Name: MetaTopic, Partitions: 1, Retention: forever} }

// recorded reads the partition counts that were written down.
func (t *Topics) recorded(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	err := Scan(ctx, t.cfg, MetaTopic, func(r Record) error {
		var m metaRecord
		if err := json.Unmarshal(r.Value, &m); err != nil {
			return fmt.Errorf("offset %d is not a partition count: %w", r.Offset, err)
		}
		if _, ok := out[m.Topic]; !ok {
			out[m.Topic] = m.Partitions
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the recorded partition counts: %w", err)
	}
	return out, nil
}

// Recorded is how many partitions a topic was made with; 0 where nobody wrote it down.
func (t *Topics) Recorded(ctx context.Context, topic string) (int, error) {
	all, err := t.recorded(ctx)
	return all[topic], err
}

func (t *Topics) record(ctx context.Context, topic string, n int) error {
	b, err := json.Marshal(metaRecord{Topic: topic, Partitions: n, Created: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	p, err := NewProducer(t.cfg, ProducerOptions{Compression: "none"})
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Produce(ctx, []Record{{Topic: MetaTopic, Key: []byte(topic), Value: b}}); err != nil {
		return fmt.Errorf("record the partition count of %s: %w", topic, err)
	}
	return nil
}
