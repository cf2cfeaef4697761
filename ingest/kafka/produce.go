package kafka

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceVersion is the newest Produce without flexible encoding.
const produceVersion = 8

// outbox is what one call of Produce has for a partition.
type outbox struct {
	topic     string
	partition int32
	records   []*Record // not written yet

	n      int    // how many of them the request under way has
	batch  []byte // and as what
	err    error  // what became of it
	failed time.Time
}

// production is one request to each leader of the outboxes' partitions. kafka-go's own takes
// one partition at a time, and each would be a request.
type production struct {
	clientID string
	boxes    []*outbox
	out      []byte // memory for the request, if there is only one
	merged   bool   // every outbox knows what became of it
}

// ApiKey is kafka-go's name for the kind of request.
func (p *production) ApiKey() protocol.ApiKey { return protocol.Produce }

// Split is called by kafka-go with what it knows of the cluster. An outbox without a leader
// gets an error that passes, and is in no request.
func (p *production) Split(cluster protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	to := map[int32]*toBroker{}
	var all []protocol.Message
	for _, b := range p.boxes {
		var leader protocol.Broker
		if leader, b.err = leaderOf(cluster, b.topic, b.partition); b.err != nil {
			continue
		}
		x := to[leader.ID]
		if x == nil {
			req := kmsg.NewPtrProduceRequest()
			req.Acks, req.TimeoutMillis = -1, int32((rpcTimeout-time.Second)/time.Millisecond)
			x = &toBroker{exchange: exchange{clientID: p.clientID, newest: produceVersion, req: req}, broker: leader}
			to[leader.ID], all = x, append(all, x)
		}
		x.boxes = append(x.boxes, b)
		req := x.req.(*kmsg.ProduceRequest)
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != b.topic {
			req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: b.topic})
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: b.partition, Records: b.batch})
	}
	if len(all) == 1 {
		all[0].(*toBroker).out = p.out
	}
	return all, p, nil
}

// Merge is called by kafka-go with a response or an error for each request.
func (p *production) Merge(requests []protocol.Message, results []any) (protocol.Message, error) {
	var first error
	p.out, p.merged = nil, true
	for i, r := range results {
		x := requests[i].(*toBroker)
		_, err := protocol.Result(r)
		if err == nil {
			p.out = x.out
		}
		if first == nil {
			first = err
		}
		for _, b := range x.boxes {
			if b.err = err; err == nil {
				b.err = answer(x.res.(*kmsg.ProduceResponse), b.topic, b.partition)
			}
		}
	}
	return p, first
}

func answer(res *kmsg.ProduceResponse, topic string, partition int32) error {
	for i := range res.Topics {
		if t := &res.Topics[i]; t.Topic == topic {
			for j := range t.Partitions {
				if t.Partitions[j].Partition == partition {
					return code(t.Partitions[j].ErrorCode)
				}
			}
		}
	}
	return fmt.Errorf("the broker did not answer for %s/%d", topic, partition)
}

// leaderOf tells a topic that does not exist from a partition that has no leader just now.
func leaderOf(cluster protocol.Cluster, topic string, partition int32) (protocol.Broker, error) {
	none := protocol.Broker{ID: -1}
	t, ok := cluster.Topics[topic]
	if len(cluster.Brokers) > 0 && (!ok || kgo.Error(t.Error) == kgo.UnknownTopicOrPartition) {
		return none, kgo.UnknownTopicOrPartition
	}
	if code := kgo.Error(t.Error); code == kgo.TopicAuthorizationFailed {
		return none, code
	}
	p, ok := t.Partitions[partition]
	if b, up := cluster.Brokers[p.Leader]; ok && up {
		return b, nil
	}
	return none, kgo.LeaderNotAvailable
}

// toBroker is an exchange with a broker that is known.
type toBroker struct {
	exchange
	broker protocol.Broker
	boxes  []*outbox
}

// RawExchange is called by kafka-go with the broker's connection.
func (t *toBroker) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	return t, t.exchange.exchange(rw)
}

// Broker is called by kafka-go.
func (t *toBroker) Broker(protocol.Cluster) (protocol.Broker, error) { return t.broker, nil }

// send writes the first records of each outbox, and leaves in it what became of them. What it
// hands to kafka-go is encoded before: after an error kafka-go may still be reading it.
func (p *Producer) send(ctx context.Context, boxes []*outbox) {
	e := p.encoder()
	e.packed = e.packed[:0]
	now := time.Now()
	ends := make([]int, len(boxes))
	for i, b := range boxes {
		size := 0
		for b.n = 0; b.n < len(b.records); b.n++ {
			if size += recordSize(b.records[b.n]); b.n > 0 && size > p.opts.BatchBytes {
				break
			}
		}
		var err error
		if ends[i], err = e.batch(p.codec, b.records[:b.n], now); err != nil {
			for _, b := range boxes {
				b.err = err
			}
			return
		}
	}
	for i, b := range boxes { // packed may have moved until now
		from := 0
		if i > 0 {
			from = ends[i-1]
		}
		b.batch = e.packed[from:ends[i]]
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	m := &production{clientID: p.clientID, boxes: boxes, out: e.out}
	_, err := p.client.Transport.RoundTrip(ctx, p.client.Addr, m)
	if err != nil {
		for _, b := range boxes {
			if !m.merged {
				b.err = err
			}
		}
		freshen(p.client, err)
		return
	}
	e.out = m.out
	p.keep(e)
}

// sorted deals records to outboxes, topic by topic. Records for one partition keep their order.
func (p *Producer) sorted(ctx context.Context, records []Record) ([]*outbox, error) {
	var boxes []*outbox
	var last *outbox
	for i := range records {
		r := &records[i]
		at := r.Partition
		if at < 0 {
			n, err := p.partitions(ctx, r.Topic)
			if err != nil {
				return nil, fmt.Errorf("produce to %s: %w", r.Topic, err)
			}
			at = PartitionFor(r.Key, n)
		}
		if last == nil || last.partition != at || last.topic != r.Topic {
			k := slices.IndexFunc(boxes, func(b *outbox) bool { return b.partition == at && b.topic == r.Topic })
			if k < 0 {
				k, boxes = len(boxes), append(boxes, &outbox{topic: r.Topic, partition: at})
			}
			last = boxes[k]
		}
		last.records = append(last.records, r)
	}
	slices.SortStableFunc(boxes, func(a, b *outbox) int { return cmp.Compare(a.topic, b.topic) })
	return boxes, nil
}
