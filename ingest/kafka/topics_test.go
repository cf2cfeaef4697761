package kafka_test

import (
	"strings"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

func verify(t *testing.T, brokers []string, specs []kafka.TopicSpec) []kafka.Problem {
	t.Helper()
	admin, err := kafka.NewTopics(t.Context(), kafka.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ps, err := admin.Verify(t.Context(), specs)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func TestTopicsAreCreatedAsVerifyWantsThem(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		specs := []kafka.TopicSpec{
			{Name: "raw", Partitions: 3, Retention: 24 * time.Hour, MinRetention: 4 * time.Hour, MaxRetention: 48 * time.Hour, MaxMessageBytes: 1 << 20, LogAppendTime: true, Recorded: true},
			{Name: "dealt", Partitions: 2, Retention: 24 * time.Hour, LogAppendTime: true, Recorded: true},
			{Name: "one", Partitions: 1, Retention: time.Hour},
		}
		admin, err := kafka.NewTopics(t.Context(), kafka.Config{Brokers: brokers})
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		before, err := admin.Verify(t.Context(), specs)
		if err != nil || len(before) != len(specs) || before[0].Severity != kafka.Refuse || !strings.Contains(before[0].Text, "picket topics create") {
			t.Fatalf("before: %v, %v; want every topic refused as missing", before, err)
		}
		made, err := admin.Create(t.Context(), specs)
		if err != nil || len(made) != len(specs) {
			t.Fatalf("created %v, %v", made, err)
		}
		if ps := verify(t, brokers, specs); len(ps) != 0 {
			t.Errorf("fresh topics have problems: %v", ps)
		}
		if made, err = admin.Create(t.Context(), specs); err != nil || len(made) != 0 {
			t.Errorf("second create made %v, %v; want nothing", made, err)
		}
	})
}

func TestVerifyRefusesAChangedPartitionCountAndWarnsOfSettings(t *testing.T) {
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		spec := kafka.TopicSpec{
			Name: newTopic(t, brokers, 1) + "-recorded", Partitions: 2, Retention: time.Hour, MinRetention: time.Hour, MaxRetention: 2 * time.Hour,
			LogAppendTime: true, Recorded: true,
		}
		makeTopics(t, brokers, spec)
		raw := &kgo.Client{Addr: kgo.TCP(brokers...)}
		res, err := raw.CreatePartitions(t.Context(), &kgo.CreatePartitionsRequest{Topics: []kgo.TopicPartitionsConfig{{Name: spec.Name, Count: 4}}})
		if err != nil || res.Errors[spec.Name] != nil {
			t.Fatal(err, res)
		}
		_, err = raw.IncrementalAlterConfigs(t.Context(), &kgo.IncrementalAlterConfigsRequest{Resources: []kgo.IncrementalAlterConfigsRequestResource{{
			ResourceType: kgo.ResourceTypeTopic, ResourceName: spec.Name,
			Configs: []kgo.IncrementalAlterConfigsRequestConfig{
				{Name: "cleanup.policy", Value: "compact", ConfigOperation: kgo.ConfigOperationSet},
				{Name: "message.timestamp.type", Value: "CreateTime", ConfigOperation: kgo.ConfigOperationSet},
				{Name: "retention.ms", Value: "60000", ConfigOperation: kgo.ConfigOperationSet},
			},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		var ps []kafka.Problem
		kafkatest.Eventually(t, 10*time.Second, "the changes are seen", func() bool {
			ps = verify(t, brokers, []kafka.TopicSpec{spec})
			return len(ps) == 4
		})
		for i, has := range []struct {
			sev  kafka.Severity
			text string
		}{
			{kafka.Refuse, "it has 4 partitions, and 2 were recorded"},
			{kafka.Warn, "--add-config cleanup.policy=delete"},
			{kafka.Warn, "--add-config message.timestamp.type=LogAppendTime"},
			{kafka.Warn, "--add-config retention.ms=3600000"},
		} {
			if ps[i].Severity != has.sev || !strings.Contains(ps[i].Text, has.text) {
				t.Errorf("problem %d is %v, want %s with %q", i, ps[i], has.sev, has.text)
			}
		}
	})
}

// A user that may not see the topic of the counts is told so: making them again would not help.
func TestVerifyWithoutTheRecordedCounts(t *testing.T) {
	brokers := kafkatest.Embedded(t)
	c := &kgo.Client{Addr: kgo.TCP(brokers...)}
	res, err := c.CreateTopics(t.Context(), &kgo.CreateTopicsRequest{Topics: []kgo.TopicConfig{{Topic: "raw", NumPartitions: 1, ReplicationFactor: 1}}})
	if err != nil || res.Errors["raw"] != nil {
		t.Fatal(err, res)
	}
	ps := verify(t, brokers, []kafka.TopicSpec{{Name: "raw", Partitions: 1, Retention: time.Hour, Recorded: true}})
	if len(ps) == 0 || ps[0].Severity != kafka.Refuse || !strings.Contains(ps[0].Text, "or this user may not read picket.meta") {
		t.Errorf("got %v", ps)
	}
}
