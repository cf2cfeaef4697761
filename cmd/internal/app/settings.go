package app

import (
	"strings"
	"time"

	"picket/cmd/internal/config"
	"picket/detect/secret"
	"picket/ingest/kafka"
	"picket/internal/tlsfile"
	"picket/store"
)

// KafkaConfig is how to reach the configured brokers.
func KafkaConfig(c *config.Config) kafka.Config {
	k := kafka.Config{Brokers: c.Kafka.Brokers, ClientID: c.Kafka.ClientID, DialTimeout: c.Kafka.DialTimeout}
	if t := c.Kafka.TLS; t.Enabled {
		k.TLS = &kafka.TLSConfig{
			Enabled: true, CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile,
			ServerName: t.ServerName, MinVersion: t.MinVersion.String(),
		}
	}
	if s := c.Kafka.SASL; s.Mechanism != "none" && s.Mechanism != "" {
		k.SASL = &kafka.SASLConfig{
			Mechanism: strings.ToUpper(s.Mechanism), Username: s.Username, Password: secret.New(s.Password.Reveal()),
		}
	}
	return k
}

// StoreConfig is how to reach the configured ClickHouse.
func StoreConfig(c *config.Config) store.Config {
	s := store.Config{
		URL: c.ClickHouse.URL, User: c.ClickHouse.User, Password: secret.New(c.ClickHouse.Password.Reveal()),
		Database: c.ClickHouse.Database, Compression: store.Compression(c.ClickHouse.Compression),
		ReadTimeout: c.ClickHouse.InsertTimeout, Version: c.Version,
	}
	if t := c.ClickHouse.TLS; t.Enabled || strings.HasPrefix(s.URL, "https://") {
		s.TLS = store.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName, MinVersion: uint16(t.MinVersion)}
		if strings.HasPrefix(s.URL, "clickhouse://") && !strings.Contains(s.URL, "?") {
			s.URL += "?secure=true"
		}
	}
	return s
}

// reach sets how to reach the servers; what comes of TLS files that are replaced is told.
func (a *App) reach() {
	a.kafka, a.store = KafkaConfig(a.cfg), StoreConfig(a.cfg)
	if t := a.kafka.TLS; t != nil {
		t.Watch = a.watch("kafka.tls", t.CAFile, t.CertFile)
	}
	a.store.TLS.Watch = a.watch("clickhouse.tls", a.store.TLS.CAFile, a.store.TLS.CertFile)
}

// watch is nil where there are no files.
func (a *App) watch(section, ca, cert string) *tlsfile.Watch {
	if ca == "" && cert == "" {
		return nil
	}
	read := a.metrics.TLSRead.WithLabelValues(section)
	read.Set(1)
	return &tlsfile.Watch{Section: section, Log: a.log, Read: read}
}

// TopicSpecs are the topics as the promises need them. Only events and dead hold
// raw values: their retention is short and bounded from above too.
func TopicSpecs(c *config.Config) []kafka.TopicSpec {
	t, p, r := c.Kafka.Topics, c.Kafka.Partitions, c.Kafka.Retention
	const week, hour = 7 * 24 * time.Hour, time.Hour
	specs := []kafka.TopicSpec{
		{Name: t.Events, Partitions: p.Events, Retention: r.Raw, MinRetention: hour, MaxRetention: week, LogAppendTime: true, Recorded: true, MaxMessageBytes: 1 << 20},
		{Name: t.Signals, Partitions: p.Signals, Retention: r.Signals, MinRetention: 3 * hour, LogAppendTime: true, Recorded: true, MaxMessageBytes: 8 << 20},
		{Name: t.Alerts, Partitions: 1, Retention: r.Alerts, MinRetention: 24 * hour, LogAppendTime: true, Recorded: true},
		{Name: t.Deliveries, Partitions: 1, Retention: r.Alerts, MinRetention: 24 * hour, LogAppendTime: true, Recorded: true},
		{Name: t.Dead, Partitions: 1, Retention: r.Raw, MinRetention: hour, MaxRetention: week, LogAppendTime: true, MaxMessageBytes: 2 << 20},
	}
	for i := range specs {
		specs[i].Replicas = c.Kafka.ReplicationFactor
	}
	return specs
}
