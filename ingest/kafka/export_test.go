package kafka

// Poison makes a consumer overwrite the memory that it takes back.
func Poison(c *Consumer) { c.pool.poison = true }
