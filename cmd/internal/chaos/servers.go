//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// config writes a configuration that reaches the servers through the given addresses.
func (w *world) config(name, kafka, click string) (string, error) {
	return w.writeConfig(name, fmt.Sprintf("brokers: [%q], dial_timeout: 2s", kafka), fmt.Sprintf("url: %q", "http://"+click))
}

func (w *world) writeConfig(name, kafka, click string) (string, error) {
	text := fmt.Sprintf(`instance: %s
data_dir: %q
log: {format: json}
admin: {listen: ""}
kafka: {%s, partitions: {events: %d, signals: 2}}
clickhouse: {%s}
privacy: {keys_file: %q}
batch: {max_rows: 2000, max_wait: 100ms}
alerting: {preview: never}
`, name, filepath.Join(w.dir, "data"), kafka, partitions, click, filepath.Join(w.dir, "keys.json"))
	file := filepath.Join(w.dir, name+".yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// servers starts Kafka and ClickHouse, and makes the topics.
func (w *world) servers(ctx context.Context) error {
	conf, err := w.config("direct", w.kafka, w.click)
	if err != nil {
		return err
	}
	if err := w.startEngine(ctx); err != nil {
		return err
	}
	if err := w.startBroker(ctx); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, w.binary, "-c", conf, "topics", "create").CombinedOutput(); err != nil {
		return fmt.Errorf("create the topics: %w\n%s", err, out)
	}
	return nil
}

func (w *world) startEngine(ctx context.Context) error {
	var err error
	w.engine, err = launch(w.binary, w.dir, "clickhouse", "-c", filepath.Join(w.dir, "direct.yaml"), "embedded", "--only", "clickhouse", "--clickhouse", w.click)
	if err != nil {
		return err
	}
	return w.until(ctx, 2*time.Minute, "ClickHouse answers", func() error {
		if w.engine.ended() {
			return errors.New("ClickHouse ended while starting")
		}
		return w.query(ctx, "SELECT 1", nil)
	})
}

func (w *world) startBroker(ctx context.Context) error {
	port := w.kafka[strings.LastIndexByte(w.kafka, ':')+1:]
	if err := w.kafkaScript(ctx, "start", "--port", port, "--with", strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return w.until(ctx, time.Minute, "Kafka answers", func() error {
		c, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.DialTimeout(time.Second))
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return c.Ping(ctx)
	})
}

func (w *world) kafkaScript(ctx context.Context, verb string, args ...string) error {
	cmd := exec.CommandContext(ctx, w.script, append([]string{verb, "--dir", filepath.Join(w.dir, "kafka")}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s kafka: %w\n%s", verb, err, out)
	}
	return nil
}

// killBroker is kill -9 of Kafka.
func (w *world) killBroker(ctx context.Context) error {
	file := filepath.Join(w.dir, "kafka", "pid")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	if err := w.until(ctx, 10*time.Second, "Kafka is gone", func() error {
		if syscall.Kill(pid, 0) == nil {
			return errors.New("it is there")
		}
		return nil
	}); err != nil {
		return err
	}
	return os.Remove(file)
}

// query asks ClickHouse, past the proxies, and calls with each line's columns.
func (w *world) query(ctx context.Context, sql string, row func([]string) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.click+"/?"+url.Values{"default_format": {"TSV"}}.Encode(), strings.NewReader(sql))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("clickhouse says %s to %.200s: %.500s", res.Status, sql, body)
	}
	for line := range bytes.Lines(body) {
		if row == nil {
			break
		}
		if err := row(strings.Split(strings.TrimSuffix(string(line), "\n"), "\t")); err != nil {
			return fmt.Errorf("%.200s: %q: %w", sql, line, err)
		}
	}
	return nil
}

// offsets asks Kafka for the ends of the log and the group's commits, by partition.
func (w *world) offsets(ctx context.Context) (ends, committed map[int32]int64, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(w.kafka), kgo.DialTimeout(2*time.Second))
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	fetch.Groups = append(fetch.Groups, g)
	commits, err := fetch.RequestWith(ctx, c)
	if err != nil {
		return nil, nil, fmt.Errorf("read the commits: %w", err)
	}
	committed = map[int32]int64{}
	for _, g := range commits.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				committed[p.Partition] = p.Offset
			}
		}
	}
	for _, t := range commits.Topics { // as old brokers answer
		for _, p := range t.Partitions {
			committed[p.Partition] = p.Offset
		}
	}
	ends, err = w.ends(ctx, c, topic)
	return ends, committed, err
}

// ends asks for the end of each partition.
func (w *world) ends(ctx context.Context, c *kgo.Client, topic string) (map[int32]int64, error) {
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = kmsg.StringPtr(topic)
	meta.Topics = append(meta.Topics, mt)
	m, err := meta.RequestWith(ctx, c)
	if err != nil || len(m.Topics) != 1 {
		return nil, fmt.Errorf("ask for the partitions of %s: %w", topic, err)
	}
	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	lt := kmsg.NewListOffsetsRequestTopic()
	lt.Topic = topic
	for _, p := range m.Topics[0].Partitions {
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = p.Partition, -1 // the end
		lt.Partitions = append(lt.Partitions, lp)
	}
	list.Topics = append(list.Topics, lt)
	res, err := list.RequestWith(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("list the offsets of %s: %w", topic, err)
	}
	ends := map[int32]int64{}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("list the offsets of %s: %w", topic, err)
			}
			ends[p.Partition] = p.Offset
		}
	}
	return ends, nil
}
