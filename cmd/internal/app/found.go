package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"picket/cmd/internal/config"
)

// Files of data_dir that say where the embedded servers of a running process listen. Who
// wrote one holds a lock on it, which goes with the process, however it ends: a file that
// nobody holds says nothing.
const (
	kafkaAddress      = "kafka.address"
	clickhouseAddress = "clickhouse.address"
)

// announce writes where a server of this process listens; closing takes it back.
func announce(c *config.Config, name, address string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.DataDir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write down where an embedded server listens: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX) // only who reads it may hold it: the server's own lock keeps others off
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteString(address)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write down in %s where an embedded server listens: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// found reads what a running process announced; empty: none runs.
func found(c *config.Config, name string) (string, error) {
	f, err := os.Open(filepath.Join(c.DataDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for a running picket: %w", err)
	}
	defer f.Close()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return "", nil // its writer is gone
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return "", fmt.Errorf("look for a running picket: lock %s: %w", f.Name(), err)
	}
	address, err := io.ReadAll(f)
	return string(address), err
}

// FindBroker points a configuration without brokers at the embedded broker of the process
// that runs on its data_dir.
func FindBroker(c *config.Config) error {
	if len(c.Kafka.Brokers) > 0 {
		return nil
	}
	address, err := found(c, kafkaAddress)
	if err == nil && address == "" {
		err = nobody(c, "kafka.brokers", "broker", "brokers")
	}
	if err != nil {
		return err
	}
	c.Kafka.Brokers = []string{address}
	return nil
}

// FindEngine is FindBroker for ClickHouse.
func FindEngine(c *config.Config) error {
	if c.ClickHouse.URL != "" {
		return nil
	}
	address, err := found(c, clickhouseAddress)
	if err == nil && address == "" {
		err = nobody(c, "clickhouse.url", "engine", "server")
	}
	if err != nil {
		return err
	}
	c.ClickHouse.URL = address
	return nil
}

func nobody(c *config.Config, setting, embedded, outside string) error {
	return fmt.Errorf("%s is empty, and no 'picket run' with an embedded %s is at work on data_dir %s: start it, or name the %s", setting, embedded, c.DataDir, outside)
}
