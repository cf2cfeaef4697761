package kafka_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire sends one request in a version without flexible encoding, for what kafka-go has no
// call for.
func wire[R kmsg.Response](t *testing.T, addr string, req kmsg.Request, version int16) R {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	req.SetVersion(version)
	out := make([]byte, 4)
	out = binary.BigEndian.AppendUint16(out, uint16(req.Key()))
	out = binary.BigEndian.AppendUint16(out, uint16(version))
	out = binary.BigEndian.AppendUint32(out, 7)
	out = append(binary.BigEndian.AppendUint16(out, 1), 't')
	out = req.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	var head [8]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	res := req.ResponseKind()
	res.SetVersion(version)
	if err := res.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	return res.(R)
}

// commitAt commits an offset for a group without members.
func commitAt(t *testing.T, brokers []string, group, topic string, offset int64) {
	t.Helper()
	raw := &kgo.Client{Addr: kgo.TCP(brokers...)}
	res, err := raw.OffsetCommit(t.Context(), &kgo.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kgo.OffsetCommit{topic: {{Partition: 0, Offset: offset}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Topics[topic][0].Error; err != nil {
		t.Fatal(err)
	}
}

// produceRaw appends one record batch as it is given.
func produceRaw(t *testing.T, addr, topic string, batch []byte) {
	t.Helper()
	req := kmsg.NewProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req.Topics = append(req.Topics, rt)
	res := wire[*kmsg.ProduceResponse](t, addr, &req, 7)
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		t.Fatalf("produce: error code %d", code)
	}
}
