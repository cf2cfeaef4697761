package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// topicTakes is how long a topic that was just made may be unknown: to other brokers, and
// to the metadata that kafka-go keeps for metadataTTL.
const topicTakes = 2*metadataTTL + time.Second

// unknownTopic finds a broker's "no such topic", and kafka-go's own from its metadata.
func unknownTopic(err error) bool {
	return errors.Is(err, kgo.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// partitionCount asks for a topic's partitions, and never creates the topic.
func partitionCount(ctx context.Context, client *kgo.Client, topic string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, topicTakes+rpcTimeout)
	defer cancel()
	began := time.Now()
	var err error
	for range backoff(ctx, 0) {
		var n int
		if n, err = lookUp(ctx, client, topic); err == nil {
			return n, nil
		}
		if !unknownTopic(err) || time.Since(began) > topicTakes {
			break
		}
	}
	return 0, fmt.Errorf("look up topic %s: %w", topic, explain(err, "Describe", topic, ""))
}

func lookUp(ctx context.Context, client *kgo.Client, topic string) (int, error) {
	res, err := client.Metadata(ctx, &kgo.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	for _, t := range res.Topics {
		if t.Name == topic {
			return len(t.Partitions), t.Error
		}
	}
	return 0, kgo.UnknownTopicOrPartition
}
