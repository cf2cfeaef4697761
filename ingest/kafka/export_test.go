package kafka

import (
	"context"
	"net"
)

// Dialer is how the clients of a configuration connect.
func Dialer(c Config) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	files, err := c.tls()
	return c.dial(files), err
}

// Poison makes a consumer overwrite the memory that it takes back, and each record that was read.
func Poison(c *Consumer) { c.pool.poison, c.readers.poison = true, true }
