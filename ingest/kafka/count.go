package kafka

import "context"

// Partitions is how many partitions a topic has.
func (t *Topics) Partitions(ctx context.Context, topic string) (int, error) {
	return partitionCount(ctx, t.client, topic)
}
