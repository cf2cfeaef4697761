package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
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

// topicIDVersion is the first Metadata with ids of topics; brokers from 2.8 on speak it.
const topicIDVersion = 10

type topicID [16]byte

// topicID asks a partition's leader which topic has the name now: one that was made anew has
// another id. Brokers that know no ids answer with none.
func (f *fetcher) topicID(ctx context.Context) (topicID, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &f.topic
	req.Topics = append(req.Topics, rt)
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	can, err := f.client.ApiVersions(ctx, &kgo.ApiVersionsRequest{})
	if err != nil {
		return topicID{}, err
	}
	if !slices.ContainsFunc(can.ApiKeys, func(k kgo.ApiVersionsResponseApiKey) bool {
		return k.ApiKey == int(req.Key()) && k.MaxVersion >= topicIDVersion
	}) {
		return topicID{}, nil
	}
	m, err := f.client.Transport.RoundTrip(ctx, f.client.Addr, &toLeader{
		exchange: exchange{clientID: f.clientID, newest: topicIDVersion, known: true, req: req}, topic: f.topic, partition: f.partition,
	})
	if err != nil {
		return topicID{}, err
	}
	for _, t := range m.(*toLeader).res.(*kmsg.MetadataResponse).Topics {
		if t.Topic != nil && *t.Topic == f.topic {
			return t.TopicID, code(t.ErrorCode)
		}
	}
	return topicID{}, kgo.UnknownTopicOrPartition
}
