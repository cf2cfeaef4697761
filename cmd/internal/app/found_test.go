package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"picket/cmd/internal/config"
)

// A file that its writer left behind, as kill -9 does, leads nowhere.
func TestRunningServersAreFound(t *testing.T) {
	c := &config.Config{DataDir: t.TempDir()}
	if err := FindBroker(c); err == nil || !strings.Contains(err.Error(), c.DataDir) {
		t.Errorf("nobody was ever here: %v", err)
	}
	f, err := announce(c, kafkaAddress, "127.0.0.1:4711")
	if err != nil {
		t.Fatal(err)
	}
	beside := *c
	if err := FindBroker(&beside); err != nil || beside.Kafka.Brokers[0] != "127.0.0.1:4711" {
		t.Errorf("found %v, %v", beside.Kafka.Brokers, err)
	}
	named := &config.Config{DataDir: c.DataDir, Kafka: config.Kafka{Brokers: []string{"kafka:9092"}}}
	if err := FindBroker(named); err != nil || named.Kafka.Brokers[0] != "kafka:9092" {
		t.Errorf("what is configured is not looked for: %v, %v", named.Kafka.Brokers, err)
	}
	f.Close()
	if _, err := os.Stat(filepath.Join(c.DataDir, kafkaAddress)); err != nil {
		t.Error("the file is left behind:", err)
	}
	if err := FindBroker(c); err == nil {
		t.Errorf("its writer is gone, and it leads to %v", c.Kafka.Brokers)
	}
}
