//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"picket/ingest"
)

// Protections that can be switched off.
const (
	weakToken       = "token"
	weakFence       = "fence"
	weakDeclaration = "declaration"
)

// session is how long the group waits for a member that is silent. Picket asks for 10 s; the
// proxies make it what Kafka's default allows at least, to wait less.
const session = 6 * time.Second

// world is the servers, the processes, and what is known of them.
type world struct {
	dir    string
	binary string // picket
	script string // kafka.sh
	weak   string
	began  time.Time
	out    io.Writer // the timeline
	kafka  string    // host:port
	click  string
	keys   *ingest.Keyring

	engine    *process
	instances []*instance
	traffic   *traffic

	mu     sync.Mutex
	stores map[int32]progress
}

// progress is the last range of a partition that was stored whole.
type progress struct {
	at  time.Time
	who string
	end int64
}

// instance is one picket with its proxies, which outlive it.
type instance struct {
	name   string
	gate   gate
	kafka  kafkaProxy
	click  clickProxy
	config string
	args   []string
	proc   *process // nil while it is down
}

func newWorld(dir, binary, root, weak string, out io.Writer) (*world, error) {
	w := &world{
		dir: dir, binary: binary, script: filepath.Join(root, "deploy/dev/kafka.sh"), weak: weak,
		began: time.Now(), out: out, stores: map[int32]progress{},
	}
	port, err := freePort(3) // Kafka's two, and ClickHouse's
	if err != nil {
		return nil, err
	}
	w.kafka, w.click = "127.0.0.1:"+strconv.Itoa(port), "127.0.0.1:"+strconv.Itoa(port+2)
	if w.keys, err = ingest.NewKeyring(rand.Reader, time.Now()); err != nil {
		return nil, err
	}
	return w, w.keys.WriteNew(filepath.Join(dir, "keys.json"))
}

// say writes a line of the timeline.
func (w *world) say(format string, args ...any) {
	fmt.Fprintf(w.out, "%6.1fs  %s\n", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
}

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

// newInstance makes the proxies and the configuration of a picket, which is not started yet.
func (w *world) newInstance(name string) (*instance, error) {
	i := &instance{name: name, args: []string{"run", "--roles", "store"}}
	i.kafka = kafkaProxy{to: w.kafka, gate: &i.gate, weak: w.weak, session: int32(session.Milliseconds())}
	i.click = clickProxy{name: name, to: w.click, gate: &i.gate, stored: w.stored, weak: w.weak}
	if err := errors.Join(i.kafka.start(), i.click.start()); err != nil {
		return nil, err
	}
	var err error
	i.config, err = w.config(name, i.kafka.addr(), i.click.addr)
	w.instances = append(w.instances, i)
	return i, err
}

func (w *world) start(i *instance) (err error) {
	i.gate.reset()
	i.proc, err = launch(w.binary, w.dir, i.name, append([]string{"-c", i.config}, i.args...)...)
	return err
}

// stored is told by the proxies of each insert that took effect.
func (w *world) stored(who string, p point) {
	if p.table != tableLedger {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stores[p.partition] = progress{time.Now(), who, p.end}
}

// goesOn waits until every partition was stored again since, and each of these instances
// had a part in it.
func (w *world) goesOn(ctx context.Context, since time.Time, with ...*instance) error {
	seen := map[string]bool{}
	return w.until(ctx, 3*time.Minute, "every partition is stored again", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for p := range int32(partitions) {
			if s := w.stores[p]; s.at.Before(since) {
				return fmt.Errorf("partition %d was last stored by %q, %.1f s ago", p, s.who, time.Since(s.at).Seconds())
			}
			if s := w.stores[p]; !s.at.Before(since) {
				seen[s.who] = true
			}
		}
		for _, i := range with {
			if !seen[i.name] {
				return fmt.Errorf("%s has stored nothing", i.name)
			}
		}
		return nil
	})
}

// until tries until it succeeds, a process ends that should not, or the time is over.
func (w *world) until(ctx context.Context, within time.Duration, what string, try func() error) error {
	limit := time.NewTimer(within)
	defer limit.Stop()
	beat := time.NewTicker(25 * time.Millisecond)
	defer beat.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		for _, i := range w.instances {
			if i.proc != nil && i.proc.ended() {
				return fmt.Errorf("waiting until %s: %s ended by itself: %w (%s.log)", what, i.name, i.proc.err, i.name)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s (%w): %w", what, err, ctx.Err())
		case <-limit.C:
			return fmt.Errorf("not within %s: %s: %w", within, what, err)
		case <-beat.C:
		}
	}
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

// drained waits until everything in the log is acknowledged.
func (w *world) drained(ctx context.Context, within time.Duration) error {
	return w.until(ctx, within, "the whole log is stored and acknowledged", func() error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		ends, committed, err := w.offsets(ctx)
		if err != nil {
			return err
		}
		left := int64(0)
		for p, end := range ends {
			left += end - max(committed[p], 0)
		}
		if len(ends) < partitions || left > 0 {
			return fmt.Errorf("%d records are left", left)
		}
		return nil
	})
}

// close ends everything that is left.
func (w *world) close() {
	for _, i := range w.instances {
		if i.proc != nil {
			i.proc.kill()
		}
		i.gate.close()
		i.gate.reset()
		if i.kafka.l != nil {
			i.kafka.stop()
			i.click.stop()
		}
	}
	if w.engine == nil {
		return // it was in the picket, like the broker
	}
	w.engine.kill()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = w.kafkaScript(ctx, "stop")
}

// drawSeed is for a run that was given none.
func drawSeed() (uint64, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<31))
	if err != nil {
		return 0, err
	}
	return n.Uint64(), nil
}
