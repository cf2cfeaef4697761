package kafka

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxResponse bounds the memory that one response can make us allocate. A broker may
// exceed the size that was asked for by one stored batch (max.message.bytes).
const maxResponse = 64 << 20

// fetchVersion is the newest Fetch without flexible encoding; brokers from 2.3 to 4.x
// speak it.
const fetchVersion = 11

// rawFetch asks for one partition and keeps the answer's batches as bytes. kafka-go's own
// decoders drop the batch header, and with it the append time, the marker of control
// batches and the place of a batch that cannot be decoded. kafka-go still finds the leader,
// dials, and authenticates.
type rawFetch struct {
	topic     string
	partition int32
	offset    int64
	wait      time.Duration
	maxBytes  int32
	clientID  string
	response  *kmsg.FetchResponse
	version   int16
}

func (*rawFetch) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker routes the request to the partition's leader.
func (r *rawFetch) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	p, ok := cluster.Topics[r.topic].Partitions[r.partition]
	if !ok {
		return protocol.Broker{ID: -1}, kgo.UnknownTopicOrPartition
	}
	b, ok := cluster.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{ID: -1}, kgo.LeaderNotAvailable
	}
	return b, nil
}

// Required is called with the versions that both sides speak.
func (r *rawFetch) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = min(versions[protocol.Fetch], fetchVersion)
	return true
}

// RawExchange writes the request and reads the response.
func (r *rawFetch) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	req := kmsg.NewFetchRequest()
	req.SetVersion(r.version)
	req.ReplicaID = -1
	req.MaxWaitMillis = int32(r.wait / time.Millisecond)
	req.MinBytes = 1
	req.MaxBytes = r.maxBytes
	req.SessionEpoch = -1 // no fetch session
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = r.partition, r.offset, r.maxBytes, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.Partitions = r.topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)

	const correlation = 1 // one request at a time on a connection
	out := make([]byte, 4, 256)
	out = binary.BigEndian.AppendUint16(out, uint16(protocol.Fetch))
	out = binary.BigEndian.AppendUint16(out, uint16(r.version))
	out = binary.BigEndian.AppendUint32(out, correlation)
	out = binary.BigEndian.AppendUint16(out, uint16(len(r.clientID)))
	out = append(out, r.clientID...)
	out = req.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := rw.Write(out); err != nil {
		return nil, err
	}

	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int64(binary.BigEndian.Uint32(head[:4])) - 4
	if size < 0 || size > maxResponse {
		return nil, fmt.Errorf("fetch response of %d bytes; the limit is %d", size, maxResponse)
	}
	if got := binary.BigEndian.Uint32(head[4:]); got != correlation {
		return nil, fmt.Errorf("fetch response for request %d, want %d", got, correlation)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(rw, body); err != nil {
		return nil, err
	}
	res := kmsg.NewFetchResponse()
	res.SetVersion(r.version)
	if err := res.UnsafeReadFrom(body); err != nil { // body is ours and never written again
		return nil, fmt.Errorf("decode fetch response: %w", err)
	}
	r.response = &res
	return r, nil
}

// fetched is one partition's answer.
type fetched struct {
	highWatermark int64
	batches       []byte
}

// fetch reads from offset on, waiting up to wait if there is nothing yet.
func fetch(ctx context.Context, client *kgo.Client, req *rawFetch) (fetched, error) {
	ctx, cancel := context.WithTimeout(ctx, req.wait+rpcTimeout)
	defer cancel()
	m, err := client.Transport.RoundTrip(ctx, client.Addr, req)
	if err != nil {
		return fetched{}, err
	}
	res := m.(*rawFetch).response
	if res.ErrorCode != 0 {
		return fetched{}, kgo.Error(res.ErrorCode)
	}
	if len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return fetched{}, fmt.Errorf("fetch %s/%d: the broker answered for %d topics", req.topic, req.partition, len(res.Topics))
	}
	p := &res.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return fetched{}, kgo.Error(p.ErrorCode)
	}
	return fetched{highWatermark: p.HighWatermark, batches: p.RecordBatches}, nil
}
