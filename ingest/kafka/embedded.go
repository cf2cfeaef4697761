package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// EmbeddedOptions say where the broker in this process keeps its data and listens.
type EmbeddedOptions struct {
	Dir    string // made if missing; one process at a time
	Addr   string // loopback host:port; "127.0.0.1:0" by default; port 0 takes a free one
	Logger *slog.Logger
}

// Embedded is a Kafka-protocol broker (franz-go's kfake) in this process. Every
// acknowledged record, commit and topic is on disk before its answer is sent, so it
// survives kill -9. It is one node without replication, for one machine.
type Embedded struct {
	cluster *kfake.Cluster
	lock    *os.File
}

// StartEmbedded opens the directory and listens.
func StartEmbedded(o EmbeddedOptions) (*Embedded, error) {
	if o.Dir == "" {
		return nil, errors.New("start the embedded broker: no directory given")
	}
	o.Addr = cmp.Or(o.Addr, "127.0.0.1:0")
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: address %q: want host:port", o.Addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("start the embedded broker: address %q is not loopback; it has no authentication, so it serves this machine only", o.Addr)
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 0 || n > 65535 {
		return nil, fmt.Errorf("start the embedded broker: port %q: want 0 to 65535", port)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("picket-embedded"),
		kfake.DataDir(filepath.Join(o.Dir, "data")),
		kfake.SyncWrites(),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, o.Addr) }),
		kfake.WithLogger(kfakeLog{o.Logger}),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "5000"}),
	)
	if err != nil {
		lock.Close()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("start the embedded broker: %s is taken by another program: %w", o.Addr, syscall.EADDRINUSE)
		}
		return nil, fmt.Errorf("start the embedded broker in %s: %w", o.Dir, err)
	}
	return &Embedded{cluster: cluster, lock: lock}, nil
}

// Brokers is what to put in Config.Brokers.
func (e *Embedded) Brokers() []string { return e.cluster.ListenAddrs() }

// Close stops the broker and frees the directory.
func (e *Embedded) Close() {
	e.cluster.Close()
	e.lock.Close()
}

// lockDir takes the directory for this process. The lock goes with the process, however it
// ends; the pid in the file is only for the message.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f); err != nil {
		pid := make([]byte, 16)
		n, _ := f.ReadAt(pid, 0)
		f.Close()
		return nil, &inUseError{dir, cmp.Or(string(pid[:n]), "(unknown)")}
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// inUseError is a directory that another process works on; it is a syscall.EBUSY.
type inUseError struct{ dir, pid string }

func (e *inUseError) Error() string        { return e.dir + " is in use by process " + e.pid }
func (e *inUseError) Is(target error) bool { return target == syscall.EBUSY }

type kfakeLog struct{ log *slog.Logger }

func (l kfakeLog) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("embedded kafka: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("embedded kafka: " + fmt.Sprintf(format, args...))
	}
}
