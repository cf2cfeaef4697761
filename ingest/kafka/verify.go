package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	kgo "github.com/segmentio/kafka-go"

	"picket/detect"
)

// Severity says whether Picket can run.
type Severity string

// A refused topic would give wrong results; a warning breaks a promise in some case.
const (
	Refuse Severity = "refuse"
	Warn   Severity = "warn"
)

// Problem is one thing about a topic that is not as it should be.
type Problem struct {
	Topic    string
	Severity Severity
	Text     string // what is, why it matters, how to mend it
}

func (p Problem) String() string { return fmt.Sprintf("%s: topic %s: %s", p.Severity, p.Topic, p.Text) }

// Verify compares the topics with what Picket needs, and changes nothing. An error means that
// the cluster could not be asked.
func (t *Topics) Verify(ctx context.Context, specs []TopicSpec) ([]Problem, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*rpcTimeout)
	defer cancel()
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	res, err := t.client.Metadata(ctx, &kgo.MetadataRequest{Topics: append(slices.Clone(names), MetaTopic)})
	if err != nil {
		return nil, fmt.Errorf("look up the topics: %w", unnamed(err))
	}
	there := map[string]kgo.Topic{}
	for _, m := range res.Topics {
		switch {
		case errors.Is(m.Error, kgo.UnknownTopicOrPartition):
		case m.Error != nil:
			return nil, fmt.Errorf("look up topic %s: %w", m.Name, explain(m.Error, "Describe", m.Name, ""))
		default:
			there[m.Name] = m
		}
	}
	var recorded map[string]int // nil where its topic cannot be seen
	if _, ok := there[MetaTopic]; ok {
		if recorded, err = t.recorded(ctx); err != nil {
			return nil, err
		}
	}
	var out []Problem
	for _, s := range specs {
		m, ok := there[s.Name]
		if !ok {
			out = append(out, Problem{s.Name, Refuse, "it does not exist, or this user may not see it. Create it: picket topics create"})
			continue
		}
		c := check{spec: s, server: t.cfg.Brokers[0]}
		c.partitions(len(m.Partitions), recorded)
		conf, err := t.describe(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		c.settings(conf)
		c.replicas(m.Partitions, len(res.Brokers), conf)
		out = append(out, c.problems...)
	}
	return out, nil
}

func (t *Topics) describe(ctx context.Context, topic string) (map[string]string, error) {
	res, err := t.client.DescribeConfigs(ctx, &kgo.DescribeConfigsRequest{
		Resources: []kgo.DescribeConfigRequestResource{{ResourceType: kgo.ResourceTypeTopic, ResourceName: topic}},
	})
	if err == nil && len(res.Resources) != 1 {
		err = fmt.Errorf("the broker answered for %d topics", len(res.Resources))
	}
	if err == nil {
		err = res.Resources[0].Error
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings of topic %s: %w", topic, explain(err, "DescribeConfigs", topic, ""))
	}
	out := map[string]string{}
	for _, e := range res.Resources[0].ConfigEntries {
		out[e.ConfigName] = e.ConfigValue
	}
	return out, nil
}

// check collects the problems of one topic.
type check struct {
	spec     TopicSpec
	server   string
	problems []Problem
}

func (c *check) add(sev Severity, format string, args ...any) {
	c.problems = append(c.problems, Problem{c.spec.Name, sev, fmt.Sprintf(format, args...)})
}

// alter is the command that sets a topic's option.
func (c *check) alter(key, value string) string {
	return fmt.Sprintf("kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s=%s", c.server, c.spec.Name, key, value)
}

func (c *check) partitions(n int, recorded map[string]int) {
	if !c.spec.Recorded {
		return
	}
	want, ok := recorded[c.spec.Name]
	switch {
	case recorded == nil:
		c.add(Refuse, "its partition count (%d) was never recorded, or this user may not read %s. Record it: picket topics create", n, MetaTopic)
	case !ok:
		c.add(Refuse, "its partition count (%d) was never recorded, so a later change could not be noticed. Record it: picket topics create", n)
	case want != n:
		c.add(Refuse, "it has %d partitions, and %d were recorded when it was created. A change deals the groups anew, and what belongs together no longer meets. "+
			"Kafka cannot take partitions away: stop Picket, let it drain, delete the topic (kafka-topics.sh --bootstrap-server %s --delete --topic %s), delete %s the same way, and run: picket topics create",
			n, want, c.server, c.spec.Name, MetaTopic)
	}
}

func (c *check) settings(conf map[string]string) {
	if v := conf["cleanup.policy"]; v != "" && v != "delete" {
		c.add(Warn, "cleanup.policy is %s: compaction removes records that Picket still has to read. Mend it: %s", v, c.alter("cleanup.policy", "delete"))
	}
	if v := conf["message.timestamp.type"]; c.spec.LogAppendTime && v != "LogAppendTime" {
		c.add(Warn, "message.timestamp.type is %s: a producer could then set Picket's clock. Mend it: %s", v, c.alter("message.timestamp.type", "LogAppendTime"))
	}
	if v := conf["unclean.leader.election.enable"]; v == "true" {
		c.add(Warn, "unclean.leader.election.enable is true: a broker failure can lose acknowledged records. Mend it: %s", c.alter("unclean.leader.election.enable", "false"))
	}
	if n, err := strconv.Atoi(conf["max.message.bytes"]); err == nil && n > maxResponse/2 {
		c.add(Warn, "max.message.bytes is %d: Picket does not read batches above %d bytes. Mend it: %s", n, maxResponse/2, c.alter("max.message.bytes", strconv.Itoa(maxResponse/2)))
	}
	c.retention(conf)
}

func (c *check) retention(conf map[string]string) {
	ms, err := strconv.ParseInt(conf["retention.ms"], 10, 64)
	if err != nil {
		return
	}
	is, want := time.Duration(ms)*time.Millisecond, strconv.FormatInt(c.spec.Retention.Milliseconds(), 10)
	unlimited := ms < 0 || ms > int64(100*365*24*time.Hour/time.Millisecond)
	switch {
	case !unlimited && is < c.spec.MinRetention:
		c.add(Warn, "retention.ms is %d (%s), and at least %s is needed to outlast an outage and to rebuild windows. Mend it: %s", ms, detect.Span(is), detect.Span(c.spec.MinRetention), c.alter("retention.ms", want))
	case c.spec.MaxRetention > 0 && (unlimited || is > c.spec.MaxRetention):
		c.add(Warn, "retention.ms is %d: the topic holds raw personal data, which should go within %s. Mend it: %s", ms, detect.Span(c.spec.MaxRetention), c.alter("retention.ms", want))
	}
	if n, err := strconv.ParseInt(conf["retention.bytes"], 10, 64); err == nil && n >= 0 {
		c.add(Warn, "retention.bytes is %d: a burst of events then deletes records before they are read. Mend it: %s", n, c.alter("retention.bytes", "-1"))
	}
}

func (c *check) replicas(parts []kgo.Partition, brokers int, conf map[string]string) {
	if brokers < 2 || len(parts) == 0 {
		return // a single node has nowhere to replicate to
	}
	least := len(slices.MinFunc(parts, func(a, b kgo.Partition) int { return len(a.Replicas) - len(b.Replicas) }).Replicas)
	isr, err := strconv.Atoi(conf["min.insync.replicas"])
	switch {
	case least < 2:
		c.add(Warn, "it has one replica on a cluster of %d brokers: losing a disk loses records that were acknowledged. Mend it with kafka-reassign-partitions.sh --bootstrap-server %s and a replica list of 3 brokers for each partition", brokers, c.server)
	case err == nil && isr < 2:
		c.add(Warn, "min.insync.replicas is %d: a record counts as durable with one copy. Mend it: %s", isr, c.alter("min.insync.replicas", "2"))
	case err == nil && isr >= least:
		c.add(Warn, "min.insync.replicas is %d of %d replicas: the restart of one broker stops all writing. Mend it: %s", isr, least, c.alter("min.insync.replicas", strconv.Itoa(max(1, least-1))))
	}
}
