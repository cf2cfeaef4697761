package kafka

// Poison makes a consumer overwrite the memory that it takes back, and each record that was read.
func Poison(c *Consumer) { c.pool.poison, c.readers.poison = true, true }
