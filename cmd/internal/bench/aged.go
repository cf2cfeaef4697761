package main

import (
	"context"
	"fmt"
	"strings"

	kgo "github.com/segmentio/kafka-go"

	"picket/ingest/kafka"
)

// agedBy writes a backlog that came over a long time, as it does while Picket is down: the broker
// stamps what it appends now, so the topic takes the times that the records bring meanwhile.
type agedBy struct {
	client *kgo.Client
	codec  kgo.Compression
}

func (w *world) aged(ctx context.Context) (*agedBy, error) {
	a := &agedBy{client: &kgo.Client{Addr: kgo.TCP(w.broker)}}
	if w.opt.compression != "none" {
		if err := a.codec.UnmarshalText([]byte(w.opt.compression)); err != nil {
			return nil, err
		}
	}
	return a, a.stamps(ctx, "CreateTime")
}

func (a *agedBy) stamps(ctx context.Context, by string) error {
	res, err := a.client.IncrementalAlterConfigs(ctx, &kgo.IncrementalAlterConfigsRequest{Resources: []kgo.IncrementalAlterConfigsRequestResource{{
		ResourceType: kgo.ResourceTypeTopic, ResourceName: eventsTopic,
		Configs: []kgo.IncrementalAlterConfigsRequestConfig{{
			Name: "message.timestamp.type", Value: by, ConfigOperation: kgo.ConfigOperationSet,
		}},
	}}})
	if err == nil {
		err = res.Resources[0].Error
	}
	if err != nil {
		return fmt.Errorf("let %s have times by %s: %w", eventsTopic, strings.ToLower(by), err)
	}
	return nil
}

// append writes records of one partition, as appended at their times.
func (a *agedBy) append(ctx context.Context, records []kafka.Record) error {
	out := make([]kgo.Record, len(records))
	for i := range records {
		out[i] = kgo.Record{Time: records[i].Append, Value: kgo.NewBytes(records[i].Value)}
	}
	res, err := a.client.Produce(ctx, &kgo.ProduceRequest{
		Topic: eventsTopic, Partition: int(records[0].Partition), RequiredAcks: kgo.RequireAll, Compression: a.codec,
		Records: kgo.NewRecordReader(out...),
	})
	if err == nil {
		err = res.Error
	}
	return err
}

// done gives the topic its own clock back.
func (a *agedBy) done(ctx context.Context) error { return a.stamps(ctx, "LogAppendTime") }
