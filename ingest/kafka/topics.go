package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// TopicSpec is a topic as Picket wants it.
type TopicSpec struct {
	Name       string
	Partitions int
	Retention  time.Duration
	// MinRetention is what a promise needs; MaxRetention, if set, what privacy allows.
	MinRetention, MaxRetention time.Duration
	MaxMessageBytes            int  // 0: the broker's default
	LogAppendTime              bool // the clock of everything downstream
	// Recorded: the partition count is written down at creation and must never change, since
	// keys (or repeatable batches) are dealt by it.
	Recorded bool
	Replicas int // 0: the broker's default (default.replication.factor)
}

// Topics is the admin side of a cluster.
type Topics struct {
	cfg    Config
	client *kgo.Client
}

// NewTopics checks that the cluster can be reached.
func NewTopics(ctx context.Context, cfg Config) (*Topics, error) {
	client, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	return &Topics{cfg: cfg, client: client}, nil
}

// Close hangs up.
func (t *Topics) Close() { hangUp(t.client) }

func (s TopicSpec) entries() []kgo.ConfigEntry {
	e := []kgo.ConfigEntry{
		{ConfigName: "cleanup.policy", ConfigValue: "delete"},
		{ConfigName: "retention.ms", ConfigValue: strconv.FormatInt(s.Retention.Milliseconds(), 10)},
		{ConfigName: "unclean.leader.election.enable", ConfigValue: "false"},
	}
	if s.LogAppendTime {
		e = append(e, kgo.ConfigEntry{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"})
	}
	if s.MaxMessageBytes > 0 {
		e = append(e, kgo.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: strconv.Itoa(s.MaxMessageBytes)})
	}
	return e
}

// Create makes the topics that do not exist yet and writes down the partition counts that
// must not change. It leaves existing topics as they are: Verify tells what is wrong there.
// It returns the names of those it made.
func (t *Topics) Create(ctx context.Context, specs []TopicSpec) (made []string, err error) {
	meta := metaSpec()
	for _, s := range specs {
		meta.Replicas = max(meta.Replicas, s.Replicas) // losing it would stop everything too
	}
	if _, err := t.create(ctx, meta); err != nil {
		return nil, err
	}
	recorded, err := t.recorded(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range specs {
		isNew, err := t.create(ctx, s)
		if err != nil {
			return made, err
		}
		if isNew {
			made = append(made, s.Name)
		}
		if _, ok := recorded[s.Name]; s.Recorded && (isNew || !ok) {
			n, err := partitionCount(ctx, t.client, s.Name)
			if err != nil {
				return made, err
			}
			if err := t.record(ctx, s.Name, n); err != nil {
				return made, err
			}
		}
	}
	return made, nil
}

// create reports whether the topic is new, and returns once its leaders are known.
func (t *Topics) create(ctx context.Context, s TopicSpec) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*rpcTimeout)
	defer cancel()
	replicas := s.Replicas
	if replicas <= 0 {
		replicas = -1
	}
	res, err := t.client.CreateTopics(ctx, &kgo.CreateTopicsRequest{Topics: []kgo.TopicConfig{{
		Topic: s.Name, NumPartitions: s.Partitions, ReplicationFactor: replicas, ConfigEntries: s.entries(),
	}}})
	if err == nil {
		err = res.Errors[s.Name]
	}
	isNew := err == nil
	if errors.Is(err, kgo.InvalidReplicationFactor) {
		return false, fmt.Errorf("create topic %s: %w (%s)", s.Name, err, t.tooFew(ctx, s.Replicas))
	}
	if err != nil && !errors.Is(err, kgo.TopicAlreadyExists) {
		return false, fmt.Errorf("create topic %s: %w", s.Name, explain(err, "Create", s.Name, ""))
	}
	for range backoff(ctx, 0) {
		ok, err := t.ready(ctx, s.Name)
		if ok {
			return isNew, nil
		}
		if errors.Is(err, kgo.TopicAuthorizationFailed) {
			return isNew, fmt.Errorf("look up topic %s: %w", s.Name, explain(err, "Describe", s.Name, ""))
		}
	}
	return isNew, fmt.Errorf("create topic %s: its partitions have no leader yet: %w", s.Name, ctx.Err())
}

// tooFew says how many replicas there can be.
func (t *Topics) tooFew(ctx context.Context, replicas int) string {
	asked := fmt.Sprintf("kafka.replication_factor is %d", replicas)
	if replicas <= 0 {
		asked = "the broker's default.replication.factor is asked for"
	}
	res, err := t.client.Metadata(ctx, &kgo.MetadataRequest{})
	switch {
	case err != nil || len(res.Brokers) == 0:
		return asked + ": set kafka.replication_factor to the number of brokers at most"
	case len(res.Brokers) == 1:
		return asked + ", and the cluster has 1 broker: set kafka.replication_factor to 1"
	}
	return fmt.Sprintf("%s, and the cluster has %d brokers: set kafka.replication_factor to %[2]d at most", asked, len(res.Brokers))
}

func (t *Topics) ready(ctx context.Context, topic string) (bool, error) {
	res, err := t.client.Metadata(ctx, &kgo.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return false, err
	}
	for _, m := range res.Topics {
		if m.Name != topic || m.Error != nil || len(m.Partitions) == 0 {
			return false, m.Error
		}
		for _, p := range m.Partitions {
			if p.Error != nil || p.Leader.Host == "" {
				return false, p.Error
			}
		}
	}
	return len(res.Topics) == 1, nil
}
