package kafka

import "time"

// Picket's topics.
const (
	EventsTopic     = "mcp.events"
	SignalsTopic    = "picket.signals"
	AlertsTopic     = "picket.alerts"
	DeliveriesTopic = "picket.deliveries"
	DeadTopic       = "picket.dead"
)

// Sizes are the choices an operator has about the topics.
type Sizes struct {
	EventPartitions  int           // 6
	SignalPartitions int           // 6
	EventRetention   time.Duration // raw events; 24 h
	DeadRetention    time.Duration // unreadable records, raw too; 7 d
	Replicas         int           // 0: the broker's default
}

const day = 24 * time.Hour

// Specs are Picket's topics for the given sizes. Zero sizes get defaults.
func Specs(s Sizes) []TopicSpec {
	if s.EventPartitions <= 0 {
		s.EventPartitions = 6
	}
	if s.SignalPartitions <= 0 {
		s.SignalPartitions = 6
	}
	if s.EventRetention <= 0 {
		s.EventRetention = day
	}
	if s.DeadRetention <= 0 {
		s.DeadRetention = 7 * day
	}
	return []TopicSpec{
		// Raw personal data: short, but long enough to outlast an outage of ClickHouse.
		{
			Name: EventsTopic, Partitions: s.EventPartitions, Retention: s.EventRetention, MinRetention: 4 * time.Hour, MaxRetention: 7 * day,
			MaxMessageBytes: 1 << 20, LogAppendTime: true, Recorded: true, Replicas: s.Replicas,
		},
		// Longer than the longest window plus lateness, so that windows can be rebuilt.
		{
			Name: SignalsTopic, Partitions: s.SignalPartitions, Retention: day, MinRetention: 6 * time.Hour,
			LogAppendTime: true, Recorded: true, Replicas: s.Replicas,
		},
		{Name: AlertsTopic, Partitions: 1, Retention: 30 * day, MinRetention: day, LogAppendTime: true, Recorded: true, Replicas: s.Replicas},
		{Name: DeliveriesTopic, Partitions: 1, Retention: 30 * day, MinRetention: day, LogAppendTime: true, Recorded: true, Replicas: s.Replicas},
		{
			Name: DeadTopic, Partitions: 1, Retention: s.DeadRetention, MinRetention: time.Hour, MaxRetention: 30 * day,
			MaxMessageBytes: 2 << 20, LogAppendTime: true, Replicas: s.Replicas,
		},
	}
}
