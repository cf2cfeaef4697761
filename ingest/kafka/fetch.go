package kafka

import (
	"context"
	"fmt"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchVersion is the newest Fetch without flexible encoding; brokers from 2.3 to 4.x
// speak it.
const fetchVersion = 11

// fetchRequest asks for one partition. kafka-go's own decoders drop the batch header, and
// with it the append time, the marker of control batches and the place of a batch that
// cannot be decoded, so the answer's batches are kept as bytes.
type fetchRequest struct {
	topic     string
	partition int32
	offset    int64
	wait      time.Duration
	maxBytes  int32
	clientID  string
	room      func(int) []byte // see exchange
}

// fetched is one partition's answer.
type fetched struct {
	highWatermark int64
	batches       []byte
	body          []byte // what batches are a part of
}

// fetch reads from offset on, waiting up to wait if there is nothing yet.
func fetch(ctx context.Context, client *kgo.Client, r fetchRequest) (fetched, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(r.wait / time.Millisecond)
	req.MinBytes = 1
	req.MaxBytes = r.maxBytes
	req.SessionEpoch = -1 // no fetch session
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = r.partition, r.offset, r.maxBytes, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.Partitions = r.topic, append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)

	ctx, cancel := context.WithTimeout(ctx, r.wait+rpcTimeout)
	defer cancel()
	m, err := client.Transport.RoundTrip(ctx, client.Addr, &toLeader{
		exchange: exchange{clientID: r.clientID, newest: fetchVersion, req: req, room: r.room}, topic: r.topic, partition: r.partition,
	})
	if err != nil {
		return fetched{}, err
	}
	done := m.(*toLeader)
	res := done.res.(*kmsg.FetchResponse)
	if res.ErrorCode != 0 {
		return fetched{}, kgo.Error(res.ErrorCode)
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return fetched{}, fmt.Errorf("fetch %s/%d: the broker answered for %d topics", r.topic, r.partition, len(res.Topics))
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return fetched{}, kgo.Error(p.ErrorCode)
	}
	return fetched{highWatermark: p.HighWatermark, batches: p.RecordBatches, body: done.body}, nil
}
