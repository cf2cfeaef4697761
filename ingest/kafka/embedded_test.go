package kafka_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"picket/ingest/kafka"
)

// child is an embedded broker in a process of its own, to be killed.
func child(dir string) {
	e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening", e.Brokers()[0])
	select {}
}

func TestEmbeddedSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := 0
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PICKET_EMBEDDED_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var brokers []string
		for s := bufio.NewScanner(out); s.Scan(); {
			if addr, ok := strings.CutPrefix(s.Text(), "listening "); ok {
				brokers = []string{addr}
				break
			}
		}
		if brokers == nil {
			t.Fatal("the child did not start")
		}
		if round == 0 {
			makeTopics(t, brokers, kafka.TopicSpec{Name: "events", Partitions: 1, Retention: time.Hour})
			_, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(cmd.Process.Pid)) {
				t.Errorf("second broker on the directory: %v, want the holder's pid", err)
			}
		} else {
			// What the last round acknowledged is there, records and commits alike.
			n := 0
			if err := kafka.Scan(t.Context(), kafka.Config{Brokers: brokers}, "events", func(r kafka.Record) error {
				if string(r.Value) != strconv.Itoa(n) {
					t.Errorf("record %d is %q", n, r.Value)
				}
				n++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if n != acked {
				t.Errorf("%d records after kill -9, and %d were acknowledged", n, acked)
			}
		}
		var given []kafka.Assignment
		c := consumer(t, brokers, "events", func(o *kafka.ConsumerOptions) {
			o.InstanceID, o.MaxRows = "only", 1000
			o.OnAssign = func(as []kafka.Assignment) (map[int32]int64, error) { given = as; return nil, nil }
		})
		for i := range 5 {
			produce(t, brokers, "events", 0, acked, 40+i)
			acked += 40 + i
		}
		b := poll(t, c)
		if round > 0 {
			if len(given) != 1 || given[0].New || given[0].DeclaredEnd < 0 || !b.Ranges[0].Redo || b.Ranges[0].End != given[0].DeclaredEnd {
				t.Errorf("round %d: assignment %+v and batch %s, want the declared batch of the killed round", round, given, show(b))
			}
			commit(t, c, b)
			poll(t, c) // declares the next one, which the kill leaves open
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
}

func TestEmbeddedRefusals(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for addr, has := range map[string]string{
		l.Addr().String(): "is taken by another program",
		"0.0.0.0:0":       "is not loopback",
		"127.0.0.1:x":     "want 0 to 65535",
		"nowhere":         "want host:port",
	} {
		e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: t.TempDir(), Addr: addr})
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), has) {
			t.Errorf("address %s: %v, want %q", addr, err, has)
		}
	}
	dir := t.TempDir()
	for range 2 { // Close frees the directory
		e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
	}
}
