// Package kafkatest gives tests a Kafka: the embedded broker, and a real Apache Kafka node
// that deploy/dev/kafka.sh starts once for each test process.
//
// A package that uses Real or Both calls Main from its TestMain, which stops the node:
//
//	func TestMain(m *testing.M) { kafkatest.Main(m) }
package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"picket/ingest/kafka"
)

// Embedded starts an embedded broker for one test, and returns its brokers.
func Embedded(t testing.TB) []string {
	t.Helper()
	e, err := kafka.StartEmbedded(kafka.EmbeddedOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e.Brokers()
}

// Node is a real node's listeners. All but Plain are empty where PICKET_TEST_KAFKA names the
// broker.
type Node struct {
	Plain, TLS, MTLS, SASLTLS, SASL string
	PKI                             PKI

	log string
}

// node is the one of this test process.
var node struct {
	sync.Mutex
	started bool
	n       Node
	dir     string
	skip    string
	err     error
}

// Real returns the brokers of a real Apache Kafka: the one that PICKET_TEST_KAFKA names, or
// one that is started for this test process. Without Java or Maven the test is skipped; with
// CI set it fails.
func Real(t testing.TB) []string {
	t.Helper()
	if given := os.Getenv("PICKET_TEST_KAFKA"); given != "" {
		return strings.Split(given, ",")
	}
	return []string{RealNode(t).Plain}
}

// RealNode is Real with the listeners for TLS and SASL.
func RealNode(t testing.TB) Node {
	t.Helper()
	if testing.Short() {
		t.Skip("starting a real Kafka takes long: not under -short")
	}
	node.Lock()
	defer node.Unlock()
	if !node.started {
		node.started = true
		start()
	}
	switch {
	case node.skip != "" && os.Getenv("CI") != "":
		t.Fatalf("%s; in CI that is a failure", node.skip)
	case node.skip != "":
		t.Skip(node.skip)
	case node.err != nil:
		t.Fatal(node.err)
	}
	return node.n
}

// Both runs a subtest against each kind of broker.
func Both(t *testing.T, fn func(t *testing.T, brokers []string)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { fn(t, Embedded(t)) })
	t.Run("kafka", func(t *testing.T) { fn(t, Real(t)) })
}

// Main runs the tests and stops the real node, if one was started.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop stops the real node of this process.
func Stop() {
	node.Lock()
	defer node.Unlock()
	if node.dir == "" {
		return
	}
	if out, err := exec.Command(script(), "stop", "--dir", node.dir).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "stop the test's kafka in %s: %v\n%s", node.dir, err, out)
		return
	}
	_ = os.RemoveAll(node.dir)
	node.dir = ""
}

func start() {
	for _, tool := range []string{"bash", "java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			node.skip = "the tests against a real Kafka need " + tool + ", which is not installed here (or set PICKET_TEST_KAFKA=host:port)"
			return
		}
	}
	dir, err := os.MkdirTemp("", "picket-kafka-test-")
	if err != nil {
		node.err = err
		return
	}
	node.n.PKI, node.err = NewPKI(filepath.Join(dir, "tls"))
	if node.err != nil {
		return
	}
	// Another process may take a port between the search and the start.
	for range 3 {
		var port int
		if port, node.err = freePorts(6); node.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
		cmd := exec.CommandContext(ctx, script(), "start", "--dir", dir, "--port", strconv.Itoa(port), "--tls", filepath.Join(dir, "tls"),
			"--with", strconv.Itoa(os.Getpid()))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		cancel()
		if err == nil {
			node.dir, node.err = dir, nil
			at := func(n int) string { return "127.0.0.1:" + strconv.Itoa(port+n) }
			node.n.log = filepath.Join(dir, "kafka.log")
			node.n.Plain, node.n.TLS, node.n.MTLS, node.n.SASLTLS, node.n.SASL = at(0), at(2), at(3), at(4), at(5)
			return
		}
		node.err = fmt.Errorf("start a real kafka: %w\n%s", err, out.String())
		if !strings.Contains(out.String(), "in use") {
			break
		}
	}
	_ = os.RemoveAll(dir)
}

func script() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../../../deploy/dev/kafka.sh")
}

// freePorts finds n ports in a row that nobody listens on, below the range that the kernel
// deals out, so that no outgoing connection takes one meanwhile.
func freePorts(n int) (int, error) {
	for base := 20000 + os.Getpid()%1000*8; base < 32000; base += 8 {
		free := true
		for p := base; p < base+n && free; p++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d free ports in a row between 20000 and 32000", n)
}

// Eventually polls cond until it holds, and fails the test after the deadline.
func Eventually(t testing.TB, within time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("not within %s: %s", within, what)
		case <-tick.C:
		}
	}
}
