package kafka_test

import (
	"fmt"
	"strings"
	"testing"

	"picket/ingest/kafka"
	"picket/ingest/kafka/kafkatest"
)

func TestOffsetsSayHowFarAGroupIs(t *testing.T) {
	t.Parallel()
	kafkatest.Both(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, 3)
		admin, err := kafka.NewTopics(t.Context(), kafka.Config{Brokers: brokers})
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		offsets := func() string {
			t.Helper()
			o, err := admin.Offsets(t.Context(), "g-"+topic, topic)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprint(o)
		}
		if got := offsets(); got != "[{0 0 -1} {0 0 -1} {0 0 -1}]" {
			t.Errorf("nobody was there yet: %s", got)
		}
		produce(t, brokers, topic, 1, 0, 30)
		c := consumer(t, brokers, topic, func(o *kafka.ConsumerOptions) { o.MaxRows = 10 })
		commit(t, c, poll(t, c))
		want(t, poll(t, c), "1[10,20)x10") // this acknowledged the first, and declared the second
		if got := offsets(); got != "[{0 0 -1} {0 30 10} {0 0 -1}]" {
			t.Errorf("after ten of thirty: %s", got)
		}
		if _, err := admin.Offsets(t.Context(), "g-"+topic, topic+"-not"); err == nil || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("unknown topic: %v", err)
		}
	})
}
